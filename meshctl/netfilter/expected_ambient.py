"""The rules that istio-cni's agent writes for ambient mode, into a pod and into the node, as drafts in emission order.

Follows ``cni/pkg/iptables/iptables.go`` (1.22.0, 1.24, 1.30.3) and ``cni/pkg/nftables/nftables.go`` (1.30.3). Up to
1.23 the agent takes inbound traffic with TPROXY in mangle, from 1.25 on with REDIRECT in nat; 1.24 knows both.
"""

from collections.abc import Iterator

from meshctl.netfilter.capture import split
from meshctl.netfilter.draft import ACCEPT, RETURN, TCP, UDP, Action, Clause, Draft, at, draft, jump, no, yes
from meshctl.netfilter.expected_sidecar import DNS_PORT, Plan

PROXY_MARK = "0x539/0xfff"
"""What ztunnel's sockets are marked with."""
RETURN_MARK = "0x111/0xfff"
"""The connection mark of what ztunnel opened, restored on the way back."""
OUTBOUND, INBOUND, TUNNEL, DNS = "15001", "15006", "15008", "15053"
KUBELET_UID = "1000"
"""The user that native nftables takes kubelet's probes for (``cni/pkg/nftables``), which has no ``--socket-exists``."""
PROBED = "istio-inpod-probes"
"""The set of the pods whose probes count: an ipset, or (native) a set of the table."""
_NODE_FIRST_SINCE = 25
"""From this minor on the way to ISTIO_POSTRT is inserted, not appended."""
_PROBED_BY_FAMILY_SINCE = 23
"""From this minor on there is a set for each IP version."""
_DNS_MARKED_SINCE = 24
"""From this minor on DNS capture takes TCP too, spares ztunnel's own queries and has a conntrack zone for them."""
_BYPASS_KEEPS_MARK_SINCE = 29
"""From this minor on a pod whose inbound capture is bypassed keeps ztunnel's mark (istio/istio#58546)."""


def ambient(plan: Plan) -> Iterator[Draft]:
    """Every rule in a pod, in the order of ``AppendInpodRules``."""
    capture = plan.capture
    yield draft("mangle", "PREROUTING", jump("ISTIO_PRERT"))
    yield draft("mangle", "OUTPUT", jump("ISTIO_OUTPUT"))
    yield draft("nat", "OUTPUT", jump("ISTIO_OUTPUT"))
    if plan.dns and _marks_dns(plan):
        yield draft("raw", "PREROUTING", jump("ISTIO_PRERT"))
        yield draft("raw", "OUTPUT", jump("ISTIO_OUTPUT"))
    if not capture.tproxy:
        yield draft("nat", "PREROUTING", jump("ISTIO_PRERT"))
    for name in split(capture.reroute_interfaces):
        yield draft("nat", "ISTIO_PRERT", Action("redirect", OUTBOUND), yes("in", name), TCP)
        yield draft("nat", "ISTIO_PRERT", RETURN, yes("in", name), TCP)
    if not capture.bypass_inbound or plan.shape.release.since(_BYPASS_KEEPS_MARK_SINCE):
        yield draft("mangle", "ISTIO_PRERT", Action("connmark", RETURN_MARK), yes("mark", PROXY_MARK))
    yield from _inbound(plan)
    yield draft("mangle", "ISTIO_OUTPUT", Action("restore-mark"), yes("connmark", RETURN_MARK))
    if plan.dns:
        yield from _dns(plan)
    yield draft("nat", "ISTIO_OUTPUT", ACCEPT, TCP, yes("mark", RETURN_MARK))
    for version in plan.versions:
        yield draft("nat", "ISTIO_OUTPUT", ACCEPT, yes("out", "lo"), no("dst", plan.loopback(version)))
    for version in plan.versions:
        rest = (TCP, no("dst", plan.loopback(version)), no("mark", PROXY_MARK))
        yield draft("nat", "ISTIO_OUTPUT", Action("redirect", OUTBOUND), *rest)


def _probes(plan: Plan) -> Iterator[tuple[int, str]]:
    """The addresses that the node gives kubelet's probes, as host ranges."""
    for version in plan.versions:
        capture = plan.capture
        yield version, f"{capture.probe_address}/32" if version == 4 else f"{capture.probe_address_v6}/128"


def _marks_dns(plan: Plan) -> bool:
    return plan.shape.release.since(_DNS_MARKED_SINCE)


