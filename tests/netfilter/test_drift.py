import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.netfilter import iptables_save
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.clauses import key
from meshctl.netfilter.drift import compare
from meshctl.netfilter.drift_items import Drift
from meshctl.netfilter.expected import predict
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.packet import Packet, read
from meshctl.netfilter.release import Release, parse
from meshctl.netfilter.routing import assemble, given_addresses
from meshctl.netfilter.walk import walker
from tests.netfilter.rulings import CASES, Case, case

IPTABLES = tuple(c for c in CASES if not c.native)
FORMS = ("default", "dns", "tproxy", "include-ranges", "kubevirt", "uids")


def drift(recorded: Case, text: str) -> Drift:
    found = iptables_save.parse(text, "mutated", family="ipv4")
    return compare(recorded.expected, [found], recorded.capture)


def parts(text: str) -> list[list[str]]:
    return [table.splitlines() for table in text.split("COMMIT\n") if table.strip()]


def joined(tables: list[list[str]]) -> str:
    return "".join("\n".join(lines) + "\nCOMMIT\n" for lines in tables)


def edited(text: str, at: tuple[int, int], *lines: str, drop: bool = False) -> str:
    tables = parts(text)
    table, line = at
    tables[table][line : line + drop] = lines
    return joined(tables)


def places(text: str) -> Iterator[tuple[int, int, str]]:
    for number, lines in enumerate(parts(text)):
        for at, line in enumerate(lines):
            if line.startswith("-A"):
                yield number, at, line


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_what_the_kernel_held_is_in_sync(recorded: Case) -> None:
    found = compare(recorded.expected, recorded.found, recorded.capture, recorded=recorded.families)
    assert found.in_sync
    assert found.items == ()


EDGES = (
    ("1.30.3", "-x", "0.0.0.0/0", "-i", "*", "-b", "*"),
    ("1.12.1", "-x", "0.0.0.0/0", "-i", "10.0.0.0/8", "-b", "*"),
    ("1.12.1", "-i", "10.0.0.0/8,10.1.0.0/16"),
    ("1.30.3", "-x", "10.0.0.0/8", "-i", "*", "-q", "25", "-o", "53", "-b", "80,443"),
    ("1.30.3", "-u", "1337,1000", "-i", "*"),
    ("1.30.3", "-x", "0.0.0.0/0", "-i", ""),
)


@pytest.mark.parametrize("asked", EDGES, ids=" ".join)
def test_only_what_is_proven_to_do_nothing_is_said_to_change_nothing(asked: tuple[str, ...]) -> None:
    release = parse(asked[0])
    capture = of_arguments(asked[1:], {}, release)
    wanted = predict(capture, release)
    text = wanted.text("iptables-save.txt")
    for table, at, line in places(text):
        removed = iptables_save.parse(edited(text, (table, at), drop=True), "mutated", family="ipv4")
        for item in compare(wanted, [removed], capture).items:
            assert item.effect.startswith("nothing changes") == item.harmless, line


def test_the_loss_of_an_exclusion_of_everything_is_told_as_capture_of_everything() -> None:
    release = parse("1.30.3")
    capture = of_arguments(["-x", "0.0.0.0/0", "-i", "*"], {}, release)
    wanted = predict(capture, release)
    text = wanted.text("iptables-save.txt")
    removed = iptables_save.parse(text.replace("-A ISTIO_OUTPUT -j RETURN\n", ""), "mutated", family="ipv4")
    (item,) = compare(wanted, [removed], capture).items
    assert item.effect == "traffic to 0.0.0.0/0 goes through the proxy although it was excluded"


def lost(args: list[str], *gone: str) -> dict[str, str]:
    """The effect of each rule that is missing after some were taken away."""
    release = parse("1.30.3")
    capture = of_arguments(args, {}, release)
    wanted = predict(capture, release)
    text = wanted.text("iptables-save.txt")
    for line in gone:
        assert f"{line}\n" in text
        text = text.replace(f"{line}\n", "")
    items = compare(wanted, [iptables_save.parse(text, "mutated", family="ipv4")], capture).items
    return {item.expected: item.effect for item in items}


