"""A rule in plain words, built from its parsed parts: which packets, and what happens to them."""

from meshctl.netfilter.clauses import essential, protocol_of
from meshctl.netfilter.model import (
    Accept,
    Accounting,
    AddressRange,
    AddrType,
    Comment,
    Connmark,
    CtField,
    CtState,
    CtZone,
    Destination,
    Dnat,
    Drop,
    External,
    Fragment,
    Goto,
    IcmpType,
    InInterface,
    IpSet,
    Jump,
    Lookup,
    Mark,
    Masquerade,
    Match,
    Module,
    Netmap,
    NfProto,
    Notrack,
    Opaque,
    OutInterface,
    Owner,
    Passive,
    Ports,
    Prefix,
    Protocol,
    Queue,
    Redirect,
    Reject,
    RestoreMark,
    Return,
    Rule,
    SaveMark,
    SetConnmark,
    SetMark,
    Snat,
    Socket,
    Source,
    Span,
    Statistic,
    Target,
    TcpFlags,
    Tproxy,
    VerdictMap,
    address_text,
)

_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "icmpv6": "ICMPv6", "ipv6-icmp": "ICMPv6", "sctp": "SCTP"}


def traffic(matches: tuple[Match, ...]) -> str:
    """Which packets: ``TCP to port 15008, leaving through lo``; ``everything`` where nothing is asked."""
    shown = sorted(essential(matches), key=_rank)
    name = protocol_of(shown)
    subject = _PROTOCOLS.get(name, name.upper()) if name else "everything"
    phrases: list[str] = []
    for match in shown:
        phrase = _phrase(match)
        if phrase and isinstance(match, Ports) and _names_one(shown, match.side) and not match.negated:
            address = phrases.pop()
            phrases.append(f"{phrase} of {address.partition(' ')[2]}")
        elif phrase:
            phrases.append(phrase)
    return f"{subject} {', '.join(phrases)}" if phrases else subject


def _names_one(matches: list[Match], side: str) -> bool:
    """Whether the last thing said was the one address whose port comes next."""
    addresses = [m for m in matches if isinstance(m, Source | Destination)]
    kind = Destination if side == "destination" else Source
    return bool(addresses) and isinstance(addresses[-1], kind) and not addresses[-1].negated


_ORDER = (
    Protocol, NfProto, Source, Destination, AddressRange, Ports, InInterface, OutInterface, Owner, Mark, Connmark,
    CtState,
)  # fmt: skip


def _rank(match: Match) -> int:
    return next((at for at, kind in enumerate(_ORDER) if isinstance(match, kind)), len(_ORDER))


def prefix_words(network: Prefix) -> str:
    """An address without its prefix length, or a range."""
    return address_text(network.version, network.address) if network.is_host else str(network)


def _spans(ranges: tuple[Span, ...]) -> str:
    texts = [str(numbers).replace(":", "-") for numbers in ranges] or ["none at all"]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def _phrase(match: Match) -> str:
    match match:
        case Protocol(name, negated):
            return f"of any protocol but {_PROTOCOLS.get(name, name)}" if negated else ""
        case NfProto(family, negated):
            return f"that is {'not ' if negated else ''}{'IPv4' if family == 'ipv4' else 'IPv6'}"
        case Source(network, negated):
            return f"from {'any address but ' if negated else ''}{prefix_words(network)}"
        case Destination(network, negated):
            return f"to {'any address but ' if negated else ''}{prefix_words(network)}"
        case AddressRange(side, version, low, high, negated):
            word = "from" if side == "source" else "to"
            reach = f"{address_text(version, low)}-{address_text(version, high)}"
            return f"{word} {'any address but ' if negated else ''}{reach}"
        case InInterface(name, negated):
            return f"coming in through {'anything but ' if negated else ''}{_interface(name)}"
        case OutInterface(name, negated):
            return f"leaving through {'anything but ' if negated else ''}{_interface(name)}"
        case Ports(side, ranges, negated):
            word = {"source": "from port", "destination": "to port", "either": "from or to port"}[side]
            return f"{word.replace('port', 'any port but') if negated else word} {_spans(ranges)}"
        case Owner():
            return _owner(match)
        case Mark(value, mask, negated):
            return f"{'without' if negated else 'with'} mark {_masked(value, mask)}"
        case Connmark(value, mask, negated):
            return f"of a connection {'without' if negated else 'with'} mark {_masked(value, mask)}"
        case CtState(states, negated):
            return f"that conntrack {'does not call' if negated else 'calls'} {' or '.join(states)}"
        case _:
            return _rare(match)


def _interface(name: str) -> str:
    return f"an interface {name[:-1]}*" if name.endswith("+") else name


def _masked(value: int, mask: int) -> str:
    return f"{value:#x}" if mask == 0xFFFFFFFF else f"{value:#x}/{mask:#x}"


