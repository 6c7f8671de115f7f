"""Clauses and rules as ``nft list ruleset`` prints them (nft 1.0), with the counter's numbers left out."""

from functools import lru_cache

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Prefix, Span, address_text
from meshctl.netfilter.model import Rule


def _not(negated: bool) -> str:
    return "!= " if negated else ""


def prefix_text(network: Prefix) -> str:
    """A network; a single address without its length, as nft prints it."""
    return address_text(network.version, network.address) if network.is_host else str(network)


def _span(numbers: Span) -> str:
    return str(numbers.low) if numbers.low == numbers.high else f"{numbers.low}-{numbers.high}"


def _spans(ranges: tuple[Span, ...]) -> str:
    return _span(ranges[0]) if len(ranges) == 1 else "{ " + ", ".join(_span(one) for one in ranges) + " }"


def _address_field(version: int, side: str) -> str:
    return f"{'ip' if version == 4 else 'ip6'} {'saddr' if side == 'source' else 'daddr'}"


def element_text(field: str, element: m.Element) -> str:
    """One value of a set as nft prints it; `field` tells addresses from numbers."""
    if isinstance(element, Prefix):
        return prefix_text(element)
    if isinstance(element, str):
        return f'"{element}"' if field in ("iifname", "oifname") else element
    if field.endswith(("saddr", "daddr")) or field in ("ipv4_addr", "ipv6_addr"):
        version = 6 if field.startswith("ip6") or field == "ipv6_addr" else 4
        return f"{address_text(version, element.low)}-{address_text(version, element.high)}"
    if field.endswith("mark"):
        return f"{element.low:#010x}" if element.low == element.high else f"{element.low:#010x}-{element.high:#010x}"
    return _span(element)


def _elements(fields: tuple[str, ...], parts: tuple[m.Element, ...]) -> str:
    return " . ".join(element_text(field, part) for field, part in zip(fields, parts, strict=False))


def _lookup(clause: m.Lookup) -> str:
    head = f"{' . '.join(clause.fields)} {_not(clause.negated)}"
    if clause.name:
        return f"{head}@{clause.name}"
    texts = [_elements(clause.fields, parts) for parts in clause.elements]
    return head + (texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }")


def _mark(name: str, value: int, mask: int, negated: bool) -> str:
    if mask == m.ALL_BITS:
        return f"{name} {_not(negated)}{value:#010x}"
    return f"{name} & {mask:#010x} {'!=' if negated else '=='} {value:#010x}"


def _flags(names: tuple[str, ...]) -> str:
    return " | ".join(name.lower() for name in names) if names else "0x0"


def match_text(clause: m.Match) -> str:
    """One match; a clause that only iptables has is printed as nft prints it: by name."""
    match clause:
        case m.Protocol(name, negated):
            return f"meta l4proto {_not(negated)}{name}"
        case m.NfProto(family, negated):
            return f"meta nfproto {_not(negated)}{family}"
        case m.Source(network, negated):
            return f"{_address_field(network.version, 'source')} {_not(negated)}{prefix_text(network)}"
        case m.Destination(network, negated):
            return f"{_address_field(network.version, 'destination')} {_not(negated)}{prefix_text(network)}"
        case m.AddressRange(side, version, low, high, negated):
            ends = f"{address_text(version, low)}-{address_text(version, high)}"
            return f"{_address_field(version, side)} {_not(negated)}{ends}"
        case m.InInterface(name, negated, by_index):
            return f'{"iif" if by_index else "iifname"} {_not(negated)}"{_star(name)}"'
        case m.OutInterface(name, negated, by_index):
            return f'{"oif" if by_index else "oifname"} {_not(negated)}"{_star(name)}"'
        case m.Ports(side, ranges, negated, protocol):
            return f"{protocol or 'th'} {'sport' if side == 'source' else 'dport'} {_not(negated)}{_spans(ranges)}"
        case m.TcpFlags(mask, wanted, negated):
            if not wanted and negated:
                return f"tcp flags {','.join(name.lower() for name in mask)}"
            head = f"tcp flags & ({_flags(mask)})" if len(mask) > 1 else f"tcp flags & {_flags(mask)}"
            return f"{head} {'!=' if negated else '=='} {_flags(wanted)}"
        case m.IcmpType(protocol, number, _, negated, text):
            return f"{protocol} type {_not(negated)}{text or number}"
        case m.Owner(kind, ids, negated):
            return "xt match owner" if ids is None else f"meta sk{kind} {_not(negated)}{_span(ids)}"
        case m.Mark(value, mask, negated):
            return _mark("meta mark", value, mask, negated)
        case m.Connmark(value, mask, negated):
            return _mark("ct mark", value, mask, negated)
        case m.CtState(states, negated):
            return f"ct state {_not(negated)}{','.join(state.lower() for state in states)}"
        case m.CtField(name, value, negated):
            return f"{_CT_FIELDS.get(name, 'ct ' + name)} {_not(negated)}{value.lower()}"
        case m.AddrType(side, types, negated, limit):
            keys = ("saddr" if side == "source" else "daddr") + (f" . {limit[0]}if" if limit else "")
            return f"fib {keys} type {_not(negated)}{','.join(types).lower()}"
        case m.Socket():
            return "socket transparent 1"
        case m.Lookup():
            return _lookup(clause)
        case m.Comment(text):
            return f'comment "{text}"'
        case m.External(module, options):
            return f"{module} {' '.join(options)}".rstrip()
        case m.Opaque(text):
            return text
        case _:
            return f"xt match {type(clause).__name__.lower()}"