def _inbound(plan: Plan) -> Iterator[Draft]:
    # iptables' builder names the module (`-p tcp -m tcp`) in these rules, and the kernel keeps it.
    tcp: tuple[Clause, ...] = (TCP,) if plan.shape.native else (TCP, yes("module", "tcp"))
    captures = not plan.capture.bypass_inbound
    table = "mangle" if plan.capture.tproxy else "nat"
    for _, probe in _probes(plan) if captures else ():
        yield draft(table, "ISTIO_PRERT", ACCEPT, *tcp, yes("src", probe))
    for _, probe in _probes(plan):
        yield draft("nat", "ISTIO_OUTPUT", ACCEPT, *tcp, yes("dst", probe))
    if plan.capture.tproxy:
        yield from _tproxy(plan)
        return
    for version in plan.versions if captures else ():
        rest = (no("dst", plan.loopback(version)), TCP, no("dport", TUNNEL), no("mark", PROXY_MARK))
        yield draft("nat", "ISTIO_PRERT", Action("redirect", INBOUND), *rest)


def _tproxy(plan: Plan) -> Iterator[Draft]:
    not_proxy = no("mark", PROXY_MARK)
    for version in plan.versions:
        own = (TCP, yes("in", "lo"), no("dst", plan.loopback(version)))
        yield draft("mangle", "ISTIO_PRERT", ACCEPT, *own)
    to_tunnel = Action("tproxy", TUNNEL, RETURN_MARK)
    yield draft("mangle", "ISTIO_PRERT", to_tunnel, TCP, yes("dport", TUNNEL), not_proxy)
    yield draft("mangle", "ISTIO_PRERT", ACCEPT, TCP, yes("state", "RELATED,ESTABLISHED"))
    for version in plan.versions:
        rest = (TCP, no("dst", plan.loopback(version)), not_proxy)
        yield draft("mangle", "ISTIO_PRERT", Action("tproxy", INBOUND, RETURN_MARK), *rest)


def _dns(plan: Plan) -> Iterator[Draft]:
    not_proxy, to_dns = no("mark", PROXY_MARK), yes("dport", DNS_PORT)
    if not _marks_dns(plan):
        yield draft("nat", "ISTIO_OUTPUT", Action("redirect", DNS), no("out", "lo"), UDP, to_dns)
        return
    yield draft("nat", "ISTIO_OUTPUT", Action("redirect", DNS), no("out", "lo"), UDP, not_proxy, to_dns)
    for version in plan.versions:
        rest = (no("dst", plan.loopback(version)), TCP, to_dns, not_proxy)
        yield draft("nat", "ISTIO_OUTPUT", Action("redirect", DNS), *rest)
    zone = Action("zone", "1")
    from_dns = yes("sport", DNS_PORT)
    if plan.shape.native:
        yield draft("raw", "ISTIO_OUTPUT", zone, UDP, to_dns, yes("mark", PROXY_MARK))
        yield draft("raw", "ISTIO_PRERT", zone, UDP, from_dns, not_proxy)
    else:
        yield draft("raw", "ISTIO_OUTPUT", zone, UDP, yes("mark", PROXY_MARK), to_dns)
        yield draft("raw", "ISTIO_PRERT", zone, UDP, not_proxy, from_dns)


def node(plan: Plan) -> Iterator[Draft]:
    """Every rule that the agent writes into the node's own namespace, in the order of ``AppendHostRules``.

    What a process of the node sends to a pod of the mesh gets an address by which the pod knows it for a probe.
    """
    if plan.shape.native:
        for version, probe in _probes(plan):
            member = yes("set", f"{PROBED}-v{version}")
            source = Action("snat", probe.partition("/")[0])
            yield draft("nat", "POSTROUTING", source, TCP, yes("uid", KUBELET_UID), member)
        return
    way = draft("nat", "POSTROUTING", jump("ISTIO_POSTRT"))
    yield at(1, way) if plan.shape.release.since(_NODE_FIRST_SINCE) else way
    for version, probe in _probes(plan):
        name = PROBED if not plan.shape.release.since(_PROBED_BY_FAMILY_SINCE) else f"{PROBED}-v{version}"
        source = Action("snat", probe.partition("/")[0])
        yield draft("nat", "ISTIO_POSTRT", source, TCP, yes("socket", ""), yes("set", name))
