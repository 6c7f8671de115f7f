"""Packets from what a user asks."""

import pytest

from meshctl.errors import BadInput
from meshctl.netfilter import iptables_save, question, routing
from meshctl.netfilter import packet as packets
from meshctl.netfilter.addresses import address_number
from meshctl.netfilter.matches import Owner

NETWORK = routing.assemble(routing.given_addresses(["172.17.0.7", "fd00::7"]))
RULES = (iptables_save.parse("*nat\n-A OUTPUT -m owner --uid-owner 1000 -j RETURN\nCOMMIT\n"),)


def out(goal: str, **more: object) -> question.Question:
    return question.outbound(goal, question.Details(**more), RULES, NETWORK)  # type: ignore[arg-type]


def test_an_application_is_supposed_whose_user_no_rule_names() -> None:
    asked = out("10.0.0.1:80")
    assert isinstance(RULES[0].tables[0].chains[0].rules[0].matches[0], Owner)
    assert (asked.packet.uid, asked.packet.gid, asked.packet.out_interface) == (1001, 1001, "eth0")
    assert any("uid 1001" in line for line in asked.supposed)
    assert question.describe(asked.packet) == (
        "tcp SYN 172.17.0.7:40000 -> 10.0.0.1:80, out by eth0, uid 1001 gid 1001"
    )


@pytest.mark.parametrize(("goal", "home"), [("0.0.0.0:80", "127.0.0.1"), ("[::]:80", "::1")])
def test_the_empty_address_stands_for_this_machine(goal: str, home: str) -> None:
    asked = out(goal)
    assert (asked.packet.dst, asked.packet.out_interface) == (address_number(home)[1], "lo")
    assert any(home in line for line in asked.supposed)


@pytest.mark.parametrize(
    ("goal", "device", "src"),
    [
        ("172.17.0.7:80", "lo", "172.17.0.7"),
        ("127.0.0.5:80", "lo", "127.0.0.1"),
        ("[fd00::9]:80", "eth0", "fd00::7"),
        ("[::1]:80", "lo", "::1"),
    ],
)
def test_the_interface_and_the_source_are_those_that_routing_chooses(goal: str, device: str, src: str) -> None:
    packet = out(goal, uid=7).packet
    assert (packet.out_interface, packet.src) == (device, address_number(src)[1])


def test_inbound() -> None:
    asked = question.inbound(":8080", question.Details(), NETWORK)
    assert (asked.packet.dst, asked.packet.dport, asked.packet.in_interface) == (0xAC110007, 8080, "eth0")
    assert asked.supposed
    asked = question.inbound("10.0.0.9 :8080", question.Details(proto="udp"), NETWORK)
    assert (asked.packet.src, asked.packet.flags, asked.supposed) == (0x0A000009, None, ())
    assert question.inbound("[fd00::9]:1", question.Details(), NETWORK).packet.version == 6


@pytest.mark.parametrize("goal", ["reviews:9080", "10.0.0.1", "10.0.0.1:99999", ":80", "10.0.0.1:x", ""])
def test_bad_goals(goal: str) -> None:
    with pytest.raises(BadInput):
        out(goal)


def test_a_bare_port_for_the_way_in_is_hinted_at_with_its_colon() -> None:
    with pytest.raises(BadInput) as caught:
        question.inbound("9080", question.Details(), NETWORK)
    assert ":9080 from anywhere" in (caught.value.hint or "")


def test_packets_are_read_and_written_alike() -> None:
    fields = {
        **{"direction": "outbound", "in": None, "out": "lo", "family": 4, "proto": "tcp", "src": "127.0.0.1"},
        **{"dst": "127.0.0.1", "sport": 1, "dport": 2, "uid": 0, "gid": 1337, "mark": 5, "flags": "none"},
        "ctstate": "invalid",
    }
    assert packets.document(packets.read(fields)) == fields


@pytest.mark.parametrize(
    "fields",
    [{}, {"dst": "x"}, {"dst": "1.2.3.4", "family": 6}, {"dst": "::1", "src": "1.2.3.4"}, {"dst": "::1", "uid": []}],
)
def test_bad_packets_say_where(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"^line 7: "):
        packets.read(fields, "line 7")


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (question.Details(uid=-5), "uid -5 is not a 32-bit number"),
        (question.Details(sport=70000), "sport 70000 is no port"),
        (question.Details(flags="FOO"), "FOO: TCP's flags are"),
        (question.Details(ctstate="what"), "conntrack's words are"),
        (question.Details(proto="foo"), "--proto foo is no protocol"),
    ],
)
def test_a_packet_that_cannot_be_is_refused(details: question.Details, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        question.outbound("10.0.0.1:80", details, (), NETWORK)


@pytest.mark.parametrize("name", ["TCP", "6", " tcp"])
def test_a_protocol_has_one_name(name: str) -> None:
    assert out("10.0.0.1:80", proto=name).packet.proto == "tcp"


@pytest.mark.parametrize("family", [4, "4", "ip", "ipv4", None])
def test_a_packets_family_may_be_said_as_iptables_or_nft_does(family: object) -> None:
    assert packets.read({"dst": "10.0.0.1", "dport": 80, "family": family}).version == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"direction": "sideways"},
        {"family": 6},
        {"dport": 65536},
        {"flags": "SYN,WHAT"},
        {"ctstate": "old"},
        {"proto": "what"},
        {"mark": "much"},
        {"src": "fd00::1"},
    ],
)
def test_a_line_that_is_no_packet_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"^stdin:7: not a packet: "):
        packets.read({"dst": "10.0.0.1", "dport": 80, **fields}, "stdin:7")
