"""Reading and writing iptables-save."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.errors import BadInput
from meshctl.netfilter import iptables_save, iptables_text
from meshctl.netfilter.addresses import Span, prefix
from meshctl.netfilter.matches import (
    AddrType,
    Comment,
    CtState,
    Destination,
    External,
    InInterface,
    IpSet,
    Mark,
    Opaque,
    Owner,
    Ports,
    Protocol,
    Source,
    TcpFlags,
)
from meshctl.netfilter.model import Chain, Ruleset
from meshctl.netfilter.model import Rule as ModelRule
from meshctl.netfilter.targets import Accept, CtZone, Dnat, Goto, Jump, Passive, Redirect, SaveMark, SetMark, Tproxy


def one(line: str, table: str = "nat") -> ModelRule:
    ruleset = iptables_save.parse(f"*{table}\n:X - [0:0]\n:OUTPUT ACCEPT [0:0]\n{line}\nCOMMIT\n")
    (found,) = [rule for _, _, _, rule in ruleset.rules]
    return found


def shape(ruleset: Ruleset) -> list[tuple[object, ...]]:
    """Everything but the places where it stood."""
    return [
        (table.name, chain.name, chain.policy, chain.hook, rule.matches, rule.targets, rule.packets, rule.bytes)
        for table, chain, _, rule in ruleset.rules
    ]


def recorded(fixtures: Path) -> list[Path]:
    return sorted([*(fixtures / "rulesets").rglob("*save.txt"), *(fixtures / "rules" / "tools").glob("*.txt")])


def test_recorded_dumps_are_understood_and_written_back_word_by_word(fixtures: Path) -> None:
    files = recorded(fixtures)
    assert len(files) > 30
    for file in files:
        ruleset = iptables_save.parse(file.read_text(), file.name)
        assert not [rule.opaque for _, _, _, rule in ruleset.rules if rule.opaque]
        for _, _, _, rule in ruleset.rules:
            assert iptables_text.rule_text(rule) == rule.text.replace("--nfacct-name  ", "--nfacct-name ")


def test_what_is_emitted_reads_as_what_was_read(fixtures: Path) -> None:
    for file in recorded(fixtures):
        ruleset = iptables_save.parse(file.read_text(), file.name)
        for counters in (None, True):
            again = iptables_save.parse(iptables_text.emit(ruleset, counters=counters), "again")
            assert shape(again) == shape(ruleset)


@pytest.mark.parametrize(
    ("line", "matches", "target"),
    [
        ("-A X -p tcp -j REDIRECT --to-ports 15001", (Protocol("tcp"),), Redirect(Span(15001, 15001))),
        ("-A X -m owner ! --uid-owner 1337 -j RETURN", (Owner("uid", Span(1337, 1337), True),), None),
        ("-A X -m owner --uid-owner ! 1337 -j RETURN", (Owner("uid", Span(1337, 1337), True),), None),
        ("-A X -d ! 127.0.0.1/32 -j RETURN", (Destination(prefix("127.0.0.1"), True),), None),
        ("-A X -s 10.0.0.0/255.0.0.0 -g X", (Source(prefix("10.0.0.0/8")),), Goto("X")),
        ("-A X -i eth+ -j X", (InInterface("eth+"),), Jump("X")),
        (
            "-A X -p tcp -m multiport ! --dports 53,15008,1:9",
            (
                Protocol("tcp"),
                Ports("destination", (Span(53, 53), Span(15008, 15008), Span(1, 9)), True, "", multi=True),
            ),
            None,
        ),
        ("-A X -m mark --mark 0x1/0xff -j MARK --set-mark 2/4", (Mark(1, 0xFF),), SetMark(2, 6)),
        ("-A X -m mark --mark 010", (Mark(8),), None),
        ("-A X -p tcp --syn", (Protocol("tcp"), Opaque("--syn")), None),
        ("-A X -p tcp -m tcp --syn", (Protocol("tcp"), TcpFlags(("FIN", "SYN", "RST", "ACK"), ("SYN",))), None),
        ("-A X -m state --state NEW,RELATED", (CtState(("NEW", "RELATED"), False, "state"),), None),
        ("-A X -m addrtype ! --dst-type LOCAL", (AddrType("destination", ("LOCAL",), True),), None),
        ('-A X -m comment --comment "a \\"b\\" -j DROP" -j ACCEPT', (Comment('a "b" -j DROP'),), Accept()),
        ("-A X -m set ! --match-set KUBE dst,dst", (IpSet("KUBE", ("dst", "dst"), True),), None),
        ("-A X -m limit --limit 5/min", (External("limit", ("--limit", "5/min")),), None),
        ("-A X -m novel --thing 1 ! --other -j ACCEPT", (Opaque("-m novel --thing 1 ! --other"),), Accept()),
        ("-A X -j NOVEL --deeply strange", (), Opaque("-j NOVEL --deeply strange")),
        ("-A X -j NOWHERE", (), Opaque("-j NOWHERE")),
        ("-A X -j CONNMARK --save-mark --mask 0xff", (), SaveMark(0xFF, 0xFF)),
        ("-A X -j CT --zone 1 --helper ftp", (), CtZone(1, "", ("--helper", "ftp"))),
        ("-A X -j DNAT --to-destination 10.0.0.1-10.0.0.3:80-90 --random", (), "10.0.0.1-10.0.0.3:80-90"),
        ("-A X -j DNAT --to-destination [fd00::1]:80", (), "[fd00::1]:80"),
        ('-A X -j LOG --log-prefix "a b: "', (), Passive("LOG", ("--log-prefix", "a b: "))),
        ("-A X -p tcp -j TPROXY --on-port 1 --tproxy-mark 0x5/0xf", (Protocol("tcp"),), Tproxy(1, "", 5, 15)),
    ],
)
def test_clauses(line: str, matches: tuple[object, ...], target: object) -> None:
    rule = one(line)
    assert rule.matches == matches
    if isinstance(target, str):
        assert isinstance(rule.target, Dnat)
        assert target in iptables_text.rule_text(rule)
    elif target is not None:
        assert rule.target == target
    again = one(iptables_text.rule_text(rule))
    assert (again.matches, again.target) == (rule.matches, rule.target)


def test_counters_policies_and_places() -> None:
    text = (
        "# Generated by ip6tables-save v1.8.9 (nf_tables)\n*filter\n:INPUT DROP [5:300]\n:U - [0:0]\n"
        "[7:420] -A INPUT -j U\nCOMMIT\n"
    )
    ruleset = iptables_save.parse(text, "save.txt")
    (table,) = ruleset.tables
    assert (ruleset.family, ruleset.backend) == ("ipv6", "nft")
    chain = table.chain("INPUT")
    assert isinstance(chain, Chain)
    assert (chain.policy, chain.packets, chain.bytes, chain.hook, chain.priority) == ("DROP", 5, 300, "INPUT", 0)
    (rule,) = chain.rules
    assert (rule.packets, rule.bytes, str(rule.origin), rule.text) == (7, 420, "save.txt:5", "-A INPUT -j U")
    assert table.chain("U") == Chain("U", (), origin=table.chain("U").origin)  # type: ignore[union-attr]


def test_iptables_nft_has_security_behind_nat_input() -> None:
    text = "*security\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
    assert iptables_save.parse(text, backend="nft").tables[0].chains[0].priority == 150
    assert iptables_save.parse(text, backend="legacy").tables[0].chains[0].priority == 50


def test_what_iptables_restore_takes_is_read() -> None:
    text = "* nat\n-N ISTIO\n-A ISTIO -j RETURN\n-I ISTIO 1 -p tcp -j ACCEPT\n-A OUTPUT -j ISTIO\nCOMMIT\n"
    (table,) = iptables_save.parse(text).tables
    assert table.name == "nat"
    assert [rule.target for rule in table.chain("ISTIO").rules][0] == Accept()  # type: ignore[union-attr]  # noqa: RUF015
    assert table.chain("OUTPUT").hook == "OUTPUT"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\n", "f:4: the dump breaks off: table nat (line 1)"),
        ("*nat\n:OUTPUT ACC\0PT", "f:2: binary noise"),
        ("*nat\n:OUTPUT ACC�PT", "f:2: binary noise"),
        ("hello\n", "f:1: not a line of iptables-save"),
        ("-A OUTPUT -j ACCEPT\n", "f:1: a rule outside of a table"),
        ("*nat\n[1:2 -A OUTPUT\nCOMMIT\n", "f:2: counters that cannot be read"),
        ("*nat\n:OUTPUT\nCOMMIT\n", "f:2: not a chain line"),
        ("*nat\n-A\nCOMMIT\n", "f:2: not a rule"),
        ("*nat\n*filter\nCOMMIT\n", "f:2: the dump breaks off: table nat"),
    ],
)
def test_bad_input_says_where(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        iptables_save.parse(text, "f")
    assert str(caught.value).startswith(says)


def test_a_dump_that_breaks_off_can_be_kept() -> None:
    ruleset = iptables_save.parse("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\n", "f", strict=False)
    assert len(list(ruleset.rules)) == 1
    assert "no COMMIT" in ruleset.remarks[0]


def test_remarks_of_iptables_save_are_kept() -> None:
    text = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"
    assert "legacy tables" in iptables_save.parse(text).remarks[0]


WORDS = st.sampled_from(
    """-p tcp udp -m owner --uid-owner 1337 ! -d 10.0.0.0/8 -j RETURN X -s --dport 80 multiport --dports 1,2 mark --mark
    0x1/0x2 REDIRECT --to-ports -g "a b" " -o lo conntrack --ctstate NEW CT --zone 1 DNAT --to-destination 1.2.3.4:5
    -i + statistic --mode random --probability 0.5 comment --comment "\\" ::1 --""".split()  # noqa: SIM905
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=12))
@settings(max_examples=400, deadline=None)
def test_no_word_of_a_rule_is_lost_and_nothing_crashes(words: list[str]) -> None:
    line = "-A X " + " ".join(words)
    text = f"*nat\n:X - [0:0]\n{line}\nCOMMIT\n"
    try:
        ruleset = iptables_save.parse(text)
    except BadInput:
        return
    rules = [rule for _, _, _, rule in ruleset.rules]
    if len(line.splitlines()) > 1 or not rules:
        return
    emitted = iptables_text.emit(ruleset)
    again = [rule for _, _, _, rule in iptables_save.parse(emitted).rules]
    assert [(rule.matches, rule.targets) for rule in again] == [(rule.matches, rule.targets) for rule in rules]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_dumps_are_read_or_refused(data: st.DataObject) -> None:
    text = '*nat\n:X - [0:0]\n[1:2] -A X -p tcp -m tcp ! --dport 80 -m comment --comment "a b" -j RETURN\nCOMMIT\n'
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 5))
    damaged = text[:at] + data.draw(st.text(max_size=4)) + text[at + cut :]
    try:
        assert iptables_save.parse(damaged).family == "ipv4"
    except BadInput as error:
        told = str(error)
    else:
        told = "iptables-save:"
    assert "iptables-save:" in told
