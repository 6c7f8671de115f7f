"""The parts that rules play in Istio's scheme, as text: what a rule is for, why its place in the chain matters,
what goes wrong without it, and which field of the capture it stands for.
"""

from collections.abc import Mapping

from meshctl.frozen import dataclass


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
        "what {} sends is redirected to the proxy: an endless loop where the proxy itself runs so",
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
        "queries of this user or group come back to the agent: an endless loop where the agent itself runs so",
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
    "zone-never": Role(
        "DNS conntrack zone 1, meant for the nameserver's answers: those come from {} and go to the pod, so it never "
        "matches one (Istio up to 1.19)",
        "does not matter: no answer of the nameserver matches it",
        "nothing that the nameserver answers: it comes from {}, and the rule asked for what goes there",
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