_CT_FIELDS = {
    "ctdir": "ct direction",
    "ctstatus": "ct status",
    "ctorigsrc": "ct original saddr",
    "ctorigdst": "ct original daddr",
    "ctorigsrcport": "ct original proto-src",
    "ctorigdstport": "ct original proto-dst",
    "ctproto": "ct protocol",
}


def _star(name: str) -> str:
    return name[:-1] + "*" if name.endswith("+") else name


def _set_mark(name: str, value: int, mask: int) -> str:
    if mask == m.ALL_BITS:
        return f"{name} set {value:#010x}"
    if value == mask:
        return f"{name} set {name} | {value:#010x}"
    kept = f"{name} & {~mask & m.ALL_BITS:#010x}" if mask else name
    return f"{name} set {kept}" + (f" ^ {value:#010x}" if value else "")


def _nat(word: str, target: t.Dnat | t.Snat) -> str:
    if target.expression:
        return f"{word} to {target.expression}"
    family = {4: " ip", 6: " ip6", None: ""}[target.version]
    address = ""
    if target.low is not None and target.version is not None:
        address = address_text(target.version, target.low)
        if target.high is not None and target.high != target.low:
            address += "-" + address_text(target.version, target.high)
        if target.version == 6 and target.ports is not None:
            address = f"[{address}]"
    ports = f":{_span(target.ports)}" if target.ports is not None else ""
    return f"{word}{family} to {address}{ports}{_words(target.flags)}"


def _words(words: tuple[str, ...]) -> str:
    return " " + ",".join(words) if words else ""


def _to(ports: Span | None, flags: tuple[str, ...]) -> str:
    return (f" to :{_span(ports)}" if ports is not None else "") + _words(flags)


def target_text(target: t.Target) -> str:
    """One action."""
    match target:
        case t.Jump(chain):
            return f"jump {chain}"
        case t.Goto(chain):
            return f"goto {chain}"
        case t.Return():
            return "return"
        case t.Accept():
            return "accept"
        case t.Drop():
            return "drop"
        case t.Reject(kind):
            return "reject" + (f" with {kind}" if kind else "")
        case t.Queue(options):
            return " ".join(("queue", *options))
        case t.Redirect(ports, flags):
            return "redirect" + _to(ports, flags)
        case t.Masquerade(ports, flags):
            return "masquerade" + _to(ports, flags)
        case t.Dnat():
            return _nat("dnat", target)
        case t.Snat():
            return _nat("snat", target)
        case t.Tproxy(port, address, _, _, version):
            family = {4: " ip", 6: " ip6", None: ""}[version]
            return f"tproxy{family} to {address}:{port or ''}"
        case t.SetMark(value, mask):
            return _set_mark("meta mark", value, mask)
        case t.SetConnmark(value, mask):
            return _set_mark("ct mark", value, mask)
        case t.SaveMark(nfmask):
            return "ct mark set meta mark" + (f" & {nfmask:#010x}" if nfmask != m.ALL_BITS else "")
        case t.RestoreMark(_, ctmask):
            return "meta mark set ct mark" + (f" & {ctmask:#010x}" if ctmask != m.ALL_BITS else "")
        case t.CtZone(zone, direction):
            side = {"": "", "orig": "original ", "reply": "reply "}[direction]
            return f"ct {side}zone set {zone}"
        case t.Notrack():
            return "notrack"
        case t.VerdictMap():
            return _verdict_map(target)
        case t.Passive(name, options):
            return " ".join((name, *options))
        case m.Opaque(text):
            return text
        case _:
            return f"xt target {type(target).__name__.upper()}"


def _verdict_map(target: t.VerdictMap) -> str:
    head = f"{' . '.join(target.fields)} vmap "
    if target.name:
        return f"{head}@{target.name}"
    entries = (f"{_elements(target.fields, parts)} : {target_text(verdict)}" for parts, verdict in target.entries)
    return head + "{ " + ", ".join(entries) + " }"


@lru_cache(maxsize=32768)
def clauses_text(matches: tuple[m.Match, ...], targets: tuple[t.Target, ...], counter: bool) -> str:
    """A rule's parts in nft's order: matches, counter, actions, comment."""
    words = [match_text(clause) for clause in matches if not isinstance(clause, m.Comment)]
    if counter:
        words.append("counter")
    words += [target_text(target) for target in targets]
    words += [match_text(clause) for clause in matches if isinstance(clause, m.Comment)]
    return " ".join(words)


def rule_text(rule: Rule) -> str:
    """One rule, its counter without numbers."""
    return clauses_text(rule.matches, rule.targets, rule.packets is not None)
