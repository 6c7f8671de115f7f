"""Hypothesis makes rulesets of what meshctl models, and packets to send through them."""

from typing import Any

from hypothesis import strategies as st

from meshctl.netfilter.addresses import Span, address_number, prefix
from meshctl.netfilter.matches import (
    AddressRange,
    AddrType,
    Comment,
    Connmark,
    CtField,
    CtState,
    Destination,
    IcmpType,
    InInterface,
    Mark,
    Match,
    OutInterface,
    Owner,
    Ports,
    Protocol,
    Source,
    Statistic,
    TcpFlags,
)
from meshctl.netfilter.model import NFT_FAMILIES, Chain, Family, Rule, Ruleset, Table, hook_priority
from meshctl.netfilter.targets import (
    Accept,
    CtZone,
    Dnat,
    Drop,
    Goto,
    Jump,
    Masquerade,
    Notrack,
    Passive,
    Redirect,
    Reject,
    RestoreMark,
    Return,
    SaveMark,
    SetConnmark,
    SetMark,
    Snat,
    Target,
    Tproxy,
)
from tests.kernel.lab import GATEWAY4, GATEWAY6, POD4, POD6

PORTS = (53, 80, 8080, 15001, 15006, 15008)
ADDRESSES = {
    4: ("10.0.0.1", "10.96.0.10", "127.0.0.1", "127.0.0.6", POD4, GATEWAY4, "203.0.113.10"),
    6: ("fd00:9::1", "fd00:96::a", "::1", POD6, GATEWAY6, "2001:db8::10"),
}
NETWORKS = {
    4: ("10.0.0.0/8", "127.0.0.1/32", "127.0.0.0/8", "127.0.0.6/32", f"{POD4}/32", "172.17.0.0/16", "203.0.113.10/32"),
    6: ("fd00::/8", "::1/128", f"{POD6}/128", "fd00:10::/64", "2001:db8::/32"),
}
IDS = (0, 1000, 1337)
MARKS = (0, 1, 0x539, 0x53A, 0x111)
MASKS = (0xFFFFFFFF, 0xFFF, 0x1)
HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "OUTPUT"),
    "security": ("INPUT", "OUTPUT"),
}
negation = st.booleans()
marks, masks = st.sampled_from(MARKS), st.sampled_from(MASKS)
spans = st.sampled_from(PORTS).map(lambda port: Span(port, port)) | st.sampled_from(
    (Span(0, 1023), Span(1024, 65535), Span(15001, 15006))
)


def _networks(version: int) -> st.SearchStrategy[Any]:
    return st.sampled_from(NETWORKS[version]).map(prefix)


@st.composite
def transport(draw: st.DrawFn, version: int, native: bool) -> tuple[Match, ...]:
    """A protocol, alone or with ports, flags or a type."""
    proto = draw(st.sampled_from(("tcp", "tcp", "udp", "icmp")))
    if proto == "icmp":
        name = "icmp" if version == 4 else "ipv6-icmp"
        if draw(st.booleans()):
            return (Protocol(name, draw(negation)),)
        number = draw(st.sampled_from((0, 8) if version == 4 else (128, 129)))
        icmp = IcmpType("icmp" if version == 4 else "icmpv6", number, None, draw(negation), str(number))
        return (icmp,) if native else (Protocol(name), icmp)
    kind = draw(st.sampled_from(("alone", "single", "single", "multi", "flags")))
    side = draw(st.sampled_from(("source", "destination", "destination")))
    if kind == "single":
        ports = Ports(side, (draw(spans),), draw(negation), proto)
        return (ports,) if native else (Protocol(proto), ports)
    if kind == "multi" and not native:
        ranges = tuple(draw(st.lists(spans, min_size=2, max_size=3)))
        sides = draw(st.sampled_from(("source", "destination", "either")))
        return (Protocol(proto), Ports(sides, ranges, draw(negation), "", multi=True))
    if kind == "flags" and proto == "tcp":
        wanted = draw(st.sampled_from((("SYN",), ("ACK",), ("RST",), ("FIN", "ACK"), ("SYN", "ACK"))))
        flags = TcpFlags(("FIN", "SYN", "RST", "ACK"), wanted, draw(negation))
        return (flags,) if native else (Protocol("tcp"), flags)
    return (Protocol(proto, draw(negation)),)


