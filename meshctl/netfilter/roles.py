"""The part that each rule plays in Istio's scheme, told by its shape: table, chain, conditions and target.

`role_of` finds a rule's role, a key of `meshctl.netfilter.role_catalog.ROLES`; None means that no release of Istio
writes it.
"""

from meshctl.netfilter import roles_ambient as ambient
from meshctl.netfilter.facts import Facts, facts
from meshctl.netfilter.istio_names import plain_chain, plain_table
from meshctl.netfilter.matches import Owner
from meshctl.netfilter.model import Rule
from meshctl.netfilter.targets import (
    Accept,
    CtZone,
    Drop,
    Jump,
    Passive,
    Redirect,
    RestoreMark,
    Return,
    SaveMark,
    SetMark,
    Tproxy,
    local_port,
)

_found: dict[tuple[str, str, str, type], tuple[str, str] | None] = {}


def role_of(rule: Rule, table: str, chain: str) -> tuple[str, str] | None:
    """The rule's role, a key of `ROLES`, with its own value for `{}`; None where Istio writes no such rule."""
    known = (table, chain, rule.text, type(rule.target))
    if not rule.text:
        return _role(rule, table, chain)
    if known not in _found:
        if len(_found) > 65536:
            _found.clear()
        _found[known] = _role(rule, table, chain)
    return _found[known]


def _role(rule: Rule, table: str, chain: str) -> tuple[str, str] | None:
    asked = facts(rule)
    ambient_node = table in ("nat", "istio-ambient-nat") and ambient.on_node(rule, table, chain, asked)
    if asked.extra or ambient_node:
        return ambient_node or None
    table, chain = plain_table(table), plain_chain(chain)
    if isinstance(rule.target, Passive) and rule.target.name in ("NFLOG", "log") and "1337" in rule.target.options:
        return "trace-log", ""
    if table == "filter":
        guards = chain in ("INPUT", "FORWARD", "OUTPUT") and asked.only_protocol and asked.protocol in ("tcp", "udp")
        return ("guardrail", asked.protocol) if guards and rule.target == Drop() else None
    reader = {"nat": _nat, "mangle": _mangle, "raw": _raw}.get(table)
    return reader(rule, chain, asked) if reader is not None else None


