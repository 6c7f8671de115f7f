"""What a pod's rules do to packets after the first: the proxy's connection to its application, answers, lookups."""

import json
from pathlib import Path

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, endpoints, pod, service

ISTIO = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""


def filtering(*rules: str, inbound: str = "ACCEPT", outbound: str = "ACCEPT") -> str:
    """Istio's rules with a filter table beside them."""
    chains = f":INPUT {inbound} [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT {outbound} [0:0]\n"
    return ISTIO + "*filter\n" + chains + "".join(f"-A {rule}\n" for rule in rules) + "COMMIT\n"


def mesh(caller: str = ISTIO, callee: str = ISTIO, **files: str) -> Mesh:
    """A caller and a callee with a sidecar each, by the rules of both."""
    return Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.6")],
        services=[service("web", "10.96.0.6", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"]},
        rules={"client": caller, "web": callee},
        files=files,
    )


def flags(found: Trace) -> tuple[int | None, str, str, bool | None]:
    end = found.outcome.end
    return end.status, end.flags, end.server_flags, end.delivered


DELIVERED = (None, "", "", True)
AT_THE_SERVER = (503, "", "URX,UF", False)
AT_THE_CLIENT = (503, "URX,UF", "", False)


@pytest.mark.parametrize(
    ("rules", "wanted", "said"),
    [
        (ISTIO, DELIVERED, "ISTIO_OUTPUT rule 1 lets it pass"),
        (filtering("INPUT -p tcp -m tcp --dport 8080 -j DROP"), AT_THE_SERVER, "dropped by filter/INPUT rule 1"),
        (filtering("INPUT -p tcp -m tcp --dport 8080 -j REJECT"), AT_THE_SERVER, "rejected by filter/INPUT rule 1"),
        (filtering("OUTPUT -s 127.0.0.6/32 -j DROP"), AT_THE_SERVER, "dropped by filter/OUTPUT rule 1"),
        (filtering("INPUT -i eth0 -j ACCEPT", inbound="DROP"), AT_THE_SERVER, "dropped by filter/INPUT: policy drop"),
        (filtering("OUTPUT -p tcp -m tcp --sport 8080 -j DROP"), AT_THE_SERVER, "the answers are dropped"),
        (
            filtering("INPUT -i lo -j ACCEPT", "INPUT -p tcp -m tcp --dport 15006 -j ACCEPT", inbound="DROP"),
            DELIVERED,
            "",
        ),
        (filtering("INPUT -m owner --uid-owner 1 -j ACCEPT", "INPUT -p udp -j DROP"), DELIVERED, ""),
    ],
)
def test_the_proxy_reaches_its_application_only_past_output_and_input(
    tmp_path: Path, rules: str, wanted: object, said: str
) -> None:
    found = mesh(callee=rules).trace(tmp_path / "s", "web:80", "client")
    assert flags(found) == wanted
    assert said in " ".join((found.outcome.end.why, *(fact for hop in found.hops for fact in hop.facts)))


@pytest.mark.parametrize("how", ["", " --reject-with tcp-reset"])
def test_a_refusal_from_behind_a_redirect_finds_back(tmp_path: Path, how: str) -> None:
    rules = filtering(f"INPUT -p tcp -m tcp --dport 15006 -j REJECT{how}")
    found = mesh(callee=rules).trace(tmp_path / "s", "web:80", "client")
    assert flags(found) == AT_THE_CLIENT
    assert "rejected by filter/INPUT rule 1" in found.outcome.end.why


def test_a_refusal_that_the_rules_drop_is_not_heard(tmp_path: Path) -> None:
    rules = filtering("INPUT -p tcp -m tcp --dport 15006 -j REJECT", "OUTPUT -p icmp -j DROP")
    why = mesh(callee=rules).trace(tmp_path / "s", "web:80", "client").outcome.end.why
    assert "rejected by filter/INPUT rule 1, and so is the answer that says it: dropped by filter/OUTPUT rule 1" in why


LOOPING = ISTIO.replace("-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN\n", "")


def test_without_its_own_return_rule_the_proxy_only_reaches_itself(tmp_path: Path) -> None:
    end = mesh(callee=LOOPING).trace(tmp_path / "s", "web:80", "client").outcome.end
    assert (end.status, end.delivered, end.through_server, end.cause) == (None, False, True, "rules")
    assert "back to the proxy" in end.why
    assert "again and again" in end.why


@pytest.mark.parametrize(
    ("kind", "spec", "wanted", "said"),
    [
        ("PeerAuthentication", {"mtls": {"mode": "STRICT"}}, (503, "", "UC", False), "which refuses it"),
        ("PeerAuthentication", {"mtls": {"mode": "PERMISSIVE"}}, (None, "", "", False), "again and again"),
        (
            "AuthorizationPolicy",
            {"rules": [{"from": [{"source": {"principals": ["*"]}}]}]},
            (403, "", "", False),
            "no rule of AuthorizationPolicy",
        ),
    ],
)
def test_what_comes_back_to_the_proxy_is_judged_anew(
    tmp_path: Path, kind: str, spec: object, wanted: object, said: str
) -> None:
    items = json.dumps({"items": [{"metadata": {"name": "one", "namespace": "shop"}, "spec": spec}]})
    plural = {"PeerAuthentication": "peerauthentications", "AuthorizationPolicy": "authorizationpolicies"}[kind]
    files = {f"resources/{plural}.security.istio.io.json": items}
    for rules, ends in ((ISTIO, DELIVERED), (LOOPING, wanted)):
        made = mesh(callee=rules, **files)
        made.pods[1]["metadata"]["labels"]["security.istio.io/tlsMode"] = "istio"
        found = made.trace(tmp_path / f"s{rules is ISTIO}", "web:80", "client")
        assert found.outcome.end.mtls == "mutual"
        assert flags(found) == ends
    assert said in found.outcome.end.why


def test_what_a_filter_asks_that_nobody_knows_leaves_the_last_step_open(tmp_path: Path) -> None:
    end = mesh(callee=filtering("INPUT -i lo -m bpf --bytecode x -j DROP")).trace(tmp_path / "s", "web:80", "client")
    assert end.outcome.end.delivered is None
    assert "--bytecode" in " ".join(end.outcome.end.undecided)


@pytest.mark.parametrize(
    ("caller", "callee", "wanted"),
    [
        (filtering("INPUT -i lo -j ACCEPT", inbound="DROP"), ISTIO, AT_THE_CLIENT),
        (filtering("INPUT -p tcp -m tcp --sport 8080 -j DROP"), ISTIO, AT_THE_CLIENT),
        (ISTIO, filtering("OUTPUT -o eth0 -d 10.0.0.5/32 -j DROP"), AT_THE_CLIENT),
        (ISTIO, filtering("OUTPUT -o eth0 -p tcp -m tcp --sport 15006 -j DROP"), AT_THE_CLIENT),
        (ISTIO, filtering("OUTPUT -o eth0 -p tcp -m tcp --sport 8080 -j DROP"), DELIVERED),
        (
            filtering("INPUT -i lo -j ACCEPT", "INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", inbound="DROP"),
            ISTIO,
            DELIVERED,
        ),
        (filtering("OUTPUT -o eth0 -p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK -j DROP"), ISTIO, DELIVERED),
    ],
)
def test_a_connection_needs_its_answers(tmp_path: Path, caller: str, callee: str, wanted: object) -> None:
    assert flags(mesh(caller, callee).trace(tmp_path / "s", "web:80", "client")) == wanted


def test_the_application_needs_the_answers_of_its_own_proxy(tmp_path: Path) -> None:
    end = (
        mesh(filtering("INPUT -p tcp -m tcp --sport 80 -j DROP")).trace(tmp_path / "s", "web:80", "client").outcome.end
    )
    assert (end.broken, end.delivered, end.cause) == ("timeout", False, "rules")


@pytest.mark.parametrize(
    ("rule", "delivered"),
    [
        ("INPUT -m conntrack --ctdir REPLY -j ACCEPT", True),
        ("INPUT -m conntrack --ctdir ORIGINAL -j ACCEPT", False),
        ("INPUT -m conntrack --ctstatus SEEN_REPLY -j ACCEPT", True),
        ("INPUT -m conntrack --ctstatus ASSURED -j ACCEPT", False),
        ("INPUT -m conntrack --ctstate DNAT -j ACCEPT", None),
        ("INPUT -m conntrack --ctstate ESTABLISHED,DNAT -j ACCEPT", True),
    ],
)
def test_answers_run_against_the_connection(tmp_path: Path, rule: str, delivered: bool | None) -> None:
    rules = filtering("INPUT -i lo -j ACCEPT", rule, inbound="DROP")
    assert mesh(rules).trace(tmp_path / "s", "web:80", "client").outcome.end.delivered is delivered


def test_a_rule_about_answers_only_stops_those(tmp_path: Path) -> None:
    rules = filtering("OUTPUT -o eth0 -m conntrack --ctdir REPLY -j DROP")
    assert flags(mesh(callee=rules).trace(tmp_path / "a", "web:80", "client")) == AT_THE_CLIENT
    assert flags(mesh(caller=rules).trace(tmp_path / "b", "web:80", "client")) == DELIVERED


def dnat(rule: str, chain: str = "OUTPUT") -> str:
    """Istio's rules with a DNAT of somebody else's ahead of them."""
    first = "-A OUTPUT -j ISTIO_OUTPUT\n" if chain == "OUTPUT" else "-A PREROUTING -p tcp -j ISTIO_INBOUND\n"
    return ISTIO.replace(first, f"-A {chain} {rule}\n{first}")


def with_another(rules: str, chain: str = "caller") -> Mesh:
    """A caller whose packets somebody sends to another pod, which is outside of the mesh."""
    made = mesh(**{chain: rules})
    other = pod("other", "10.0.0.7")
    other["metadata"]["annotations"] = {}
    other["spec"]["containers"] = other["spec"]["containers"][:1]
    del other["spec"]["initContainers"]
    made.pods = [*made.pods, other]
    made.listening = {"web": ["0.0.0.0:8080", "0.0.0.0:8081"], "other": ["0.0.0.0:7070"]}
    return made


def test_a_dnat_leads_elsewhere(tmp_path: Path) -> None:
    rules = dnat("-d 10.96.0.6/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.7:7070")
    found = with_another(rules).trace(tmp_path / "s", "web:80", "client")
    assert (found.outcome.end.delivered, found.outcome.end.through_client) == (True, False)
    assert any(hop.at == "shop/other" for hop in found.hops)
    assert any("sent to 10.0.0.7:7070 instead, by OUTPUT rule 1" in hop.decision for hop in found.hops)


def test_a_dnat_of_the_proxys_own_connection_leads_elsewhere(tmp_path: Path) -> None:
    rules = dnat("-d 10.0.0.6/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.7:7070")
    found = with_another(rules).trace(tmp_path / "s", "web:80", "client")
    assert any(hop.at == "shop/other" for hop in found.hops)


def test_a_dnat_to_the_proxys_port_is_a_redirection(tmp_path: Path) -> None:
    rules = dnat("-d 10.96.0.6/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 127.0.0.1:15001")
    end = mesh(rules).trace(tmp_path / "s", "web:80", "client").outcome.end
    assert (end.delivered, end.through_client) == (True, True)


def test_a_dnat_on_the_way_in_reaches_another_port(tmp_path: Path) -> None:
    rules = dnat("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.6:8082", "PREROUTING")
    found = with_another(rules, "callee").trace(tmp_path / "s", "web:80", "client")
    assert "port 8082" in found.outcome.end.why
    assert found.outcome.end.delivered is False


@pytest.mark.parametrize(("to", "port"), [("REDIRECT --to-ports 8081", 8081), ("DNAT --to-destination :8081", 8081)])
def test_a_redirection_past_the_proxy_reaches_who_listens_there(tmp_path: Path, to: str, port: int) -> None:
    rules = dnat(f"-p tcp -m tcp --dport 8080 -j {to}", "PREROUTING")
    found = with_another(rules, "callee").trace(tmp_path / "s", "10.0.0.6:8080", "other")
    assert (found.outcome.end.delivered, found.outcome.end.through_server) == (True, False)
    assert any(hop.title == f"port {port}" for hop in found.hops)


def test_a_dnat_by_chance_is_left_open(tmp_path: Path) -> None:
    rule = "-d 10.96.0.6/32 -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination "
    end = with_another(dnat(f"{rule}10.0.0.7:7070")).trace(tmp_path / "s", "web:80", "client").outcome.end
    assert end.delivered is None


@pytest.mark.parametrize(
    ("listens", "delivered"),
    [
        ("[::]:8080", False),
        (":::8080", True),
        ("*:8080", True),
        ("0.0.0.0:8080", True),
    ],
)
def test_a_socket_of_ipv6_alone_takes_no_ipv4(tmp_path: Path, listens: str, delivered: bool) -> None:
    made = mesh()
    made.listening = {"web": [listens]}
    assert made.trace(tmp_path / "s", "web:80", "client").outcome.end.delivered is delivered


def routed(*routes: str) -> dict[str, str]:
    """What `ip` said of the caller: one address, and these routes."""
    address = '[{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.0.0.5", "prefixlen": 24}]}]'
    near = '{"dst": "10.0.0.0/24", "dev": "eth0", "scope": "link"}'
    place = "pods/shop/client/netns"
    return {f"{place}/ip-address.json": address, f"{place}/ip-route.json": f"[{', '.join((near, *routes))}]"}


@pytest.mark.parametrize(
    ("routes", "target", "delivered"),
    [
        (('{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}',), "web:80", True),
        ((), "web:80", False),
        ((), "10.0.0.6:8080", True),
        (('{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}', '{"type": "unreachable", "dst": "10.96.0.0/12"}'),
         "web:80", False),
        (('{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}', '{"type": "blackhole", "dst": "10.0.0.6"}'),
         "web:80", False),
    ],
)  # fmt: skip
def test_no_packet_leaves_without_a_route(
    tmp_path: Path, routes: tuple[str, ...], target: str, delivered: bool
) -> None:
    made = mesh()
    made.files = routed(*routes)
    assert made.trace(tmp_path / "s", target, "client").outcome.end.delivered is delivered


def test_endpoints_of_the_other_family_alone_are_none(tmp_path: Path) -> None:
    made = mesh()
    made.pods = [made.pods[0]]
    made.pods[0]["metadata"]["annotations"] = {}
    del made.pods[0]["spec"]["initContainers"]
    made.pods[0]["spec"]["containers"] = made.pods[0]["spec"]["containers"][:1]
    made.rules, made.listening = {}, {}
    made.slices = [endpoints("web", 8080, "fd00::9")]
    end = made.trace(tmp_path / "s", "web:80", "client").outcome.end
    assert (end.broken, end.cause) == ("refused", "kube-proxy")
    assert "on this node" not in end.why


@pytest.mark.parametrize("whose", ["caller", "callee"])
def test_rules_that_cannot_be_read_are_not_taken_for_granted(tmp_path: Path, whose: str) -> None:
    broken = ISTIO[: ISTIO.index("-A ISTIO_OUTPUT -o lo")] + "-A ISTIO_OUTPUT -m owner\n"
    end = mesh(**{whose: broken}).trace(tmp_path / "s", "web:80", "client").outcome.end
    assert (end.delivered, end.through_client) == (None, True)
    assert "iptables-save.txt" in end.undecided[0]
    assert "line" in end.undecided[0] or ":" in end.undecided[0].partition("iptables-save.txt")[2]
