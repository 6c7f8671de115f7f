"""The part that each rule plays in Istio's scheme, told by its shape: table, chain, conditions and target.

`ROLES` is the table: what the rule is for, why its place in the chain matters, what goes wrong without it, and which
field of the capture it stands for. `role_of` finds a rule's role; None means that no release of Istio writes it.
"""

from collections.abc import Mapping

from meshctl.frozen import dataclass
from meshctl.netfilter.facts import Facts, facts
from meshctl.netfilter.model import (
    Accept,
    CtZone,
    Drop,
    Jump,
    Owner,
    Passive,
    Redirect,
    RestoreMark,
    Return,
    Rule,
    SaveMark,
    SetConnmark,
    SetMark,
    Snat,
    Tproxy,
    address_text,
)


@dataclass(frozen=True, slots=True)
class Role:
    """What a rule is for. `{}` in a text stands for the rule's own value (a port, a user, a range)."""

    title: str
    place: str
    missing: str
    field: str = ""


_AROUND_PROXY = "leaves the pod without the proxy"
_PAST_PROXY = "reaches the application without the proxy: no mTLS, no policy, no telemetry"

ROLES: Mapping[str, Role] = {
    # --- sidecar, inbound
    "inbound-jump": Role(
        "way in: inbound TCP goes through Istio's inbound rules",
        "anything in front of it sees inbound traffic before Istio does, and may take it away",
        f"inbound TCP {_PAST_PROXY}",
        "include_inbound_ports",
    ),
    "tunnel-return": Role(
        "tunnel port: HBONE on port {} goes to the proxy's own listener, not through the redirect",
        "has to stand before the redirect at the end of the chain",
        "HBONE connections to port {} are redirected to the inbound port and fail there",
        "tunnel_port",
    ),
    "ssh-return": Role(
        "SSH exemption: port 22 goes straight to its listener (Istio up to 1.12)",
        "has to stand before the redirect at the end of the chain",
        "SSH into the pod goes through the proxy",
    ),
    "inbound-excluded": Role(
        "excluded inbound port: {} goes straight to its listener, without the proxy",
        "has to stand before the redirect at the end of the chain",
        "inbound TCP to port {} goes through the proxy; a probe or scrape without mTLS may fail there",
        "exclude_inbound_ports",
    ),
    "inbound-included": Role(
        "included inbound port: TCP to port {} goes to the proxy",
        "only the listed ports are captured; the order among them does not matter",
        f"inbound TCP to port {{}} {_PAST_PROXY}",
        "include_inbound_ports",
    ),
    "inbound-all": Role(
        "inbound capture: all other inbound TCP goes to the proxy",
        "last on purpose: every exemption has to come before it",
        f"inbound TCP {_PAST_PROXY}",
        "include_inbound_ports",
    ),
    "redirect-in": Role(
        "inbound redirect: to the proxy's inbound port {}",
        "the only rule of its chain",
        f"inbound TCP {_PAST_PROXY}",
        "inbound_port",
    ),
    # --- sidecar, outbound
    "outbound-jump": Role(
        "way out: what the pod sends goes through Istio's outbound rules",
        "anything in front of it sees outbound traffic before Istio does: a RETURN there takes it past the proxy",
        f"outbound TCP {_AROUND_PROXY}",
        "include_outbound_ranges",
    ),
    "outport-excluded": Role(
        "excluded outbound port: traffic to port {} leaves without the proxy",
        "first on purpose: it holds for calls to the pod's own address too",
        "traffic to port {} goes through the proxy although it was excluded",
        "exclude_outbound_ports",
    ),
    "passthrough": Role(
        "proxy to application: what the proxy passes on comes from {} and is delivered, not captured again",
        "has to stand before the self-call redirect, which would send it back to the proxy",
        "what the proxy passes to the application is redirected to the proxy again and loops",
    ),
    "self-call": Role(
        "self-call: a call of the pod to its own service address comes back in through the proxy's inbound port",
        "has to stand before the loop guard, which would let it go straight to the application",
        "the pod's calls to its own service reach the application without inbound policy and telemetry",
        "proxy_uids",
    ),
    "local-return": Role(
        "application over lo: the pod's containers reach each other without the proxy",
        "has to stand after the self-call redirect and before the outbound capture",
        "calls between containers over the pod's own address go through the proxy",
        "proxy_uids",
    ),
    "loop-guard": Role(
        "loop guard: the proxy's own traffic leaves unchanged",
        "has to stand before the outbound capture, which would send the proxy's traffic back to the proxy",
        "the proxy's own connections are redirected to the proxy: an endless loop",
        "proxy_uids",
    ),
    "group-excluded": Role(
        "excluded group: what gid {} sends leaves without the proxy",
        "has to stand before the outbound capture",
        "traffic of gid {} goes through the proxy although it was excluded",
        "owner_groups_exclude",
    ),
    "group-only": Role(
        "only these groups: what any group but {} sends leaves without the proxy",
        "has to stand before the outbound capture",
        "traffic of every group goes through the proxy, not only that of {}",
        "owner_groups",
    ),
    "localhost-return": Role(
        "localhost: traffic to {} stays in the pod, without the proxy",
        "has to stand before the outbound capture",
        "calls to localhost are redirected to the proxy and fail there",
        "loopback_cidr",
    ),
    "range-excluded": Role(
        "excluded range: traffic to {} leaves without the proxy",
        "has to stand before the outbound capture",
        "traffic to {} goes through the proxy although it was excluded",
        "exclude_outbound_ranges",
    ),
    "outport-included": Role(
        "included outbound port: TCP to port {} goes to the proxy, whatever its address",
        "after the exclusions, so these win over it",
        f"TCP to port {{}} outside of the captured ranges {_AROUND_PROXY}",
        "include_outbound_ports",
    ),
    "range-included": Role(
        "included range: TCP to {} goes to the proxy",
        "after the exclusions, so these win over it",
        f"TCP to {{}} {_AROUND_PROXY}",
        "include_outbound_ranges",
    ),
    "outbound-all": Role(
        "outbound capture: all other TCP goes to the proxy",
        "last on purpose: every exemption has to come before it",
        f"outbound TCP {_AROUND_PROXY}",
        "include_outbound_ranges",
    ),
    "ranges-end": Role(
        "end of the ranges: everything else leaves without the proxy (Istio up to 1.22)",
        "last on purpose; the chain would end here anyway",
        "nothing changes: the chain ends here anyway",
        "include_outbound_ranges",
    ),
    "redirect-out": Role(
        "outbound redirect: to the proxy's outbound port {}",
        "the only rule of its chain; it takes TCP alone, so UDP that gets here passes",
        f"outbound TCP {_AROUND_PROXY}",
        "outbound_port",
    ),
    # --- sidecar, interfaces and invalid packets
    "interface-excluded": Role(
        "excluded interface: traffic over {} is not captured",
        "first on purpose: nothing of Istio's may see this traffic",
        "traffic over {} is captured although it was excluded",
        "exclude_interfaces",
    ),
    "reroute-redirect": Role(
        "virtual machine out: what comes in through {} is treated as outbound and goes to the proxy",
        "has to stand before the RETURN for the same interface",
        f"what the virtual machine behind {{}} sends {_AROUND_PROXY}",
        "reroute_interfaces",
    ),
    "reroute-return": Role(
        "virtual machine guard: the rest that comes in through {} is not treated as inbound to the pod",
        "has to stand before the jump to the inbound rules",
        "traffic of the virtual machine behind {} is treated as inbound to the pod",
        "reroute_interfaces",
    ),
    "invalid-jump": Role(
        "invalid packets: what conntrack cannot place is dropped",
        "in mangle, before nat: such packets never see nat rules",
        "packets outside of a connection's window reset it instead of being dropped",
        "drop_invalid",
    ),
    "invalid-drop": Role(
        "invalid packets: dropped here",
        "the only rule of its chain",
        "packets outside of a connection's window reset it instead of being dropped",
        "drop_invalid",
    ),
    # --- sidecar, DNS
    "dns-jump": Role(
        "DNS capture: queries go through the DNS rules",
        "after the loop guard, so that the agent's own queries reach the real nameserver",
        "the application's DNS queries go to the nameserver, not to the agent: service entries do not resolve",
        "dns",
    ),
    "dns-redirect": Role(
        "DNS capture: queries go to the agent on port {}",
        "after the loop guard, so that the agent's own queries reach the real nameserver",
        "the application's DNS queries go to the nameserver, not to the agent: service entries do not resolve",
        "dns",
    ),
    "dns-own": Role(
        "DNS loop guard: the agent's own queries reach the real nameserver",
        "has to stand before the DNS redirect",
        "the agent's own queries come back to the agent: an endless loop",
        "dns",
    ),
    "zone-jump": Role(
        "DNS conntrack zones: this traffic goes through the zone rules",
        "in raw, before connection tracking looks the packet up",
        "queries of application and agent may share a connection entry, and answers get lost",
        "dns",
    ),
    "zone-upstream": Role(
        "DNS conntrack zone 1: between agent and nameserver",
        "the first zone rule that matches sets the zone",
        "queries of application and agent may share a connection entry, and answers get lost",
        "dns",
    ),
    "zone-downstream": Role(
        "DNS conntrack zone 2: between application and agent",
        "the first zone rule that matches sets the zone",
        "queries of application and agent may share a connection entry, and answers get lost",
        "dns",
    ),
    # --- sidecar, TPROXY
    "tproxy-known": Role(
        "known connections: packets of open connections go to the proxy's socket",
        "before the rule for new connections",
        "packets of open inbound connections are treated as new and get lost",
        "mode",
    ),
    "tproxy-new": Role(
        "new connections: inbound TCP goes to the proxy with its addresses unchanged",
        "last on purpose: every exemption has to come before it",
        f"inbound TCP {_PAST_PROXY}",
        "include_inbound_ports",
    ),
    "tproxy": Role(
        "transparent proxy: handed to the proxy's inbound port {}, addresses unchanged",
        "the only rule of its chain",
        f"inbound TCP {_PAST_PROXY}",
        "inbound_port",
    ),
    "divert-mark": Role(
        "mark: policy routing delivers marked packets to the proxy's socket",
        "has to stand before the ACCEPT",
        "packets of open inbound connections do not reach the proxy's socket",
        "tproxy_mark",
    ),
    "divert-accept": Role(
        "done: a marked packet leaves this table",
        "has to stand after the mark",
        "a packet of an open connection goes on to the rule for new connections",
        "mode",
    ),
    "tproxy-save": Role(
        "remember: the proxy's mark is kept with the connection",
        "the answers need the mark to find back to the proxy",
        "answers of the application to the proxy leave the pod and get lost",
        "tproxy_mark",
    ),
    "tproxy-restore": Role(
        "answers: the application's answers to the proxy get the connection's mark back",
        "in OUTPUT, so that policy routing keeps the answer in the pod",
        "answers of the application to the proxy leave the pod and get lost",
        "tproxy_mark",
    ),
    "tproxy-marked-out": Role(
        "proxy to application: marked packets on lo keep their mark",
        "has to stand before the rules that mark self-calls",
        "the proxy's connections to the application are marked as self-calls and captured again",
        "tproxy_mark",
    ),
    "tproxy-self-mark": Role(
        "self-call: the proxy's connection to the pod's own address is marked, so that it comes in through the proxy",
        "after the exemption for marked packets",
        "the pod's calls to its own service reach the application without inbound policy and telemetry",
        "proxy_uids",
    ),
    "tproxy-head-marked": Role(
        "loop guard: what the proxy marked is not captured again",
        "first on purpose: it stands before every other inbound rule",
        "what the proxy passes to the application is captured again: an endless loop",
        "tproxy_mark",
    ),
    "tproxy-head-passthrough": Role(
        "proxy to application: what comes from {} is delivered, not captured again",
        "before the capture of inbound traffic",
        "what the proxy or agent passes to the application is captured again",
    ),
    "tproxy-head-lo": Role(
        "application over lo: only marked self-calls are captured on lo",
        "before the capture of inbound traffic",
        "calls between containers over the pod's own address go through the proxy",
        "mode",
    ),
    # --- ambient
    "ambient-jump": Role(
        "way to istio-cni's ambient rules",
        "anything in front of it sees the traffic before ambient's rules do",
        "the pod's traffic does not go through ztunnel",
    ),
    "ambient-keep-mark": Role(
        "remember: connections that ztunnel opens are marked",
        "in mangle, before nat",
        "answers to ztunnel are treated as the pod's own traffic and get lost",
    ),
    "ambient-restore-mark": Role(
        "answers: packets of ztunnel's connections get their mark back",
        "in mangle, before nat looks for the mark",
        "answers to ztunnel are treated as the pod's own traffic and get lost",
    ),
    "ambient-probe": Role(
        "kubelet's probes: traffic with {} is not captured",
        "has to stand before the redirect to ztunnel",
        "kubelet's probes go through ztunnel and fail under strict mTLS",
    ),
    "ambient-inbound": Role(
        "inbound capture: plain TCP goes to ztunnel's port {}; HBONE on 15008 goes there by itself",
        "last on purpose: every exemption has to come before it",
        "inbound TCP reaches the application without ztunnel: no mTLS, no policy, no telemetry",
    ),
    "ambient-tunnel": Role(
        "inbound tunnel: HBONE goes to ztunnel's port {} (ambient of 1.21 to 1.24)",
        "before known connections go on as they are",
        "HBONE from other nodes does not reach ztunnel",
    ),
    "ambient-node-jump": Role(
        "way to istio-cni's rules for kubelet's probes, on the node",
        "first on purpose: another tool's masquerading would take the probe away",
        "kubelet's probes of ambient pods fail under strict mTLS",
    ),
    "ambient-node-probe": Role(
        "kubelet's probes, on the node: they get the source address {}, by which pods know them",
        "before the node's masquerading",
        "kubelet's probes of ambient pods fail under strict mTLS",
    ),
    "ambient-known": Role(
        "known connections: packets of open connections go on as they are (ambient of 1.21 to 1.24)",
        "before the capture of new connections",
        "packets of open connections are captured again",
    ),
    "ambient-outbound": Role(
        "outbound capture: TCP goes to ztunnel's port {}",
        "last on purpose: every exemption has to come before it",
        "outbound TCP leaves the pod without ztunnel",
    ),
    "ambient-dns": Role(
        "DNS capture: queries go to ztunnel on port {}",
        "ztunnel's own queries carry its mark and pass",
        "the application's DNS queries go to the nameserver, not to ztunnel",
        "dns",
    ),
    "ambient-zone": Role(
        "DNS conntrack zone 1: between ztunnel and nameserver",
        "in raw, before connection tracking looks the packet up",
        "queries of application and ztunnel may share a connection entry, and answers get lost",
        "dns",
    ),
    "ambient-return": Role(
        "loop guard: answers of ztunnel's connections leave unchanged",
        "has to stand before the redirect to ztunnel",
        "answers to ztunnel are sent to ztunnel again",
    ),
    "ambient-lo": Role(
        "application over lo: the pod's containers reach each other without ztunnel",
        "has to stand before the redirect to ztunnel",
        "calls of the pod to its own address go through ztunnel",
    ),
    "ambient-reroute": Role(
        "virtual machine out: TCP that comes in through {} is treated as outbound and goes to ztunnel",
        "has to stand before the inbound rules",
        "what the virtual machine behind {} sends leaves the pod without ztunnel",
        "reroute_interfaces",
    ),
    "ambient-reroute-return": Role(
        "virtual machine guard: the rest that comes in through {} is not treated as inbound",
        "has to stand before the inbound rules",
        "traffic of the virtual machine behind {} is treated as inbound to the pod",
        "reroute_interfaces",
    ),
    # --- older scripts, leftovers
    "old-self-call": Role(
        "self-call: anything on lo that is not for localhost goes to the proxy (Istio before 1.1)",
        "before the loop guard",
        "the pod's calls to its own service reach the application without the proxy",
    ),
    "old-inbound": Role(
        "inbound capture: all inbound TCP goes to the proxy (Istio before 1.0)",
        "the only inbound rule",
        f"inbound TCP {_PAST_PROXY}",
    ),
    "guardrail": Role(
        "guardrail: istio-cni or istio-iptables drops traffic while it replaces rules",
        "should be gone: that it is there means that a reconcile was interrupted",
        "nothing: it should not be there",
    ),
    "trace-log": Role(
        "trace: logs the packets of the next rule (iptables-trace-logging)",
        "in front of the rule that it logs",
        "nothing changes for traffic: it only logs",
        "trace_logging",
    ),
}

