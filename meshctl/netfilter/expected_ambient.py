"""The rules that istio-cni's agent writes into an ambient pod, as drafts in emission order.

Follows ``cni/pkg/iptables/iptables.go`` and ``cni/pkg/nftables/nftables.go`` (1.25 to 1.30). From 1.21 to 1.24 the
agent took inbound traffic with TPROXY; that shape is not predicted.
"""

from collections.abc import Iterator

from meshctl.netfilter.capture import split
from meshctl.netfilter.draft import ACCEPT, RETURN, TCP, UDP, Action, Clause, Draft, draft, jump, no, yes
from meshctl.netfilter.expected_sidecar import DNS_PORT, Plan

PROXY_MARK = "0x539/0xfff"
"""What ztunnel's sockets are marked with."""
RETURN_MARK = "0x111/0xfff"
"""The connection mark of what ztunnel opened, restored on the way back."""
OUTBOUND, INBOUND, TUNNEL, DNS = "15001", "15006", "15008", "15053"
PROBES = {4: "169.254.7.127/32", 6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128"}
"""The addresses that the node rewrites kubelet's probes to (HOST_PROBE_SNAT_IP and _IPV6, by default)."""


def ambient(plan: Plan) -> Iterator[Draft]:
    """Every rule, in the order of ``AppendInpodRules``."""
    yield draft("mangle", "PREROUTING", jump("ISTIO_PRERT"))
    yield draft("mangle", "OUTPUT", jump("ISTIO_OUTPUT"))
    yield draft("nat", "OUTPUT", jump("ISTIO_OUTPUT"))
    if plan.dns:
        yield draft("raw", "PREROUTING", jump("ISTIO_PRERT"))
        yield draft("raw", "OUTPUT", jump("ISTIO_OUTPUT"))
    yield draft("nat", "PREROUTING", jump("ISTIO_PRERT"))
    for name in split(plan.capture.reroute_interfaces):
        yield draft("nat", "ISTIO_PRERT", Action("redirect", OUTBOUND), yes("in", name), TCP)
        yield draft("nat", "ISTIO_PRERT", RETURN, yes("in", name), TCP)
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


def _inbound(plan: Plan) -> Iterator[Draft]:
    # iptables' builder names the module (`-p tcp -m tcp`) in these rules, and the kernel keeps it.
    tcp: tuple[Clause, ...] = (TCP,) if plan.shape.native else (TCP, yes("module", "tcp"))
    captures = not plan.capture.bypass_inbound
    for version in plan.versions if captures else ():
        yield draft("nat", "ISTIO_PRERT", ACCEPT, *tcp, yes("src", PROBES[version]))
    for version in plan.versions:
        yield draft("nat", "ISTIO_OUTPUT", ACCEPT, *tcp, yes("dst", PROBES[version]))
    for version in plan.versions if captures else ():
        rest = (no("dst", plan.loopback(version)), TCP, no("dport", TUNNEL), no("mark", PROXY_MARK))
        yield draft("nat", "ISTIO_PRERT", Action("redirect", INBOUND), *rest)


def _dns(plan: Plan) -> Iterator[Draft]:
    not_proxy, to_dns = no("mark", PROXY_MARK), yes("dport", DNS_PORT)
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
