"""Clauses, rules and rulesets as iptables-save prints them; what is emitted is what iptables-restore takes.

The forms are those of the extensions' ``save`` functions in iptables 1.8 (``libxt_*.c``). A clause that only nft has
raises ValueError: it has no iptables spelling.
"""

from collections.abc import Iterable
from functools import lru_cache

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Span, address_text
from meshctl.netfilter.iptables_rule import quoted
from meshctl.netfilter.model import Chain, Rule, Ruleset

Words = tuple[str, ...]


def _no(negated: bool, *words: str) -> Words:
    return ("!", *words) if negated else words


def _masked(value: int, mask: int) -> str:
    return hex(value) if mask == m.ALL_BITS else f"{value:#x}/{mask:#x}"


def _dashed(numbers: Span) -> str:
    return str(numbers.low) if numbers.low == numbers.high else f"{numbers.low}-{numbers.high}"


_SINGLE = {"source": "--sport", "destination": "--dport"}
_MULTI = {"source": "--sports", "destination": "--dports", "either": "--ports"}


def _ports(clause: m.Ports) -> tuple[str, Words]:
    texts = [str(ports) for ports in clause.ranges]
    if clause.protocol and not clause.multi and len(texts) == 1 and clause.side != "either":
        return clause.protocol, _no(clause.negated, _SINGLE[clause.side], texts[0])
    return "multiport", _no(clause.negated, _MULTI[clause.side], ",".join(texts))


def _owner(clause: m.Owner) -> tuple[str, Words]:
    if clause.ids is None:
        return "owner", _no(clause.negated, "--socket-exists")
    tail = ("--suppl-groups",) if clause.supplementary else ()
    return "owner", (*_no(clause.negated, f"--{clause.kind}-owner", _dashed(clause.ids)), *tail)


def _addrtype(clause: m.AddrType) -> tuple[str, Words]:
    option = "--src-type" if clause.side == "source" else "--dst-type"
    limit = (f"--limit-iface-{clause.limit}",) if clause.limit else ()
    return "addrtype", (*_no(clause.negated, option, ",".join(clause.types)), *limit)


def _statistic(clause: m.Statistic) -> tuple[str, Words]:
    if clause.mode == "random":
        return "statistic", ("--mode", "random", *_no(clause.negated, "--probability", clause.probability))
    nth = _no(clause.negated, "--every", str(clause.every))
    return "statistic", ("--mode", "nth", *nth, "--packet", str(clause.packet))


def _icmp(clause: m.IcmpType) -> tuple[str, Words]:
    version4 = clause.protocol == "icmp"
    kind = clause.text or (
        "any" if clause.number is None else f"{clause.number}" + (f"/{clause.code}" if clause.code is not None else "")
    )
    return "icmp" if version4 else "icmp6", _no(clause.negated, "--icmp-type" if version4 else "--icmpv6-type", kind)


def clause_words(clause: m.Match) -> tuple[str, Words]:
    """The module that a match belongs to (empty for iptables' own options), and its words."""
    match clause:
        case m.Protocol(name, negated):
            return "", _no(negated, "-p", name)
        case m.Source(network, negated):
            return "", _no(negated, "-s", str(network))
        case m.Destination(network, negated):
            return "", _no(negated, "-d", str(network))
        case m.InInterface(name, negated):
            return "", _no(negated, "-i", name)
        case m.OutInterface(name, negated):
            return "", _no(negated, "-o", name)
        case m.Fragment(negated):
            return "", _no(negated, "-f")
        case m.Ports():
            return _ports(clause)
        case m.TcpFlags(mask, wanted, negated):
            return "tcp", _no(negated, "--tcp-flags", ",".join(mask) or "NONE", ",".join(wanted) or "NONE")
        case m.IcmpType():
            return _icmp(clause)
        case m.Owner():
            return _owner(clause)
        case m.Mark(value, mask, negated):
            return "mark", _no(negated, "--mark", _masked(value, mask))
        case m.Connmark(value, mask, negated):
            return "connmark", _no(negated, "--mark", _masked(value, mask))
        case m.CtState(states, negated, module):
            return module, _no(negated, "--ctstate" if module == "conntrack" else "--state", ",".join(states))
        case m.CtField(name, value, negated):
            return "conntrack", _no(negated, f"--{name}", value)
        case m.AddrType():
            return _addrtype(clause)
        case m.AddressRange(side, version, low, high, negated):
            addresses = f"{address_text(version, low)}-{address_text(version, high)}"
            return "iprange", _no(negated, "--src-range" if side == "source" else "--dst-range", addresses)
        case m.Socket(options):
            return "socket", options
        case m.IpSet(name, directions, negated, options):
            return "set", (*_no(negated, "--match-set", name, ",".join(directions)), *options)
        case m.Comment(text):
            return "comment", ("--comment", quoted(text))
        case m.Statistic():
            return _statistic(clause)
        case m.Accounting(name):
            return "nfacct", ("--nfacct-name", name)
        case m.Module(name):
            return name, ()
        case m.External(module, options):
            return module, tuple(quoted(word) if _needs_quotes(word) else word for word in options)
        case m.Opaque(text):
            return "", (text,)
        case m.NfProto() | m.Lookup():
            raise ValueError(f"iptables cannot say {clause}")


def _needs_quotes(word: str) -> bool:
    return not word or any(letter in " \t\"'\\" for letter in word)


