"""The rules that `istio-iptables` and the istio-cni plugin write for a sidecar, as drafts in emission order.

Follows ``tools/istio-iptables/pkg/capture/run.go`` (1.12.1 to 1.30.3) and, for native nftables,
``tools/istio-nftables/pkg/capture/run.go`` (1.30.3); what differs between releases is named by `Shape`.
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.capture import Capture, split
from meshctl.netfilter.draft import ACCEPT, DROP, RETURN, TCP, UDP, Action, Clause, Draft, at, draft, jump, no, yes
from meshctl.netfilter.release import Release

IpVersion: TypeAlias = Literal[4, 6]
DNS_PORT, AGENT_DNS_PORT = "53", "15053"
SELF_MARK = "1338"
"""The mark of the proxy's own connections to the pod's address in TPROXY mode (``constants.OutboundMark``)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a release does differently; each property names the first or last minor release that does it."""

    release: Release
    native: bool = False

    @property
    def exempts_ssh(self) -> bool:
        """Inbound port 22 leaves uncaptured."""
        return not self.release.since(13)

    @property
    def drop_invalid_chain(self) -> bool:
        """INVALID packets go through ISTIO_DROP instead of a plain DROP."""
        return self.release.since(24)

    @property
    def owner_groups(self) -> bool:
        """ISTIO_OUTBOUND_OWNER_GROUPS is known."""
        return self.release.since(14)

    @property
    def spares_tunnel_on_lo(self) -> bool:
        """The proxy's own connections to the pod's address keep port 15008."""
        return self.release.since(18)

    @property
    def zones_by_source(self) -> bool:
        """DNS answers are told by the resolver's source address (istio/istio#46935)."""
        return self.release.since(20)

    @property
    def returns_after_ranges(self) -> bool:
        """ISTIO_OUTPUT ends with a RETURN where ranges are listed."""
        return not self.release.since(23)

    @property
    def dns_chain(self) -> bool:
        """DNS has a chain of its own, ISTIO_OUTPUT_DNS, and OUTPUT jumps for every protocol."""
        return self.release.since(25)

    @property
    def udp_through_output(self) -> bool:
        """UDP jumps into ISTIO_OUTPUT in nat and raw."""
        return self.release.since(23) and not self.dns_chain


@dataclass(frozen=True, slots=True)
class Plan:
    """A capture with everything looked up: `versions` are the IP versions that these drafts are for."""

    capture: Capture
    shape: Shape
    versions: tuple[IpVersion, ...]
    resolvers: tuple[str, ...]
    dns: bool

    def loopback(self, version: IpVersion) -> str:
        """The destinations that count as the pod itself."""
        return self.capture.loopback_cidr if version == 4 else "::1/128"

    def servers(self) -> tuple[str, ...]:
        """The resolvers of the drafts' IP versions, as host ranges, IPv4 first."""
        found = []
        for version in self.versions:
            width = 32 if version == 4 else 128
            found += [f"{server}/{width}" for server in self.resolvers if ip_address(server).version == version]
        return tuple(found)

    def ranges(self, text: str) -> tuple[str, ...]:
        """The CIDRs of a list that are of the drafts' IP versions, IPv4 first; what is no CIDR is skipped."""
        both = [cidr for cidr in split(text) if _version(cidr)]
        return tuple(cidr for version in self.versions for cidr in both if _version(cidr) == version)

    @property
    def includes_loopback(self) -> bool:
        """Whether ``-i`` names a loopback range: then calls over lo are captured as well."""
        ranges = self.capture.include_outbound_ranges
        return ranges != "*" and any(_is_loopback(cidr) for cidr in split(ranges) if _version(cidr))


@lru_cache(maxsize=4096)
def _version(cidr: str) -> int | None:
    try:
        return ip_network(cidr, strict=False).version if "/" in cidr else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _is_loopback(cidr: str) -> bool:
    return ip_address(cidr.partition("/")[0]).is_loopback