def _nat(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    match chain:
        case "PREROUTING" | "OUTPUT":
            return _nat_base(rule, chain, asked)
        case "ISTIO_INBOUND":
            return _nat_inbound(rule, asked)
        case "ISTIO_REDIRECT" | "ISTIO_IN_REDIRECT" if asked.only_protocol and isinstance(rule.target, Redirect):
            return ("redirect-out" if chain == "ISTIO_REDIRECT" else "redirect-in"), local_port(rule.target)
        case "ISTIO_OUTPUT":
            return ambient.in_output(rule, asked) or _nat_output(rule, asked)
        case "ISTIO_OUTPUT_DNS" if isinstance(rule.target, Redirect) and asked.port == "53":
            return "dns-redirect", local_port(rule.target)
        case "ISTIO_PRERT":
            return ambient.in_prerouting(rule, asked)
        case _:
            return None


def _nat_base(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    interface = asked.in_interface if chain == "PREROUTING" else asked.out_interface
    match rule.target:
        case Jump("ISTIO_INBOUND" | "istio-inbound") if chain == "PREROUTING" and asked.only_protocol:
            return "inbound-jump", ""
        case Jump("ISTIO_OUTPUT" | "istio-output") if chain == "OUTPUT" and asked.only_protocol:
            return "outbound-jump", ""
        case Jump("ISTIO_PRERT" | "istio-prerouting") if asked.only_protocol:
            return "ambient-jump", ""
        case Jump("ISTIO_REDIRECT" | "istio-redirect") if chain == "PREROUTING" and interface:
            return "reroute-redirect", interface.name
        case Jump("ISTIO_REDIRECT") if chain == "PREROUTING" and asked.only_protocol:
            return "old-inbound", ""
        case Return() if interface and not interface.negated and asked == _only_interface(asked):
            # -k comes before the jump to the inbound rules, -c as well; only the neighbours could tell them apart.
            return "interface-excluded", interface.name
        case Return() if chain == "OUTPUT" and asked.port == "53" and (asked.uid or asked.gids):
            return "dns-own", ""
        case Redirect() if chain == "OUTPUT" and asked.port == "53" and asked.protocol == "udp":
            return "dns-redirect", local_port(rule.target)
        case _:
            return None


def _only_interface(asked: Facts) -> Facts:
    return Facts(in_interface=asked.in_interface, out_interface=asked.out_interface)


def _nat_inbound(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    plain_port = asked.to_ports is not None and not asked.to_ports.negated
    only_port = asked == Facts(protocol=asked.protocol, to_ports=asked.to_ports)
    match rule.target:
        case Return() if plain_port and only_port:
            return {"22": "ssh-return", "15008": "tunnel-return"}.get(asked.port, "inbound-excluded"), asked.port
        case Jump("ISTIO_IN_REDIRECT" | "istio-in-redirect" | "ISTIO_REDIRECT") if only_port:
            return ("inbound-included", asked.port) if plain_port else ("inbound-all", "")
        case _:
            return None


def _nat_output(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    match rule.target:
        case Return():
            return _output_return(asked)
        case Jump("ISTIO_IN_REDIRECT" | "istio-in-redirect") if asked.on_lo and (asked.uid or asked.gids):
            return "self-call", _owner(asked)
        case Jump("ISTIO_REDIRECT" | "istio-redirect"):
            if asked.bare or asked.only_protocol:
                return "outbound-all", ""
            if asked == Facts(protocol=asked.protocol, to_ports=asked.to_ports):
                return "outport-included", asked.port
            if asked == Facts(destination=asked.destination):
                return "range-included", asked.range
            if asked.on_lo and asked == Facts(out_interface=asked.out_interface, destination=asked.destination):
                return "old-self-call", ""
            return None
        case Jump("ISTIO_OUTPUT_DNS" | "istio-output-dns") if asked.only_protocol:
            return "dns-jump", ""
        case Redirect() if asked.port == "53":
            return "dns-redirect", local_port(rule.target)
        case _:
            return None


def _output_return(asked: Facts) -> tuple[str, str] | None:
    if asked.bare:
        return "ranges-end", ""
    if asked.on_lo and asked.source and not asked.source.negated:
        return "passthrough", str(asked.source.network).partition("/")[0]
    if asked.on_lo and (asked.uid or asked.gids) and _owners(asked)[0].negated:
        return "local-return", _owner(asked)
    owners = _owners(asked)
    if owners and asked == Facts(uid=asked.uid, gids=asked.gids):
        return _owner_return(asked, owners)
    if asked.port == "53" and asked.protocol == "udp" and owners:
        return "dns-own", ""
    if asked == Facts(protocol=asked.protocol, to_ports=asked.to_ports):
        return "outport-excluded", asked.port
    if asked.destination and not asked.destination.negated and asked == Facts(destination=asked.destination):
        return ("localhost-return" if _loopback(asked) else "range-excluded"), asked.range
    return None


def _owner_return(asked: Facts, owners: tuple[Owner, ...]) -> tuple[str, str] | None:
    if all(owner.negated for owner in owners):
        return "group-only", ", ".join(str(owner.ids) for owner in owners)
    # A proxy's gid has the two rules for lo in front of it; an excluded group has not. See `explain`.
    return "loop-guard", _owner(asked)


def _owners(asked: Facts) -> tuple[Owner, ...]:
    return (*((asked.uid,) if asked.uid else ()), *asked.gids)


def _owner(asked: Facts) -> str:
    return ", ".join(f"{owner.kind} {owner.ids}" for owner in _owners(asked))


def _loopback(asked: Facts) -> bool:
    network = asked.destination.network if asked.destination else None
    if network is None:
        return False
    return network.address >> 24 == 127 if network.version == 4 else network.address == 1


def _mangle(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    match chain:
        case "ISTIO_DIVERT" if asked.bare:
            if isinstance(rule.target, SetMark):
                return "divert-mark", f"{rule.target.value:#x}"
            return ("divert-accept", "") if rule.target == Accept() else None
        case "ISTIO_TPROXY":
            target = next((t for t in rule.targets if isinstance(t, Tproxy)), None)
            return ("tproxy", local_port(target)) if target else None
        case "ISTIO_DROP" if asked.bare and rule.target == Drop():
            return "invalid-drop", ""
        case "ISTIO_INBOUND":
            return _mangle_inbound(rule, asked)
        case "ISTIO_PRERT":
            return ambient.in_mangle(rule, asked)
        case "ISTIO_OUTPUT" if isinstance(rule.target, RestoreMark) and asked.connmark:
            return "ambient-restore-mark", ""
        case "PREROUTING" | "OUTPUT":
            return _mangle_base(rule, chain, asked)
        case _:
            return None


def _mangle_base(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    interface = asked.in_interface if chain == "PREROUTING" else asked.out_interface
    invalid = asked.state is not None and asked.state.states == ("INVALID",) and not asked.state.negated
    match rule.target:
        case Jump("ISTIO_INBOUND" | "istio-inbound") if asked.only_protocol:
            return "inbound-jump", ""
        case Jump("ISTIO_PRERT" | "istio-prerouting" | "ISTIO_OUTPUT" | "istio-output") if asked.only_protocol:
            return "ambient-jump", ""
        case Jump("ISTIO_DROP" | "istio-drop") | Drop() if invalid:
            return "invalid-jump", ""
        case SaveMark() if asked.mark:
            return "tproxy-save", ""
        case RestoreMark() if asked.connmark:
            return "tproxy-restore", ""
        case Return() if asked.on_lo and asked.mark:
            return "tproxy-marked-out", ""
        case SetMark() if asked.on_lo and (asked.uid or asked.gids):
            return "tproxy-self-mark", _owner(asked)
        case Return() if interface and not interface.negated and asked == _only_interface(asked):
            return "interface-excluded", interface.name
        case _:
            return None


def _mangle_inbound(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    lo_in = asked.in_interface is not None and asked.in_interface.name == "lo"
    match rule.target:
        case Jump("ISTIO_DIVERT" | "istio-divert") if asked.state:
            return "tproxy-known", asked.port
        case Jump("ISTIO_TPROXY" | "istio-tproxy") if asked.to_ports is None:
            return "tproxy-new", ""
        case Jump("ISTIO_TPROXY" | "istio-tproxy"):
            return "inbound-included", asked.port
        case Return() if lo_in and asked.source:
            return "tproxy-head-passthrough", str(asked.source.network).partition("/")[0]
        case Return() if lo_in and asked.mark and asked.mark.negated:
            return "tproxy-head-lo", ""
        case Return() if asked.mark and not asked.mark.negated and not asked.to_ports:
            return "tproxy-head-marked", ""
        case Return() if asked.to_ports and not asked.to_ports.negated:
            return ("ssh-return" if asked.port == "22" else "inbound-excluded"), asked.port
        case _:
            return None


def _raw(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    match rule.target:
        case Jump("ISTIO_OUTPUT_DNS" | "istio-output-dns" | "ISTIO_INBOUND" | "istio-inbound") if asked.only_protocol:
            return "zone-jump", ""
        case Jump("ISTIO_PRERT" | "istio-prerouting") if asked.only_protocol:
            return "ambient-jump", ""
        case Jump("ISTIO_OUTPUT" | "istio-output") if asked.only_protocol:
            return ("zone-jump" if asked.protocol else "ambient-jump"), ""
        case CtZone(zone=1) if asked.mark:
            return "ambient-zone", ""
        case CtZone(zone=1) if chain == "PREROUTING" and asked.from_ports and asked.destination:
            return "zone-never", asked.range.partition("/")[0]
        case CtZone(zone=1) if asked.protocol == "udp" and chain != "INPUT":
            return "zone-upstream", ""
        case CtZone(zone=2) if asked.protocol == "udp":
            return "zone-downstream", ""
        case _:
            return None