@st.composite
def condition(draw: st.DrawFn, version: int, table: str, hook: str, based: bool, native: bool) -> Match:
    """One match that this hook allows."""
    sending = hook in ("OUTPUT", "POSTROUTING")
    kinds = ["source", "destination", "mark", "ctstate", "addrtype"]
    kinds += ["out"] if sending else ["in"]
    kinds += [] if based and not native else ["in", "out"]
    kinds += ["uid", "gid"] * 2 if sending or native else []
    kinds += ["connmark"] if table != "raw" else []
    kinds += [] if native else ["comment", "iprange", "nth", "ctorigdst", "ctstatus"]
    match draw(st.sampled_from(kinds)):
        case "source":
            return Source(draw(_networks(version)), draw(negation))
        case "destination":
            return Destination(draw(_networks(version)), draw(negation))
        case "in":
            return InInterface(draw(st.sampled_from(("lo", "eth0", "eth+"))), draw(negation))
        case "out":
            return OutInterface(draw(st.sampled_from(("lo", "eth0", "l+"))), draw(negation))
        case ("uid" | "gid") as kind:
            ids = draw(st.sampled_from((Span(0, 0), Span(1000, 1000), Span(1337, 1337), Span(1000, 1337))))
            return Owner(kind, ids, draw(negation), strict=native)
        case "mark":
            mask = draw(masks)
            return Mark(draw(marks) & mask, mask, draw(negation))
        case "connmark":
            mask = draw(masks)
            return Connmark(draw(marks) & mask, mask, draw(negation))
        case "ctstate":
            states = draw(st.lists(st.sampled_from(_states(native)), min_size=1, max_size=2, unique=True))
            return CtState(tuple(states), draw(negation) and (not native or len(states) == 1))
        case "addrtype":
            kind = draw(st.sampled_from(("LOCAL", "UNICAST")))
            return AddrType(draw(st.sampled_from(("source", "destination"))), (kind,), draw(negation), native=native)
        case "comment":
            return Comment(draw(st.sampled_from(("plain", "two words", 'a "quote"', "it's"))))
        case "iprange":
            low, high = sorted(
                address_number(text)[1] for text in draw(st.tuples(*[st.sampled_from(ADDRESSES[version])] * 2))
            )
            side = draw(st.sampled_from(("source", "destination")))
            return AddressRange(side, 4 if version == 4 else 6, low, high, draw(negation))
        case "nth":
            return Statistic("nth", "", 1, 0, draw(negation))
        case "ctorigdst":
            return CtField("ctorigdst", draw(st.sampled_from(ADDRESSES[version])), draw(negation))
        case _:
            return CtField("ctstatus", draw(st.sampled_from(("CONFIRMED", "SEEN_REPLY"))), draw(negation))


def _states(native: bool) -> tuple[str, ...]:
    common = ("NEW", "INVALID", "ESTABLISHED", "UNTRACKED")
    return common if native else (*common, "DNAT", "SNAT")


