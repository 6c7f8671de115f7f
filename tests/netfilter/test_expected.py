import pytest

from meshctl.netfilter.capture import Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.clauses import key
from meshctl.netfilter.drift import compare
from meshctl.netfilter.expected import ANY_GROUP, predict, usable, uses_ipv6
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.release import Release
from tests.netfilter.rulings import CASES, Case, case

NEW = Release(1, 30, 3)
ALL = ("-i", "*", "-b", "*")
V4 = Network(("10.0.0.7",), ("10.96.0.10",))


def shape(rulesets: tuple[Ruleset, ...]) -> dict[tuple[str, str, str], list[object]]:
    return {
        (ruleset.family, table.name, chain.name): [key(rule) for rule in chain.rules]
        for ruleset in rulesets
        for table in ruleset.tables
        for chain in table.chains
        if chain.rules
    }


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_predicts_what_the_kernel_held(recorded: Case) -> None:
    assert shape(recorded.expected.rulesets) == shape(recorded.found)


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_spells_it_as_the_tools_do(recorded: Case) -> None:
    if recorded.native:
        return
    lines = recorded.expected.text("iptables-save.txt").splitlines()
    saved = [line.split("] ", 1)[-1] for line in (recorded.folder / "iptables-save.txt").read_text().splitlines()]
    assert [line for line in lines if line.startswith("-A")] == _rules_in_order(saved, lines)


def _rules_in_order(saved: list[str], like: list[str]) -> list[str]:
    """The saved rules, tables in the order of `like` (iptables-nft saves them in the order of their creation)."""
    tables: dict[str, list[str]] = {}
    name = ""
    for line in saved:
        if line.startswith("*"):
            name = line
        elif line.startswith("-A"):
            tables.setdefault(name, []).append(line)
    order = [line for line in like if line.startswith("*")]
    return [rule for table in order for rule in tables.get(table, [])]


def rules(text: str, chain: str) -> list[str]:
    return [line.removeprefix(f"-A {chain} ") for line in text.splitlines() if line.startswith(f"-A {chain} ")]


def expect(*args: str, release: Release = NEW, network: Network = V4, **env: str) -> str:
    return predict(of_arguments(args, env, release), release, network).text("iptables-save.txt")


@pytest.mark.parametrize(
    ("addresses", "dual", "six"),
    [
        (("10.0.0.7",), False, False),
        (("fd00::7",), False, True),
        (("10.0.0.7", "fd00::7"), False, False),
        (("10.0.0.7", "fd00::7"), True, True),
        (("127.0.0.1", "::1", "fe80::1", "fd00::7"), False, True),
        (("::ffff:10.0.0.7",), True, False),
        (("fd00::7/64", "10.0.0.7/24"), False, False),
        ((), True, False),
    ],
)
def test_ipv6_rules_follow_the_first_usable_address(addresses: tuple[str, ...], dual: bool, six: bool) -> None:
    assert uses_ipv6(addresses, dual_stack=dual) is six


def test_link_local_and_loopback_addresses_do_not_count() -> None:
    assert [usable(a) for a in ("127.0.0.1", "169.254.1.1", "fe80::1%eth0", "ff02::1", "10.0.0.1/8")] == [
        None, None, None, None, "10.0.0.1",
    ]  # fmt: skip


def test_rerouted_interfaces_end_in_reverse_with_redirects_above_returns() -> None:
    assert rules(expect(*ALL, "-k", "vm0,vm1"), "PREROUTING") == [
        "-i vm1 -j ISTIO_REDIRECT",
        "-i vm0 -j ISTIO_REDIRECT",
        "-i vm1 -j RETURN",
        "-i vm0 -j RETURN",
        "-p tcp -j ISTIO_INBOUND",
    ]


def test_ranges_are_masked_and_those_of_the_other_family_left_out() -> None:
    text = expect("-i", "10.1.2.3/8,fd00::/8,nonsense,0.0.0.0/0", "-b", "")
    assert rules(text, "ISTIO_OUTPUT")[-3:] == ["-d 127.0.0.1/32 -j RETURN", "-d 10.0.0.0/8 -j ISTIO_REDIRECT",
                                                "-j ISTIO_REDIRECT"]  # fmt: skip


def test_a_loopback_range_in_i_captures_calls_over_lo() -> None:
    assert not [rule for rule in rules(expect("-i", "127.0.0.0/8", "-b", ""), "ISTIO_OUTPUT") if "! --uid" in rule]


def test_listed_inbound_ports_ignore_the_exclusions() -> None:
    assert rules(expect("-b", "80,443", "-d", "9"), "ISTIO_INBOUND") == [
        "-p tcp -m tcp --dport 15008 -j RETURN",
        "-p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT",
        "-p tcp -m tcp --dport 443 -j ISTIO_IN_REDIRECT",
    ]


def test_included_groups_share_one_rule() -> None:
    found = rules(expect(*ALL, ISTIO_OUTBOUND_OWNER_GROUPS="5,6"), "ISTIO_OUTPUT")
    assert "-m owner ! --gid-owner 5 -m owner ! --gid-owner 6 -j RETURN" in found


def test_dns_without_a_nameserver_turns_itself_off_today_but_not_in_1_12() -> None:
    none = Network(("10.0.0.7",), ())
    env = {"ISTIO_META_DNS_CAPTURE": "true"}
    assert "15053" not in expect(*ALL, network=none, **env)
    assert "--sport 15053" in expect(*ALL, network=none, release=Release(1, 12, 1), **env)