_CHAINS = {
    "istio-inbound": "ISTIO_INBOUND",
    "istio-output": "ISTIO_OUTPUT",
    "istio-output-dns": "ISTIO_OUTPUT_DNS",
    "istio-redirect": "ISTIO_REDIRECT",
    "istio-in-redirect": "ISTIO_IN_REDIRECT",
    "istio-divert": "ISTIO_DIVERT",
    "istio-tproxy": "ISTIO_TPROXY",
    "istio-drop": "ISTIO_DROP",
    "istio-prerouting": "ISTIO_PRERT",
    "prerouting": "PREROUTING",
    "output": "OUTPUT",
}


def istio_chain(name: str) -> bool:
    """Whether Istio gives its chains such names."""
    return name.startswith(("ISTIO_", "istio-"))


def istio_table(name: str) -> bool:
    """Whether Istio gives its native tables such names."""
    return name.startswith(("istio-proxy-", "istio-ambient-"))


def plain_table(name: str) -> str:
    """``nat`` for ``istio-proxy-nat``; other names as they are."""
    return name.rpartition("-")[2] if istio_table(name) else name


def plain_chain(name: str) -> str:
    """iptables' name for one of Istio's native chains; other names as they are."""
    return _CHAINS.get(name, name)


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
    ambient_node = table in ("nat", "istio-ambient-nat") and _ambient_node(rule, table, chain, asked)
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