def sidecar(plan: Plan) -> Iterator[Draft]:
    """Every rule, in the order of ``IptablesConfigurator.Run``."""
    capture = plan.capture
    yield from _interfaces(plan)
    if capture.drop_invalid:
        yield from _drop_invalid(plan)
    yield draft("nat", "ISTIO_INBOUND", RETURN, TCP, yes("dport", capture.tunnel_port))
    yield draft("nat", "ISTIO_REDIRECT", Action("redirect", capture.outbound_port), TCP)
    yield from _logged(
        plan, "InboundCapture", draft("nat", "ISTIO_IN_REDIRECT", Action("redirect", capture.inbound_port), TCP)
    )
    if capture.include_inbound_ports:
        yield from _inbound(plan)
    yield from _output_jump(plan)
    for port in split(capture.exclude_outbound_ports):
        yield draft("nat", "ISTIO_OUTPUT", RETURN, TCP, yes("dport", port))
        if plan.shape.dns_chain:
            yield draft("nat", "ISTIO_OUTPUT", RETURN, UDP, yes("dport", port))
    for version in plan.versions:
        source = "127.0.0.6/32" if version == 4 else "::6/128"
        yield draft("nat", "ISTIO_OUTPUT", RETURN, yes("out", "lo"), yes("src", source))
    for uid in split(capture.proxy_uids):
        yield from _proxy(plan, "uid", uid)
    for gid in split(capture.proxy_gids):
        yield from _proxy(plan, "gid", gid)
    if plan.shape.owner_groups:
        yield from _owner_groups(plan, "nat", "ISTIO_OUTPUT")
    if plan.dns:
        yield from _dns(plan)
    for version in plan.versions:
        yield draft("nat", "ISTIO_OUTPUT", RETURN, yes("dst", plan.loopback(version)))
    for cidr in plan.ranges(capture.exclude_outbound_ranges):
        yield draft("nat", "ISTIO_OUTPUT", RETURN, yes("dst", cidr))
    for port in split(capture.include_outbound_ports):
        yield draft("nat", "ISTIO_OUTPUT", jump("ISTIO_REDIRECT"), TCP, yes("dport", port))
    yield from _outbound_ranges(plan)
    if plan.dns and not plan.shape.dns_chain:
        yield from _dns_udp_inline(plan)
    if capture.tproxy:
        yield from _tproxy_tail(plan)


def _logged(plan: Plan, prefix: str, rule: Draft) -> Iterator[Draft]:
    """A rule, with an NFLOG rule for the same packets in front of it where trace logging is on (1.12 to 1.25)."""
    traced = Draft(rule.table, rule.chain, rule.clauses, Action("log", prefix), rule.position)
    if not plan.capture.trace_logging:
        yield rule
    elif rule.position is None:
        yield from (traced, rule)
    else:
        yield from (rule, traced)


def _interfaces(plan: Plan) -> Iterator[Draft]:
    excluded = split(plan.capture.exclude_interfaces)
    for table in ("nat", "mangle") if plan.capture.tproxy else ("nat",):
        for name in excluded:
            yield from _logged(plan, "ExcludeInterface", draft(table, "PREROUTING", RETURN, yes("in", name)))
            yield from _logged(plan, "ExcludeInterface", draft(table, "OUTPUT", RETURN, yes("out", name)))
    for name in split(plan.capture.reroute_interfaces):
        yield from _logged(plan, "Kubevirt", at(1, draft("nat", "PREROUTING", RETURN, yes("in", name))))


def _drop_invalid(plan: Plan) -> Iterator[Draft]:
    only_tcp = (TCP,) if plan.shape.native else ()
    invalid = yes("state", "INVALID")
    if plan.shape.drop_invalid_chain:
        yield draft("mangle", "PREROUTING", jump("ISTIO_DROP"), *only_tcp, invalid)
        yield draft("mangle", "ISTIO_DROP", DROP)
    else:
        yield draft("mangle", "PREROUTING", DROP, *only_tcp, invalid)


def _inbound(plan: Plan) -> Iterator[Draft]:
    capture = plan.capture
    table = "mangle" if capture.tproxy else "nat"
    if capture.tproxy:
        yield draft("mangle", "ISTIO_DIVERT", Action("mark", capture.tproxy_mark))
        yield draft("mangle", "ISTIO_DIVERT", ACCEPT)
        for version in plan.versions:
            tproxy = Action("tproxy", capture.inbound_port, capture.tproxy_mark)
            yield draft("mangle", "ISTIO_TPROXY", tproxy, TCP, no("dst", plan.loopback(version)))
    yield from _logged(plan, "JumpInbound", draft(table, "PREROUTING", jump("ISTIO_INBOUND"), TCP))
    if capture.include_inbound_ports != "*":
        for port in split(capture.include_inbound_ports):
            for rule in _inbound_captured(plan, table, yes("dport", port)):
                yield from _logged(plan, "IncludeInboundPort", rule)
        return
    if plan.shape.exempts_ssh:
        yield draft(table, "ISTIO_INBOUND", RETURN, TCP, yes("dport", "22"))
    for port in split(capture.exclude_inbound_ports):
        yield from _logged(plan, "ExcludeInboundPort", draft(table, "ISTIO_INBOUND", RETURN, TCP, yes("dport", port)))
    yield from _inbound_captured(plan, table)