GUARD = "-A ISTIO_OUTPUT -m owner --{}-owner {} -j RETURN"
LOOP = "is redirected to the proxy: an endless loop where the proxy itself runs so"


def test_a_lost_guard_names_who_is_captured_and_who_is_still_let_through() -> None:
    uid, gid = GUARD.format("uid", 1337), GUARD.format("gid", 1337)
    assert lost(["-i", "*"], uid) == {uid: f"what uid 1337 sends {LOOP}, unless `{gid}` takes it"}
    assert lost(["-i", "*"], uid, gid) == {uid: f"what uid 1337 sends {LOOP}", gid: f"what gid 1337 sends {LOOP}"}
    other, others = GUARD.format("uid", 1000), GUARD.format("gid", 1000)
    assert lost(["-i", "*", "-u", "1337,1000"], other, others) == {
        other: f"what uid 1000 sends {LOOP}, unless `{gid}` takes it",
        others: f"what gid 1000 sends {LOOP}, unless `{uid}` takes it",
    }


def test_local_calls_that_the_groups_rule_still_lets_through_are_not_all_lost() -> None:
    local = "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN"
    (effect,) = lost(["-i", "*"], local).values()
    assert effect.endswith("go through the proxy, unless `-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN` "
                           "takes it")  # fmt: skip


def added(asked: list[str], there: list[str]) -> dict[str, tuple[str, bool]]:
    """The effect of each rule that other arguments wrote, and whether it does nothing."""
    release = parse("1.30.3")
    capture = of_arguments(asked, {}, release)
    written = predict(of_arguments(there, {}, release), release)
    items = compare(predict(capture, release), written.rulesets, capture).items
    return {item.found.partition(" ")[2]: (item.effect, item.harmless) for item in items}


NOT_ASKED = "though the arguments do not ask for it"
NOT_TAKEN = "nothing changes for traffic: no expected rule would take these packets"


def test_what_is_captured_unasked_is_told_so() -> None:
    assert added(["-i", ""], ["-i", "*"]) == {
        "ISTIO_OUTPUT -j ISTIO_REDIRECT": (f"TCP is sent to the proxy, {NOT_ASKED}", False)
    }
    assert added(["-b", ""], ["-b", "*", "-d", "15090"]) == {
        "PREROUTING -p tcp -j ISTIO_INBOUND": (f"TCP goes through ISTIO_INBOUND, {NOT_ASKED}", False),
        "ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT": (f"TCP is sent to the proxy, {NOT_ASKED}", False),
        "ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN": (NOT_TAKEN, True),
    }
    effects = added(["-b", "80"], ["-b", "*", "-d", "15090,80"])
    assert effects["ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN"] == (NOT_TAKEN, True)
    assert not effects["ISTIO_INBOUND -p tcp -m tcp --dport 80 -j RETURN"][1]


def test_a_second_jump_is_once_more() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt")
    jump = "-A OUTPUT -j ISTIO_OUTPUT\n"
    (item,) = drift(recorded, text.replace(jump, jump * 2)).items
    assert item.effect == "everything goes through ISTIO_OUTPUT once more"


def test_an_unexpected_jump_in_front_of_other_rules_goes_before_them() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt")
    early = "-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j ISTIO_IN_REDIRECT\n"
    first = "-A ISTIO_INBOUND -p tcp -m tcp --dport 15008"
    items = drift(recorded, text.replace(first, early + first)).items
    effects = {item.kind: item.effect for item in items}
    assert effects["extra"] == "TCP to port 15090 is sent to the proxy, whatever later rules say"


@pytest.mark.parametrize("recorded", IPTABLES, ids=lambda c: c.name)
def test_each_removed_rule_is_missed(recorded: Case) -> None:
    text = recorded.expected.text("iptables-save.txt")
    for table, at, line in places(text):
        items = drift(recorded, edited(text, (table, at), drop=True)).items
        assert any(item.kind == "missing" and item.expected == line for item in items), line