def _ports_of(target: Redirect | Tproxy) -> str:
    ports = target.ports if isinstance(target, Redirect) else target.port
    return "" if ports is None else str(ports)


def _nat(rule: Rule, chain: str, asked: Facts) -> tuple[str, str] | None:
    match chain:
        case "PREROUTING" | "OUTPUT":
            return _nat_base(rule, chain, asked)
        case "ISTIO_INBOUND":
            return _nat_inbound(rule, asked)
        case "ISTIO_REDIRECT" | "ISTIO_IN_REDIRECT" if asked.only_protocol and isinstance(rule.target, Redirect):
            return ("redirect-out" if chain == "ISTIO_REDIRECT" else "redirect-in"), _ports_of(rule.target)
        case "ISTIO_OUTPUT":
            return _ambient_output(rule, asked) or _nat_output(rule, asked)
        case "ISTIO_OUTPUT_DNS" if isinstance(rule.target, Redirect) and asked.port == "53":
            return "dns-redirect", _ports_of(rule.target)
        case "ISTIO_PRERT":
            return _ambient_prerouting(rule, asked)
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
            return "dns-redirect", _ports_of(rule.target)
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
                return "range-included", _range(asked)
            if asked.on_lo and asked == Facts(out_interface=asked.out_interface, destination=asked.destination):
                return "old-self-call", ""
            return None
        case Jump("ISTIO_OUTPUT_DNS" | "istio-output-dns") if asked.only_protocol:
            return "dns-jump", ""
        case Redirect() if asked.port == "53":
            return "dns-redirect", _ports_of(rule.target)
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
        return ("localhost-return" if _loopback(asked) else "range-excluded"), _range(asked)
    return None


