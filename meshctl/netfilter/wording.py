"""A rule in plain words, built from its parsed parts: which packets, and what happens to them."""

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Prefix, Span, address_text
from meshctl.netfilter.clauses import essential, protocol_of
from meshctl.netfilter.model import Rule

_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "icmpv6": "ICMPv6", "ipv6-icmp": "ICMPv6", "sctp": "SCTP"}


def traffic(matches: tuple[m.Match, ...]) -> str:
    """Which packets: ``TCP to port 15008, leaving through lo``; ``everything`` where nothing is asked."""
    shown = sorted(essential(matches), key=_rank)
    name = protocol_of(shown)
    subject = _PROTOCOLS.get(name, name.upper()) if name else "everything"
    phrases: list[str] = []
    for match in shown:
        phrase = _phrase(match)
        if phrase and isinstance(match, m.Ports) and _names_one(shown, match.side) and not match.negated:
            address = phrases.pop()
            phrases.append(f"{phrase} of {address.partition(' ')[2]}")
        elif phrase:
            phrases.append(phrase)
    return f"{subject} {', '.join(phrases)}" if phrases else subject


def _names_one(matches: list[m.Match], side: str) -> bool:
    """Whether the last thing said was the one address whose port comes next."""
    addresses = [match for match in matches if isinstance(match, m.Source | m.Destination)]
    kind = m.Destination if side == "destination" else m.Source
    return bool(addresses) and isinstance(addresses[-1], kind) and not addresses[-1].negated


_ORDER = (
    m.Protocol, m.NfProto, m.Source, m.Destination, m.AddressRange, m.Ports,
    m.InInterface, m.OutInterface, m.Owner, m.Mark, m.Connmark, m.CtState,
)  # fmt: skip
_RANKS: dict[type, int] = {kind: at for at, kind in enumerate(_ORDER)}


def _rank(match: m.Match) -> int:
    return _RANKS.get(type(match), len(_ORDER))


def prefix_words(network: Prefix) -> str:
    """An address without its prefix length, or a range."""
    return address_text(network.version, network.address) if network.is_host else str(network)


def _spans(ranges: tuple[Span, ...]) -> str:
    texts = [str(numbers).replace(":", "-") for numbers in ranges] or ["none at all"]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def _phrase(match: m.Match) -> str:
    match match:
        case m.Protocol(name, negated):
            return f"of any protocol but {_PROTOCOLS.get(name, name)}" if negated else ""
        case m.NfProto(family, negated):
            return f"that is {'not ' if negated else ''}{'IPv4' if family == 'ipv4' else 'IPv6'}"
        case m.Source(network, negated):
            return f"from {'any address but ' if negated else ''}{prefix_words(network)}"
        case m.Destination(network, negated):
            return f"to {'any address but ' if negated else ''}{prefix_words(network)}"
        case m.AddressRange(side, version, low, high, negated):
            word = "from" if side == "source" else "to"
            reach = f"{address_text(version, low)}-{address_text(version, high)}"
            return f"{word} {'any address but ' if negated else ''}{reach}"
        case m.InInterface(name, negated):
            return f"coming in through {'anything but ' if negated else ''}{_interface(name)}"
        case m.OutInterface(name, negated):
            return f"leaving through {'anything but ' if negated else ''}{_interface(name)}"
        case m.Ports(side, ranges, negated):
            word = {"source": "from port", "destination": "to port", "either": "from or to port"}[side]
            return f"{word.replace('port', 'any port but') if negated else word} {_spans(ranges)}"
        case m.Owner():
            return _owner(match)
        case m.Mark(value, mask, negated):
            return f"{'without' if negated else 'with'} mark {_masked(value, mask)}"
        case m.Connmark(value, mask, negated):
            return f"of a connection {'without' if negated else 'with'} mark {_masked(value, mask)}"
        case m.CtState(states, negated):
            return f"that conntrack {'does not call' if negated else 'calls'} {' or '.join(states)}"
        case _:
            return _rare(match)


def _interface(name: str) -> str:
    return f"an interface {name[:-1]}*" if name.endswith("+") else name


def _masked(value: int, mask: int) -> str:
    return f"{value:#x}" if mask == 0xFFFFFFFF else f"{value:#x}/{mask:#x}"


def _marked(value: int, mask: int, sets: str, whose: str) -> str:
    """``--set-xmark``: the bits of the mask are cleared, then those of the value flipped (``xt_mark.c``).

    A value inside of the mask so becomes the mark; what of it lies outside turns into its opposite.
    """
    flipped = value & ~mask
    done = [f"{sets} {_masked(value & mask, mask)}"] if mask else []
    if flipped:
        done.append(f"has the bits {flipped:#x} of {whose} flipped")
    return " and ".join(done) or f"keeps {whose}"