@pytest.mark.parametrize("recorded", IPTABLES, ids=lambda c: c.name)
def test_each_inserted_rule_is_seen(recorded: Case) -> None:
    text = recorded.expected.text("iptables-save.txt")
    for table, at, line in places(text):
        chain = line.split()[1]
        for words in ("-p tcp -m tcp --dport 8080 -j RETURN", "-j DROP", "-s 10.9.8.7/32 -j ACCEPT"):
            added = f"-A {chain} {words}"
            items = drift(recorded, edited(text, (table, at), added)).items
            assert any(item.found == added and item.kind in ("extra", "foreign") for item in items), added


@pytest.mark.parametrize("name", [f"{release}/{form}" for release in ("1.12.1", "1.30.3") for form in FORMS])
def test_each_exchange_of_neighbours_is_seen(name: str) -> None:
    recorded = case(name)
    text = recorded.expected.text("iptables-save.txt")
    found = list(places(text))
    for (table, at, line), (other, beyond, following) in itertools.pairwise(found):
        if table == other and line.split()[1] == following.split()[1] and beyond == at + 1 and line != following:
            swapped = edited(edited(text, (table, at), following, drop=True), (table, beyond), line, drop=True)
            assert any(item.kind == "reordered" for item in drift(recorded, swapped).items), line


@pytest.mark.parametrize("name", [f"{release}/{form}" for release in ("1.12.1", "1.30.3") for form in FORMS])
def test_each_altered_rule_is_seen(name: str) -> None:
    recorded = case(name)
    text = recorded.expected.text("iptables-save.txt")
    for table, at, line in places(text):
        for old, new in (("1337", "1338"), ("15", "16"), ("RETURN", "ACCEPT"), ("! ", ""), ("-o lo", "-o eth0")):
            if old in line:
                changed = line.replace(old, new, 1)
                items = drift(recorded, edited(text, (table, at), changed, drop=True)).items
                assert any(changed in (item.found, item.expected) for item in items), changed


NETWORK = assemble(given_addresses(["172.17.0.7"]), None, None)


def samples() -> list[Packet]:
    sent = [
        {"proto": proto, "dst": dst, "dport": port, "sport": 40000, "src": src, "out": out, "uid": uid, "gid": gid}
        for proto in ("tcp", "udp")
        for dst, src, out in (
            ("10.96.0.10", "172.17.0.7", "eth0"), ("10.0.0.1", "172.17.0.7", "eth0"), ("127.0.0.1", "127.0.0.1", "lo"),
            ("172.17.0.7", "172.17.0.7", "lo"), ("172.17.0.7", "127.0.0.6", "lo"),
        )
        for port in (53, 80, 15008, 8080)
        for uid, gid in ((1000, 1000), (1337, 1337), (1000, 1337), (0, 1337))
    ]  # fmt: skip
    came = [
        {"proto": proto, "dst": "172.17.0.7", "src": "10.0.0.1", "dport": port, "sport": 40000, "in": name}
        for proto in ("tcp", "udp")
        for port in (22, 80, 8080, 15008, 15020, 15090)
        for name in ("eth0", "k6t-eth0")
    ]
    return [read({"ctstate": "new", **fields}) for fields in (*sent, *came)]


SAMPLES = samples()


def fates(ruleset: Ruleset) -> list[tuple[str, int | None]]:
    ready = walker([ruleset], NETWORK)
    return [(walk.verdict, walk.redirect_port) for walk in map(ready.walk, SAMPLES)]