def test_unknown_nameservers_are_said_and_their_rules_left_out() -> None:
    capture = of_arguments(ALL, {"ISTIO_META_DNS_CAPTURE": "true"}, NEW)
    expected = predict(capture, NEW, Network(("10.0.0.7",)))
    assert any("nameservers are not known" in note for note in expected.notes)
    assert "ISTIO_OUTPUT_DNS" in expected.text("iptables-save.txt")


def test_an_unknown_group_name_matches_any_gid_and_that_is_said() -> None:
    env = {"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "daemon,team"}
    capture = of_arguments(ALL, env, NEW)
    unnamed = predict(capture, NEW, V4)
    assert dict(unnamed.unresolved) == {"team": ANY_GROUP}
    assert "--gid-owner team" in unnamed.text("iptables-save.txt")
    assert any("group team is not known" in note for note in unnamed.notes)
    for gid, number in (("4242", 4242), ("77", 77)):
        named = predict(capture, NEW, Network(("10.0.0.7",), (), (("team", number),)))
        assert f"--gid-owner {gid}" in named.text("iptables-save.txt")
        assert compare(unnamed, named.rulesets, capture).in_sync


@pytest.mark.parametrize("minor", range(12, 31))
def test_every_minor_has_a_prediction(minor: int) -> None:
    release = Release(1, minor)
    env = {"ISTIO_META_DNS_CAPTURE": "true", "INVALID_DROP": "true"}
    for mode in ("REDIRECT", "TPROXY"):
        args = ("-m", mode, "-i", "10.0.0.0/8", "-b", "*", "-o", "3306")
        text = expect(*args, release=release, **env)
        output = rules(text, "ISTIO_OUTPUT")
        assert ("-j RETURN" in output) is (minor <= 22)
        assert ("-p udp -m udp --dport 3306 -j RETURN" in output) is (minor >= 25)
        assert (":ISTIO_OUTPUT_DNS" in text) is (minor >= 25)
        assert (":ISTIO_DROP" in text) is (minor >= 24)
        assert ("--ctstate INVALID" in text) is (minor >= 13)
        assert ("! --dport 15008" in text) is (minor >= 18)
        assert ("--dport 22 -j RETURN" in text) is (minor == 12)
        predicted = predict(of_arguments(args, env, release), release, V4)
        assert predicted.verified is (minor in (12, 30))
        assert predicted.verified or any("unverified" in note for note in predicted.notes)


def test_dual_stack_tproxy_inserts_stand_where_nft_puts_them() -> None:
    args = ("-m", "TPROXY", *ALL, "--native-nftables")
    capture = of_arguments(args, {"ISTIO_DUAL_STACK": "true"}, NEW)
    text = predict(capture, NEW, Network(("10.0.0.7", "fd00::7"))).text("nft.txt")
    chain = text.split("chain istio-inbound {")[2].split("}")[0]
    heads = [line.split(" counter")[0].strip() for line in chain.splitlines() if line.strip()][:4]
    assert heads == [
        "meta l4proto tcp meta mark 0x00000539",
        'iifname "lo" meta l4proto tcp ip6 saddr ::6',
        'iifname "lo" meta l4proto tcp meta mark != 0x0000053a',
        'iifname "lo" meta l4proto tcp ip saddr 127.0.0.6',
    ]


def test_skipping_the_rules_predicts_none() -> None:
    expected = predict(of_arguments((*ALL, "--skip-rule-apply"), {}, NEW), NEW, V4)
    assert expected.rulesets == ()
    assert any("ask for no rules" in note for note in expected.notes)


def test_ambient_inbound_capture_can_be_bypassed() -> None:
    whole = predict(of_ambient({}), NEW, V4).text("iptables-save.txt")
    bypassed = predict(of_ambient({"ambient.istio.io/bypass-inbound-capture": "true"}), NEW, V4)
    assert "--to-ports 15006" in whole
    assert "--to-ports 15006" not in bypassed.text("iptables-save.txt")


def test_trace_logging_logs_in_front_of_the_rule() -> None:
    found = rules(expect(*ALL, "--iptables-trace-logging", release=Release(1, 20)), "ISTIO_IN_REDIRECT")
    assert "NFLOG" in found[0]
    assert "REDIRECT" in found[1]


def test_predictions_are_cached() -> None:
    recorded = case("1.30.3/default")
    assert predict(recorded.capture, recorded.release, recorded.network) is recorded.expected


def test_dns_over_udp_moved_into_istios_chain_with_1_23() -> None:
    # tools/istio-iptables/pkg/capture/run.go between 1.22 and 1.23: answers stay in PREROUTING itself.
    text = expect(*ALL, release=Release(1, 23), ISTIO_META_DNS_CAPTURE="true")
    assert rules(text, "OUTPUT") == [
        "-p udp -j ISTIO_OUTPUT",
        "-p tcp -j ISTIO_OUTPUT",
        "-p udp -j ISTIO_OUTPUT",
    ]
    assert rules(text, "PREROUTING")[0] == "-s 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --zone 1"
    older = expect(*ALL, release=Release(1, 22), ISTIO_META_DNS_CAPTURE="true")
    assert rules(older, "OUTPUT")[-1] == "-d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"