def _owner(match: m.Owner) -> str:
    if match.kind == "socket" or match.ids is None:
        return "that no local socket sent" if match.negated else "sent by a local socket"
    if match.negated:
        return f"sent by any {match.kind} but {match.ids}"
    return f"sent by {match.kind} {match.ids}"


def _rare(match: m.Match) -> str:
    match match:
        case m.TcpFlags(mask, flags, negated):
            words = f"TCP flags {','.join(flags) or 'none'} of {','.join(mask)}"
            return f"without {words}" if negated else f"with {words}"
        case m.IcmpType(number=number, negated=negated, text=text):
            shown = text or ("any" if number is None else str(number))
            return f"of {'any ICMP type but' if negated else 'ICMP type'} {shown}"
        case m.CtField(field, value, negated):
            return f"whose {field} is {'not ' if negated else ''}{value}"
        case m.AddrType(side, types, negated):
            words = "destination" if side == "destination" else "source"
            return f"whose {words} is {'not ' if negated else ''}{' or '.join(types).lower()}"
        case m.Socket(negated=negated):
            return "that no open socket waits for" if negated else "that an open socket waits for"
        case m.IpSet(name, directions, negated):
            return f"{'not ' if negated else ''}in the set {name} ({','.join(directions)})"
        case m.Statistic(mode, probability, every, _, negated):
            words = f"a share of {probability}" if mode == "random" else f"every {every}th"
            return f"({'all but ' if negated else ''}{words} by chance)" if mode == "random" else f"({words} packet)"
        case m.Lookup(fields, elements, name, negated):
            values = f"the set {name}" if name else " or ".join(".".join(map(str, entry)) for entry in elements)
            return f"whose {' and '.join(fields)} is {'not ' if negated else ''}in {values}"
        case m.Fragment(negated):
            return "that is no fragment" if negated else "that is a fragment"
        case m.External(module, options):
            return f"({' '.join((module, *options))})"
        case m.Opaque(text):
            return f"with `{text}` (not understood)"
        case m.Module() | m.Comment() | m.Accounting() | _:
            return ""


def consequence(rule: Rule, *, base: bool) -> str:
    """What happens to these packets; `base` where the chain has a hook, so that RETURN ends in its policy."""
    done = [_done(target, base=base) for target in rule.targets]
    return " and ".join(done) if done else "is only counted"


def _done(target: t.Target, *, base: bool) -> str:
    match target:
        case t.Jump(chain):
            return f"goes on in {chain}"
        case t.Goto(chain):
            return f"goes on in {chain} and does not come back"
        case t.Return():
            return "skips the rest of this chain" if base else "goes back to where this chain was called"
        case t.Accept():
            return "is done with this table"
        case t.Drop():
            return "is dropped"
        case t.Reject(kind):
            return f"is refused ({kind})" if kind else "is refused"
        case t.Redirect(ports):
            return "is redirected to this machine" if ports is None else f"is redirected to local port {ports}"
        case t.Tproxy(port, plain=plain, value=value):
            hand = "is handed to the transparent socket" + ("" if port is None else f" on port {port}")
            return hand if plain or not value else f"{hand} with mark {value:#x}"
        case t.SetMark(value, mask):
            return _marked(value, mask, "gets mark", "its mark")
        case t.SetConnmark(value, mask):
            return _marked(value, mask, "gives its connection mark", "its connection's mark")
        case t.SaveMark():
            return "hands its mark to its connection"
        case t.RestoreMark():
            return "takes over its connection's mark"
        case t.CtZone(zone):
            return f"is tracked in conntrack zone {zone}"
        case _:
            return _done_rare(target)


def _done_rare(target: t.Target) -> str:
    match target:
        case t.Dnat() | t.Snat():
            side = "destination" if isinstance(target, t.Dnat) else "source"
            return f"gets {_goal(target)} as its {side}"
        case t.Masquerade():
            return "gets the outgoing interface's address as its source"
        case t.Netmap(network):
            return f"is mapped into {network}"
        case t.Notrack():
            return "is not tracked, so nat leaves it alone"
        case t.Queue():
            return "waits for a program's decision"
        case t.Passive("LOG" | "NFLOG" | "ULOG" | "log"):
            return "is logged"
        case t.Passive("TRACE"):
            return "is traced"
        case t.Passive(name, options):
            return f"passes `{' '.join((name, *options))}`"
        case t.VerdictMap(fields, name=name):
            return f"goes where {' and '.join(fields)} sends it{f' (map {name})' if name else ''}"
        case m.Opaque(text):
            return f"gets `{text}` (not understood)"
        case _:
            return "is only counted"


def _goal(target: t.Dnat | t.Snat) -> str:
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