INSERTED = (
    "-j RETURN", "-j ACCEPT", "-j DROP", "-p udp -j RETURN", "-p tcp -m tcp --dport 8080 -j RETURN", "-j LOG",
    "-d 10.0.0.1/32 -j RETURN", "-p tcp -m tcp --dport 80 -j DROP",
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(IPTABLES), st.randoms(use_true_random=False))
def test_no_mutation_that_changes_a_fate_is_called_harmless(recorded: Case, chance: random.Random) -> None:
    text = recorded.expected.text("iptables-save.txt")
    table, at, line = chance.choice(list(places(text)))
    kind = chance.choice(("remove", "insert", "move", "double"))
    chain = line.split()[1]
    if kind == "remove":
        mutated = edited(text, (table, at), drop=True)
    elif kind == "insert":
        mutated = edited(text, (table, at), f"-A {chain} {chance.choice(INSERTED)}")
    elif kind == "double":
        mutated = edited(text, (table, at), line)
    else:
        mutated = edited(text, (table, at), drop=True)
        same = [(t, a) for t, a, other in places(mutated) if t == table and other.split()[1] == chain]
        mutated = edited(mutated, chance.choice(same), line) if same else text
    found = iptables_save.parse(mutated, "mutated", family="ipv4")
    items = compare(recorded.expected, [found], recorded.capture).items
    before, after = recorded.expected.rulesets[0], found
    if [key(rule) for *_, rule in before.rules] != [key(rule) for *_, rule in after.rules]:
        assert items
    if all(item.harmless for item in items):
        assert fates(before) == fates(after)


INBOUND = (["-b", ""], ["-b", "*"], ["-b", "80,8080"], ["-b", "*", "-d", "80,15090"])
OUTBOUND = (
    ["-i", "*"], ["-i", ""], ["-i", "10.0.0.0/8"], ["-i", "*", "-x", "10.0.0.1/32"], ["-i", "*", "-x", "0.0.0.0/0"],
    ["-i", "", "-q", "80"], ["-i", "*", "-o", "80,53"],
)  # fmt: skip
USERS = ([], ["-u", "1337,1000"])
ASKED = tuple([*a, *b, *c] for a in INBOUND for b in OUTBOUND for c in USERS)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(("1.12.1", "1.30.3")), st.sampled_from(ASKED), st.sampled_from(ASKED), st.integers(0, 99))
def test_no_rules_of_other_arguments_are_called_harmless_where_a_fate_differs(
    version: str, asked: list[str], other: list[str], gone: int
) -> None:
    release = parse(version)
    capture = of_arguments(asked, {}, release)
    wanted = predict(capture, release)
    text = predict(of_arguments(other, {}, release), release).text("iptables-save.txt")
    found = list(places(text))
    if gone < len(found):
        text = edited(text, found[gone][:2], drop=True)
    ruleset = iptables_save.parse(text, "other", family="ipv4")
    if all(item.harmless for item in compare(wanted, [ruleset], capture).items):
        assert fates(ruleset) == fates(wanted.rulesets[0])


def test_a_foreign_return_in_front_of_istio_output_does_not_pass() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt").replace(
        "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -m owner --uid-owner 1000 -j RETURN\n-A OUTPUT -j ISTIO_OUTPUT"
    )
    (item,) = drift(recorded, text).items
    assert (item.kind, item.harmless) == ("foreign", False)
    assert item.effect == "everything sent by uid 1000 leaves the pod without the proxy"


def test_a_return_for_everything_shadows_the_jump() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt").replace(
        "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -j RETURN\n-A OUTPUT -j ISTIO_OUTPUT"
    )
    kinds = {item.kind: item for item in drift(recorded, text).items}
    assert set(kinds) == {"foreign", "shadowed"}
    assert kinds["shadowed"].effect.startswith("everything leaves the pod without the proxy: `-A OUTPUT -j RETURN`")


def test_a_flushed_table_misses_its_jumps_first() -> None:
    recorded = case("1.30.3/default")
    text = "\n".join(
        line for line in recorded.expected.text("iptables-save.txt").splitlines() if not line.startswith("-A")
    )
    found = drift(recorded, text + "\n")
    assert not found.in_sync
    assert [item.chain for item in found.items[:2]] == ["PREROUTING", "OUTPUT"]
    assert all(item.moot for item in found.items[2:] if not item.harmless)


def test_two_rules_that_shadow_one_take_it_together() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt")
    split = ("-A OUTPUT -o lo -j RETURN", "-A OUTPUT ! -o lo -j RETURN")
    text = text.replace("-A OUTPUT -j ISTIO_OUTPUT", "\n".join((*split, "-A OUTPUT -j ISTIO_OUTPUT")))
    (shadowed,) = [item for item in drift(recorded, text).items if item.kind == "shadowed"]
    assert shadowed.effect.endswith("in front of this rule take it")