def _inbound_captured(plan: Plan, table: str, *port: Clause) -> Iterator[Draft]:
    if not plan.capture.tproxy:
        yield draft(table, "ISTIO_INBOUND", jump("ISTIO_IN_REDIRECT"), TCP, *port)
        return
    known = yes("state", "RELATED,ESTABLISHED")
    clauses = (TCP, known, *port) if plan.shape.native else (TCP, *port, known)
    yield draft(table, "ISTIO_INBOUND", jump("ISTIO_DIVERT"), *clauses)
    yield draft(table, "ISTIO_INBOUND", jump("ISTIO_TPROXY"), TCP, *port)


def _output_jump(plan: Plan) -> Iterator[Draft]:
    only_tcp = () if plan.shape.dns_chain else (TCP,)
    yield from _logged(plan, "JumpOutbound", draft("nat", "OUTPUT", jump("ISTIO_OUTPUT"), *only_tcp))
    if plan.dns and plan.shape.udp_through_output:
        yield draft("nat", "OUTPUT", jump("ISTIO_OUTPUT"), UDP)


def _proxy(plan: Plan, kind: Literal["uid", "gid"], owner: str) -> Iterator[Draft]:
    """The three rules for one user or group of the proxy: self-call, application over lo, loop guard."""
    out_lo = yes("out", "lo")
    for version in plan.versions:
        clauses = _self_call_ports(plan, kind)
        elsewhere = no("dst", plan.loopback(version))
        yield draft(
            "nat",
            "ISTIO_OUTPUT",
            jump("ISTIO_IN_REDIRECT"),
            out_lo,
            *clauses[:1],
            elsewhere,
            *clauses[1:],
            yes(kind, owner),
        )
    if not plan.includes_loopback:
        but_dns = (TCP, no("dport", DNS_PORT)) if plan.dns else ()
        yield draft("nat", "ISTIO_OUTPUT", RETURN, out_lo, *but_dns, no(kind, owner))
    yield draft("nat", "ISTIO_OUTPUT", RETURN, yes(kind, owner))


def _self_call_ports(plan: Plan, kind: str) -> tuple[Clause, ...]:
    """Which ports the proxy's call to the pod's own address keeps: DNS (for the uid only), the tunnel since 1.18."""
    tunnel = plan.capture.tunnel_port
    but_dns = plan.dns and kind == "uid"
    if not plan.shape.spares_tunnel_on_lo:
        return (TCP, no("dport", DNS_PORT)) if but_dns else ()
    if but_dns:
        return (TCP, no("dports", f"{DNS_PORT},{tunnel}"))
    return (TCP, no("dport", tunnel))


def _owner_groups(plan: Plan, table: str, chain: str, *clauses: Clause) -> Iterator[Draft]:
    capture = plan.capture
    if capture.owner_groups == "*":
        for group in split(capture.owner_groups_exclude):
            yield draft(table, chain, RETURN, *clauses, yes("gid", group))
    else:
        others = tuple(no("gid", group) for group in split(capture.owner_groups))
        yield draft(table, chain, RETURN, *clauses, *others)


def _outbound_ranges(plan: Plan) -> Iterator[Draft]:
    capture = plan.capture
    if capture.include_outbound_ranges == "*":
        yield draft("nat", "ISTIO_OUTPUT", jump("ISTIO_REDIRECT"))
        for name in split(capture.reroute_interfaces):
            rule = draft("nat", "PREROUTING", jump("ISTIO_REDIRECT"), yes("in", name))
            yield from _logged(plan, "Kubevirt", at(1, rule))
        return
    ranges = plan.ranges(capture.include_outbound_ranges)
    for cidr in ranges:
        for name in split(capture.reroute_interfaces):
            rule = draft("nat", "PREROUTING", jump("ISTIO_REDIRECT"), yes("in", name), yes("dst", cidr))
            yield from _logged(plan, "Kubevirt", at(1, rule))
        yield draft("nat", "ISTIO_OUTPUT", jump("ISTIO_REDIRECT"), yes("dst", cidr))
    if ranges and plan.shape.returns_after_ranges:
        yield draft("nat", "ISTIO_OUTPUT", RETURN)


def _dns(plan: Plan) -> Iterator[Draft]:
    """DNS capture: all of it since 1.25; before, only TCP at this place (UDP: `_dns_udp_inline`)."""
    if not plan.shape.dns_chain:
        yield from _dns_redirects(plan, "ISTIO_OUTPUT", TCP)
        return
    yield draft("raw", "OUTPUT", jump("ISTIO_OUTPUT_DNS"))
    everything = plan.capture.capture_all_dns
    if everything or plan.servers() or (plan.shape.native and plan.resolvers):
        yield draft("nat", "ISTIO_OUTPUT", jump("ISTIO_OUTPUT_DNS"))
    yield from _dns_redirects(plan, "ISTIO_OUTPUT_DNS", TCP)
    yield from _dns_redirects(plan, "ISTIO_OUTPUT_DNS", UDP)
    yield from _zones(plan, "ISTIO_OUTPUT_DNS", "ISTIO_INBOUND")