def _owner_return(asked: Facts, owners: tuple[Owner, ...]) -> tuple[str, str] | None:
    if all(owner.negated for owner in owners):
        return "group-only", ", ".join(str(owner.ids) for owner in owners)
    if len(owners) == 1 and owners[0].kind == "gid":
        # A proxy's gid has the two rules for lo in front of it; an excluded group has not. See `explain`.
        return "loop-guard", _owner(asked)
    return "loop-guard", _owner(asked)


def _owners(asked: Facts) -> tuple[Owner, ...]:
    return (*((asked.uid,) if asked.uid else ()), *asked.gids)


def _owner(asked: Facts) -> str:
    return ", ".join(f"{owner.kind} {owner.ids}" for owner in _owners(asked))


def _range(asked: Facts) -> str:
    return str(asked.destination.network) if asked.destination else ""


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
            return ("tproxy", _ports_of(target)) if target else None
        case "ISTIO_DROP" if asked.bare and rule.target == Drop():
            return "invalid-drop", ""
        case "ISTIO_INBOUND":
            return _mangle_inbound(rule, asked)
        case "ISTIO_PRERT":
            return _ambient_mangle(rule, asked)
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


def _ambient_mangle(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    """ISTIO_PRERT in mangle: a mark to keep; up to 1.24 also the capture itself, with TPROXY."""
    match rule.target:
        case SetConnmark() if asked.mark:
            return "ambient-keep-mark", ""
        case Tproxy():
            return ("ambient-tunnel" if asked.to_ports else "ambient-inbound"), _ports_of(rule.target)
        case Return() | Accept() if asked.source and not asked.source.negated:
            return "ambient-probe", str(asked.source.network).partition("/")[0]
        case Return() | Accept() if asked.in_interface and asked.in_interface.name == "lo":
            return "ambient-lo", ""
        case Return() | Accept() if asked.state:
            return "ambient-known", ""
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
        case CtZone(zone=1) if asked.protocol == "udp" and chain != "INPUT":
            return "zone-upstream", ""
        case CtZone(zone=2) if asked.protocol == "udp":
            return "zone-downstream", ""
        case _:
            return None


def _ambient_node(rule: Rule, table: str, chain: str, asked: Facts) -> tuple[str, str] | None:
    """The node's own rules: probes of the pods in istio-cni's set get an address that the pods know."""
    if rule.target == Jump("ISTIO_POSTRT") and chain == "POSTROUTING" and asked.only_protocol:
        return "ambient-node-jump", ""
    ours = chain == "ISTIO_POSTRT" or (table == "istio-ambient-nat" and chain == "postrouting")
    if ours and isinstance(rule.target, Snat) and rule.target.low is not None:
        return "ambient-node-probe", address_text(rule.target.version, rule.target.low)
    return None


def _ambient_prerouting(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    match rule.target:
        case Accept() if asked.source and not asked.source.negated:
            return "ambient-probe", str(asked.source.network).partition("/")[0]
        case Redirect() if asked.in_interface:
            return "ambient-reroute", asked.in_interface.name
        case Return() if asked.in_interface:
            return "ambient-reroute-return", asked.in_interface.name
        case Redirect() if asked.mark:
            return "ambient-inbound", _ports_of(rule.target)
        case _:
            return None


def _ambient_output(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    match rule.target:
        case Accept() if asked.destination and not asked.destination.negated:
            return "ambient-probe", _range(asked).partition("/")[0]
        case Accept() if asked.mark and not asked.mark.negated:
            return "ambient-return", ""
        case Accept() if asked.on_lo and asked.destination:
            return "ambient-lo", ""
        case Redirect() if asked.port == "53" and (asked.mark or asked.out_interface):
            return "ambient-dns", _ports_of(rule.target)
        case Redirect() if asked.mark and asked.to_ports is None:
            return "ambient-outbound", _ports_of(rule.target)
        case _:
            return None


_FOREIGN_CHAINS = (
    ("KUBE-", "kube-proxy or kubelet"),
    ("CILIUM_", "Cilium"),
    ("OLD_CILIUM_", "Cilium"),
    ("cali-", "Calico"),
    ("cali:", "Calico"),
    ("CNI-", "a CNI plugin (portmap or bandwidth)"),
    ("CNI_", "a CNI plugin"),
    ("DOCKER", "Docker"),
    ("FLANNEL-", "flannel"),
    ("WEAVE", "Weave Net"),
    ("ANTREA-", "Antrea"),
    ("AWS-", "the AWS VPC CNI"),
    ("KIND-MASQ", "kindnet"),
    ("IP-MASQ", "ip-masq-agent"),
    ("PROXY_INIT_", "Linkerd"),
    ("CONSUL_", "Consul"),
    ("NETAVARK", "Podman"),
    ("LIBVIRT_", "libvirt"),
    ("f2b-", "fail2ban"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("ts-", "Tailscale"),
    ("TELEPRESENCE", "Telepresence"),
    ("MIRRORD", "mirrord"),
    ("AMAZON-", "the AWS VPC CNI"),
    ("NOMAD-", "Nomad"),
)
_FOREIGN_COMMENTS = (
    ("kubernetes ", "kube-proxy or kubelet"),
    ("cali:", "Calico"),
    ("cilium", "Cilium"),
    ("cilium-feeder", "Cilium"),
    ("flanneld", "flannel"),
    ("proxy-init/", "Linkerd"),
    ("CNI portfwd", "the CNI plugin portmap"),
    ("AWS", "the AWS VPC CNI"),
)


def foreign_owner(rule: Rule, table: str, chain: str) -> str:
    """Which other tool a rule is from, by the names of its chains, its table and its comment; empty if not told."""
    names = [chain, table]
    if isinstance(rule.target, Jump):
        names.append(rule.target.chain)
    for name in names:
        for start, owner in _FOREIGN_CHAINS:
            if name.startswith(start):
                return owner
    return next((owner for start, owner in _FOREIGN_COMMENTS if rule.comment.startswith(start)), "")