_REPEATED = frozenset(("mark", "connmark", "comment", "set", "statistic", "multiport", "state", "nfacct", "socket"))
"""Modules of one question each: two clauses are two ``-m``."""


def match_words(clauses: Iterable[m.Match]) -> list[str]:
    """The words of a rule's matches; options of one module that follow each other share its ``-m``."""
    found: list[str] = []
    last = ""
    asked: set[str] = set()
    for clause in clauses:
        module, words = clause_words(clause)
        option = next((word for word in words if word[:1] == "-"), "")
        if module and (module != last or module in _REPEATED or not words or option in asked):
            found += ("-m", module)
            asked = set()
        asked.add(option)
        # After a bare `-m tcp` the next option of tcp's was written with its own.
        last = module if words else ""
        found += words
    return found


def _nat_goal(target: t.Dnat | t.Snat) -> str:
    if target.expression:
        raise ValueError("iptables has no maps")
    text = ""
    if target.low is not None and target.version is not None:
        text = address_text(target.version, target.low)
        if target.high is not None and target.high != target.low:
            text += "-" + address_text(target.version, target.high)
        if target.version == 6 and target.ports is not None:
            text = f"[{text}]"
    return text + (f":{_dashed(target.ports)}" if target.ports is not None else "")


def target_words(target: t.Target) -> Words:
    """A target with its ``-j`` or ``-g``."""
    match target:
        case t.Jump(chain):
            return ("-j", chain)
        case t.Goto(chain):
            return ("-g", chain)
        case t.Return():
            return ("-j", "RETURN")
        case t.Accept():
            return ("-j", "ACCEPT")
        case t.Drop():
            return ("-j", "DROP")
        case t.Reject(kind):
            return ("-j", "REJECT", *(("--reject-with", kind) if kind else ()))
        case t.Queue(options, name):
            return ("-j", name, *options)
        case t.Redirect(ports, flags):
            return ("-j", "REDIRECT", *(("--to-ports", _dashed(ports)) if ports else ()), *flags)
        case t.Masquerade(ports, flags):
            return ("-j", "MASQUERADE", *(("--to-ports", _dashed(ports)) if ports else ()), *flags)
        case t.Dnat(flags=flags):
            return ("-j", "DNAT", "--to-destination", _nat_goal(target), *flags)
        case t.Snat(flags=flags):
            return ("-j", "SNAT", "--to-source", _nat_goal(target), *flags)
        case t.Netmap(network):
            return ("-j", "NETMAP", "--to", str(network))
        case t.Tproxy(port, address, value, mask):
            on_ip = ("--on-ip", address) if address else ()
            return ("-j", "TPROXY", "--on-port", str(port or 0), *on_ip, "--tproxy-mark", f"{value:#x}/{mask:#x}")
        case t.SetMark(value, mask):
            return ("-j", "MARK", "--set-xmark", f"{value:#x}/{mask:#x}")
        case t.SetConnmark(value, mask):
            return ("-j", "CONNMARK", "--set-xmark", f"{value:#x}/{mask:#x}")
        case t.SaveMark(nfmask, ctmask):
            return ("-j", "CONNMARK", "--save-mark", "--nfmask", hex(nfmask), "--ctmask", hex(ctmask))
        case t.RestoreMark(nfmask, ctmask):
            return ("-j", "CONNMARK", "--restore-mark", "--nfmask", hex(nfmask), "--ctmask", hex(ctmask))
        case t.CtZone(zone, direction, options):
            return ("-j", "CT", f"--zone-{direction}" if direction else "--zone", str(zone), *options)
        case t.Notrack(spelling):
            return ("-j", "NOTRACK") if spelling == "NOTRACK" else ("-j", "CT", "--notrack")
        case t.Passive(name, options):
            return ("-j", name, *(quoted(word) if _needs_quotes(word) else word for word in options))
        case m.Opaque(text):
            return (text,)
        case t.VerdictMap():
            raise ValueError("iptables has no verdict maps")


@lru_cache(maxsize=32768)
def _rule_text(chain: str, clauses: tuple[m.Match, ...], targets: tuple[t.Target, ...]) -> str:
    words = ["-A", chain, *match_words(clauses)]
    for target in targets:
        words += target_words(target)
    return " ".join(words)


def rule_text(rule: Rule) -> str:
    """One rule without counters; ValueError where iptables has no such clause."""
    return _rule_text(rule.chain, rule.matches, rule.targets)


def clause_text(clause: m.Match) -> str:
    """One match alone, without its ``-m``."""
    return " ".join(clause_words(clause)[1]) or f"-m {clause_words(clause)[0]}"


def _chain_line(chain: Chain, counters: bool) -> str:
    policy = (chain.policy or "ACCEPT") if chain.hook else "-"
    tail = f" [{chain.packets or 0}:{chain.bytes or 0}]" if counters or chain.hook is None else " [0:0]"
    return f":{chain.name} {policy}{tail}"


def emit(ruleset: Ruleset, *, counters: bool | None = None) -> str:
    """The ruleset as iptables-save prints it.

    `counters` False leaves them out, True writes zero where there are none, None writes those that are there.
    """
    lines: list[str] = []
    for table in ruleset.tables:
        lines.append(f"*{table.name}")
        lines += (_chain_line(chain, counters is not False) for chain in table.chains)
        for chain in table.chains:
            for rule in chain.rules:
                counted = counters if counters is not None else rule.packets is not None
                head = f"[{rule.packets or 0}:{rule.bytes or 0}] " if counted else ""
                lines.append(head + rule_text(rule))
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)