def _dns_redirects(plan: Plan, chain: str, protocol: Clause) -> Iterator[Draft]:
    agent, port = Action("redirect", AGENT_DNS_PORT), yes("dport", DNS_PORT)
    if plan.capture.capture_all_dns:
        yield draft("nat", chain, agent, protocol, port)
        return
    for server in plan.servers():
        yield draft("nat", chain, agent, yes("dst", server), protocol, port)


def _dns_udp_inline(plan: Plan) -> Iterator[Draft]:
    """UDP before 1.25 (``HandleDNSUDP``): after everything else, in OUTPUT itself or (1.23, 1.24) in ISTIO_OUTPUT."""
    chain = "ISTIO_OUTPUT" if plan.shape.udp_through_output else "OUTPUT"
    port = yes("dport", DNS_PORT)
    for uid in split(plan.capture.proxy_uids):
        yield draft("nat", chain, RETURN, UDP, port, yes("uid", uid))
    for gid in split(plan.capture.proxy_gids):
        yield draft("nat", chain, RETURN, UDP, port, yes("gid", gid))
    if plan.shape.owner_groups:
        yield from _owner_groups(plan, "nat", chain, UDP, port)
    yield from _dns_redirects(plan, chain, UDP)
    if plan.shape.udp_through_output:
        yield draft("raw", "OUTPUT", jump("ISTIO_OUTPUT"), UDP)
        yield from _zones(plan, "ISTIO_OUTPUT", "PREROUTING")
    else:
        yield from _zones(plan, "OUTPUT", "PREROUTING")


def _zones(plan: Plan, outgoing: str, incoming: str) -> Iterator[Draft]:
    """Conntrack zones: 1 between agent and resolver, 2 between application and agent (``addDNSConntrackZones``)."""
    to_dns, from_agent = yes("dport", DNS_PORT), yes("sport", AGENT_DNS_PORT)
    upstream, downstream = Action("zone", "1"), Action("zone", "2")
    for uid in split(plan.capture.proxy_uids):
        yield draft("raw", outgoing, upstream, UDP, to_dns, yes("uid", uid))
        yield draft("raw", outgoing, downstream, UDP, from_agent, yes("uid", uid))
    for gid in split(plan.capture.proxy_gids):
        yield draft("raw", outgoing, upstream, UDP, to_dns, yes("gid", gid))
        yield draft("raw", outgoing, downstream, UDP, from_agent, yes("gid", gid))
    servers = plan.servers()
    everything = plan.capture.capture_all_dns
    if incoming != "PREROUTING" and (everything or servers or (plan.shape.native and plan.resolvers)):
        yield draft("raw", "PREROUTING", jump(incoming))
    if everything:
        yield draft("raw", outgoing, downstream, UDP, to_dns)
        yield draft("raw", incoming, upstream, UDP, yes("sport", DNS_PORT))
        return
    for server in servers:
        yield draft("raw", outgoing, downstream, UDP, to_dns, yes("dst", server))
        side: Literal["src", "dst"] = "src" if plan.shape.zones_by_source else "dst"
        yield draft("raw", incoming, upstream, UDP, yes("sport", DNS_PORT), yes(side, server))


def _tproxy_tail(plan: Plan) -> Iterator[Draft]:
    capture = plan.capture
    marked, out_lo, in_lo = yes("mark", capture.tproxy_mark), yes("out", "lo"), yes("in", "lo")
    yield draft("mangle", "PREROUTING", Action("save-mark"), TCP, marked)
    yield draft("mangle", "OUTPUT", RETURN, out_lo, TCP, marked)
    owners: list[Clause] = [yes("uid", uid) for uid in split(capture.proxy_uids)]
    owners += [yes("gid", gid) for gid in split(capture.proxy_gids)]
    for owner in owners:
        for version in plan.versions:
            elsewhere = no("dst", plan.loopback(version))
            yield draft("mangle", "OUTPUT", Action("mark", SELF_MARK), out_lo, TCP, elsewhere, owner)
    yield draft("mangle", "OUTPUT", Action("restore-mark"), TCP, yes("connmark", capture.tproxy_mark))
    yield at(1, draft("mangle", "ISTIO_INBOUND", RETURN, TCP, marked))
    for version in plan.versions:
        source = "127.0.0.6/32" if version == 4 else "::6/128"
        yield at(2, draft("mangle", "ISTIO_INBOUND", RETURN, in_lo, TCP, yes("src", source)))
    yield at(3, draft("mangle", "ISTIO_INBOUND", RETURN, in_lo, TCP, no("mark", SELF_MARK)))