@st.composite
def target(draw: st.DrawFn, version: int, table: str, hook: str, native: bool) -> Target | None:
    """What a rule of this table and hook may do, jumps aside."""
    kinds = ["accept", "return", "none"]
    kinds += ["drop"] if table != "nat" or native else []
    kinds += {
        "raw": ["zone", "notrack"],
        "mangle": ["mark", "save", "restore", "connmark"] * 2,
        "filter": ["mark", *(() if native else ("reject",))],
    }.get(table, [])
    if table == "nat":
        kinds += ["redirect", "dnat"] * 2 if hook in ("PREROUTING", "OUTPUT") else ["snat"] * 2
        kinds += ["masquerade"] if hook == "POSTROUTING" else []
    kinds += ["tproxy"] * 2 if (table, hook) == ("mangle", "PREROUTING") else []
    match draw(st.sampled_from(kinds)):
        case "accept":
            return Accept()
        case "return":
            return Return()
        case "drop":
            return Drop()
        case "reject":
            return Reject("icmp-port-unreachable" if version == 4 else "icmp6-port-unreachable")
        case "mark":
            mask = 0xFFFFFFFF if native else draw(masks)
            return SetMark(draw(marks) & mask, mask)
        case "connmark":
            mask = 0xFFFFFFFF if native else draw(masks)
            return SetConnmark(draw(marks) & mask, mask)
        case "save":
            return SaveMark() if native else SaveMark(draw(masks), draw(masks))
        case "restore":
            return RestoreMark() if native else RestoreMark(draw(masks), draw(masks))
        case "zone":
            return CtZone(draw(st.sampled_from((1, 2))))
        case "notrack":
            return Notrack("notrack" if native else "CT")
        case "redirect":
            return Redirect(draw(st.none() | st.sampled_from(PORTS).map(lambda port: Span(port, port))))
        case "dnat":
            goal = draw(st.sampled_from(tuple(one for one in ADDRESSES[version] if one != "127.0.0.6")))
            number = address_number(goal)
            ports = draw(st.none() | st.sampled_from(PORTS).map(lambda port: Span(port, port)))
            return Dnat(number[0], number[1], number[1], ports)
        case "snat":
            number = address_number("172.17.0.9" if version == 4 else "fd00:10::9")
            return Snat(number[0], number[1], number[1])
        case "masquerade":
            return Masquerade()
        case "tproxy":
            mark = draw(marks)
            if native:
                return Tproxy(draw(st.sampled_from((15001, 15006))), "", 0, 0, 4 if version == 4 else 6, plain=True)
            return Tproxy(draw(st.sampled_from((15001, 15006))), "", mark, 0xFFFFFFFF)
        case _:
            return None if native else draw(st.sampled_from((None, Passive("TCPMSS", ())))) and None


@st.composite
def rule(
    draw: st.DrawFn, chain: str, version: int, table: str, hook: str, later: tuple[str, ...], native: bool
) -> Rule:
    """One rule; `later` are the chains that it may jump to without making a loop."""
    goal = draw(target(version, table, hook, native))
    if later and draw(st.integers(0, 2)) == 0:
        goal = draw(st.sampled_from((Jump, Jump, Goto)))(draw(st.sampled_from(later)))
    based = chain == hook
    front: tuple[Match, ...] = ()
    if _with_port(goal):
        front = (Protocol(draw(st.sampled_from(("tcp", "tcp", "udp")))),)
        if isinstance(goal, Tproxy) and native:
            front = (*front, _family(version))
    elif draw(st.booleans()):
        front = draw(transport(version, native))
    conditions = draw(st.lists(condition(version, table, hook, based, native), max_size=2))
    if any(isinstance(clause, CtState) for clause in conditions):
        conditions = [clause for clause in conditions if not isinstance(clause, CtField)]
    return Rule(chain, (*_ordered((*front, *conditions)),), goal, 0, 0)


def _family(version: int) -> Match:
    return Destination(prefix("0.0.0.0/0" if version == 4 else "::/0"))


def _with_port(goal: Target | None) -> bool:
    if isinstance(goal, Tproxy):
        return True
    return isinstance(goal, Redirect | Dnat) and goal.ports is not None


def _ordered(clauses: tuple[Match, ...]) -> tuple[Match, ...]:
    """iptables takes each of its own options once: -s, -d, -i and -o are kept once, the protocol first."""
    once: dict[type, Match] = {}
    rest: list[Match] = []
    for clause in clauses:
        if isinstance(clause, Source | Destination | InInterface | OutInterface | Protocol):
            once.setdefault(type(clause), clause)
        else:
            rest.append(clause)
    return (*once.values(), *rest)


@st.composite
def iptables_table(draw: st.DrawFn, version: int, name: str) -> Table:
    """A table with its base chains, some user chains, and a policy."""
    chains: list[Chain] = []
    for hook in HOOKS[name]:
        more = tuple(f"{hook[:3]}{number}" for number in range(draw(st.integers(0, 2))))
        names = (hook, *more)
        for at, chain in enumerate(names):
            rules = draw(st.lists(rule(chain, version, name, hook, names[at + 1 :], False), max_size=4))
            policy = "DROP" if at == 0 and name in ("filter", "mangle") and draw(st.integers(0, 9)) == 0 else "ACCEPT"
            chains.append(
                Chain(
                    chain,
                    tuple(rules),
                    hook if at == 0 else None,
                    None,
                    hook_priority(name, hook) if at == 0 else None,
                    policy if at == 0 else None,
                )
            )
    based = {chain.name for chain in chains}
    forward = (
        () if "FORWARD" in based or name in ("raw", "nat") else (Chain("FORWARD", (), "FORWARD", policy="ACCEPT"),)
    )
    if name in ("filter", "security"):
        forward = (Chain("FORWARD", (), "FORWARD", policy="ACCEPT"),)
    return Table(name, (*chains, *forward))