def test_a_log_rule_is_shown_and_does_no_harm() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt").replace(
        "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -j LOG\n-A OUTPUT -j ISTIO_OUTPUT"
    )
    found = drift(recorded, text)
    assert found.in_sync
    assert [item.harmless for item in found.items] == [True]


def test_a_guardrail_is_reported() -> None:
    recorded = case("1.30.3/default")
    guard = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -j DROP\nCOMMIT\n"
    )
    (item,) = drift(recorded, recorded.expected.text("iptables-save.txt") + guard).items
    assert (item.kind, item.table) == ("extra", "filter")
    assert "interrupted reconcile" in item.effect


def test_a_dropping_policy_is_reported() -> None:
    recorded = case("1.30.3/default")
    guard = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT DROP [0:0]\nCOMMIT\n"
    (item,) = drift(recorded, recorded.expected.text("iptables-save.txt") + guard).items
    assert (item.kind, item.found) == ("changed", "policy DROP")


def test_rules_of_the_other_kind_are_the_wrong_backend() -> None:
    native, plain = case("1.30.3/default-nft"), case("1.30.3/default")
    assert [i.kind for i in compare(native.expected, plain.found, native.capture).items] == ["wrong-backend"]
    assert [i.kind for i in compare(plain.expected, native.found, plain.capture).items] == ["wrong-backend"]


def test_rules_in_both_backends_are_reported_once() -> None:
    recorded = case("1.30.3/default")
    found = [*recorded.found, *(replace(r, backend="legacy") for r in recorded.found if r.family == "ipv4")]
    kinds = [item.kind for item in compare(recorded.expected, found, recorded.capture).items]
    assert kinds == ["both-backends"]


def test_empty_chains_in_one_backend_do_not_hide_the_rules_in_the_other() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt")
    flushed = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("-A"))
    found = [
        iptables_save.parse(flushed, "nft", "ipv4", "nft"),
        iptables_save.parse(text, "legacy", "ipv4", "legacy"),
    ]
    assert compare(recorded.expected, found, recorded.capture).in_sync


def test_a_family_that_nobody_recorded_is_a_gap_and_no_drift() -> None:
    recorded = case("1.30.3/dual-stack")
    four = [ruleset for ruleset in recorded.found if ruleset.family == "ipv4"]
    found = compare(recorded.expected, four, recorded.capture)
    assert found.in_sync
    assert any("IPv6 rules were not looked at" in note for note in found.notes)
    assert not compare(recorded.expected, four, recorded.capture, recorded=("ipv4", "ipv6")).in_sync


def test_leftovers_of_istios_in_a_pod_that_nothing_captures() -> None:
    recorded = case("1.30.3/default")
    nothing = replace(recorded.expected, rulesets=())
    kinds = {item.kind for item in compare(nothing, recorded.found, None).items}
    assert kinds == {"extra"}


def test_a_wider_rule_says_what_it_takes_as_well() -> None:
    recorded = case("1.12.1/default")
    text = recorded.expected.text("iptables-save.txt").replace("-A OUTPUT -p tcp -j", "-A OUTPUT -j")
    (item,) = drift(recorded, text).items
    assert (item.kind, item.effect) == ("changed", "everything goes on in ISTIO_OUTPUT, where only this should: TCP")


def test_a_port_excluded_for_udp_alone_changes_nothing_without_dns_capture() -> None:
    release = Release(1, 30, 3)
    capture = of_arguments(("-i", "*", "-b", "*", "-o", "3306"), {}, release)
    expected = predict(capture, release)
    text = expected.text("iptables-save.txt").replace("-A ISTIO_OUTPUT -p udp -m udp --dport 3306 -j RETURN\n", "")
    (item,) = compare(expected, [iptables_save.parse(text, family="ipv4")], capture).items
    assert (item.kind, item.harmless) == ("missing", True)