def _owner(match: Owner) -> str:
    if match.kind == "socket" or match.ids is None:
        return "that no local socket sent" if match.negated else "sent by a local socket"
    if match.negated:
        return f"sent by any {match.kind} but {match.ids}"
    return f"sent by {match.kind} {match.ids}"


def _rare(match: Match) -> str:
    match match:
        case TcpFlags(mask, flags, negated):
            words = f"TCP flags {','.join(flags) or 'none'} of {','.join(mask)}"
            return f"without {words}" if negated else f"with {words}"
        case IcmpType(number=number, negated=negated, text=text):
            shown = text or ("any" if number is None else str(number))
            return f"of {'any ICMP type but' if negated else 'ICMP type'} {shown}"
        case CtField(field, value, negated):
            return f"whose {field} is {'not ' if negated else ''}{value}"
        case AddrType(side, types, negated):
            words = "destination" if side == "destination" else "source"
            return f"whose {words} is {'not ' if negated else ''}{' or '.join(types).lower()}"
        case Socket(negated=negated):
            return "that no open socket waits for" if negated else "that an open socket waits for"
        case IpSet(name, directions, negated):
            return f"{'not ' if negated else ''}in the set {name} ({','.join(directions)})"
        case Statistic(mode, probability, every, _, negated):
            words = f"a share of {probability}" if mode == "random" else f"every {every}th"
            return f"({'all but ' if negated else ''}{words} by chance)" if mode == "random" else f"({words} packet)"
        case Lookup(fields, elements, name, negated):
            values = f"the set {name}" if name else " or ".join(".".join(map(str, entry)) for entry in elements)
            return f"whose {' and '.join(fields)} is {'not ' if negated else ''}in {values}"
        case Fragment(negated):
            return "that is no fragment" if negated else "that is a fragment"
        case External(module, options):
            return f"({' '.join((module, *options))})"
        case Opaque(text):
            return f"with `{text}` (not understood)"
        case Module() | Comment() | Accounting() | _:
            return ""


def consequence(rule: Rule, *, base: bool) -> str:
    """What happens to these packets; `base` where the chain has a hook, so that RETURN ends in its policy."""
    done = [_done(target, base=base) for target in rule.targets]
    return " and ".join(done) if done else "is only counted"


def _done(target: Target, *, base: bool) -> str:
    match target:
        case Jump(chain):
            return f"goes on in {chain}"
        case Goto(chain):
            return f"goes on in {chain} and does not come back"
        case Return():
            return "skips the rest of this chain" if base else "goes back to where this chain was called"
        case Accept():
            return "is done with this table"
        case Drop():
            return "is dropped"
        case Reject(kind):
            return f"is refused ({kind})" if kind else "is refused"
        case Redirect(ports):
            return "is redirected to this machine" if ports is None else f"is redirected to local port {ports}"
        case Tproxy(port, plain=plain, value=value):
            hand = "is handed to the transparent socket" + ("" if port is None else f" on port {port}")
            return hand if plain or not value else f"{hand} with mark {value:#x}"
        case SetMark(value, mask):
            return f"gets mark {_masked(value, mask)}"
        case SetConnmark(value, mask):
            return f"gives its connection mark {_masked(value, mask)}"
        case SaveMark():
            return "hands its mark to its connection"
        case RestoreMark():
            return "takes over its connection's mark"
        case CtZone(zone):
            return f"is tracked in conntrack zone {zone}"
        case _:
            return _done_rare(target)


def _done_rare(target: Target) -> str:
    match target:
        case Dnat() | Snat():
            side = "destination" if isinstance(target, Dnat) else "source"
            return f"gets {_goal(target)} as its {side}"
        case Masquerade():
            return "gets the outgoing interface's address as its source"
        case Netmap(network):
            return f"is mapped into {network}"
        case Notrack():
            return "is not tracked, so nat leaves it alone"
        case Queue():
            return "waits for a program's decision"
        case Passive("LOG" | "NFLOG" | "ULOG" | "log"):
            return "is logged"
        case Passive("TRACE"):
            return "is traced"
        case Passive(name, options):
            return f"passes `{' '.join((name, *options))}`"
        case VerdictMap(fields, name=name):
            return f"goes where {' and '.join(fields)} sends it{f' (map {name})' if name else ''}"
        case Opaque(text):
            return f"gets `{text}` (not understood)"
        case _:
            return "is only counted"


def _goal(target: Dnat | Snat) -> str:
    if target.expression:
        return target.expression
    text = "" if target.low is None or target.version is None else address_text(target.version, target.low)
    if target.high is not None and target.high != target.low and target.version is not None:
        text += f"-{address_text(target.version, target.high)}"
    return text if target.ports is None else f"{text}:{target.ports}"


def sentence(rule: Rule, *, base: bool) -> str:
    """The rule as one sentence without a full stop."""
    subject = traffic(rule.matches)
    words = f"{subject}{',' if ',' in subject else ''} {consequence(rule, base=base)}"
    return words[0].upper() + words[1:]