@st.composite
def iptables_ruleset(draw: st.DrawFn, version: int) -> Ruleset:
    """Some tables of one family."""
    names = draw(st.lists(st.sampled_from(tuple(HOOKS)), min_size=1, max_size=4, unique=True))
    family: Family = "ipv4" if version == 4 else "ipv6"
    return Ruleset(family, "nft", tuple(draw(iptables_table(version, name)) for name in sorted(names)))


_KINDS = {
    "raw": ("filter", (-310, -300, -250)),
    "mangle": ("filter", (-160, -150, -140)),
    "nat": ("nat", (-110, -100, 0, 5)),
    "filter": ("filter", (-10, 0, 10)),
}


@st.composite
def nft_tables(draw: st.DrawFn) -> str:
    """A script of inet tables with base chains at odd priorities."""
    from meshctl.netfilter.nft_text import rule_text

    version = draw(st.sampled_from((4, 4, 6)))
    lines: list[str] = []
    for index in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(tuple(_KINDS)))
        lines.append(f"table {NFT_FAMILIES['inet']} t{index} {{")
        bodies: list[str] = []
        for hook in HOOKS[kind]:
            names = (hook, *(f"{hook[:3]}{number}".lower() for number in range(draw(st.integers(0, 1)))))
            for at, chain in enumerate(names):
                rules = draw(st.lists(rule(chain, version, kind, hook, names[at + 1 :], True), max_size=3))
                head = _base_line(draw, kind, hook) if at == 0 else ""
                text = "".join(f"    {rule_text(one)}\n" for one in rules)
                bodies.insert(0, f"  chain {chain} {{\n{head}{text}  }}\n")
        lines += [*bodies, "}"]
    return "\n".join(lines)


def _base_line(draw: st.DrawFn, kind: str, hook: str) -> str:
    type_, priorities = _KINDS[kind]
    type_ = "route" if (kind, hook) == ("mangle", "OUTPUT") else type_
    shift = 200 if kind == "nat" and hook in ("INPUT", "POSTROUTING") else 0
    priority = draw(st.sampled_from(priorities)) + shift
    policy = "drop" if kind == "filter" and draw(st.integers(0, 9)) == 0 else "accept"
    return f"    type {type_} hook {hook.lower()} priority {priority}; policy {policy};\n"


FLAGS = ("SYN", "SYN", "SYN", "SYN", "ACK", "RST", "FIN,ACK", "SYN,ACK", "SYN,FIN", "none")


@st.composite
def packets(draw: st.DrawFn) -> dict[str, Any]:
    """A packet without its source port and outgoing interface, which the laboratory fills in."""
    version = draw(st.sampled_from((4, 4, 6)))
    proto = draw(st.sampled_from(("tcp", "tcp", "udp", "icmp")))
    found: dict[str, Any] = {"family": version, "proto": proto if version == 4 or proto != "icmp" else "ipv6-icmp"}
    if proto != "icmp":
        found["dport"] = draw(st.sampled_from(PORTS))
    if proto == "tcp":
        found["flags"] = draw(st.sampled_from(FLAGS))
    pod = POD4 if version == 4 else POD6
    if draw(st.integers(0, 2)) == 0:
        outside = [one for one in ADDRESSES[version] if one not in (pod, "127.0.0.1", "127.0.0.6", "::1")]
        found |= {"direction": "inbound", "in": "eth0", "src": draw(st.sampled_from(outside)), "dst": pod}
        return found | {"uid": None, "gid": None, "mark": 0}
    dst = draw(st.sampled_from(ADDRESSES[version]))
    local = dst in (pod, "127.0.0.1", "127.0.0.6", "::1")
    src = draw(st.sampled_from((pod, dst, "127.0.0.6" if version == 4 else "::1"))) if local else pod
    owner = {"uid": draw(st.sampled_from(IDS)), "gid": draw(st.sampled_from(IDS))}
    return (
        found
        | owner
        | {"direction": "outbound", "src": src, "dst": dst, "mark": draw(st.sampled_from((0, 0, 0, 1, 0x539)))}
    )
