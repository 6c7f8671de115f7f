"""Where a cluster sends a request: which hosts may get it, how likely, and over which transport.

Source: Envoy, "Load balancing: priority levels, panic threshold" and "Transport socket matches".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from meshctl.envoy import balance
from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model.basics import Address, Opaque
from meshctl.envoy.model.clusters import Cluster, Endpoint, Subsets
from meshctl.envoy.model.routes import HashPolicy
from meshctl.envoy.model.sockets import TransportSocket
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass

Live = Mapping[str, ClusterHosts]


@dataclass(frozen=True, slots=True)
class Host:
    """A host that may get the request, its share of the cluster's requests (0..1), and the transport to it."""

    endpoint: Endpoint
    share: float
    socket: TransportSocket
    socket_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What becomes of a request that a route sends to a cluster.

    ``ok``: one of `hosts` gets it. ``no-cluster`` (flag NC) and ``no-host`` (flag UH): the proxy answers 503, or
    closes a TCP connection; ``overflow`` (UO; ``gives-up``, URX, for TCP): its circuit breakers let nothing through;
    ``dropped`` (UDO): all is to be dropped. ``unresolved``: the hosts are DNS names, whose addresses the dump does not
    hold. ``undecided``: see `because`. `out` are hosts that get nothing now, each with its reason. `panic`: too few are
    healthy, so health is ignored. `by_hash` is what of the request chooses among `hosts`: the same of it gets the
    same host again; empty where chance chooses.
    """

    name: str
    cluster: Cluster | None
    verdict: Literal["ok", "no-cluster", "no-host", "overflow", "gives-up", "dropped", "unresolved", "undecided"]
    because: str
    hosts: tuple[Host, ...] = ()
    out: tuple[Endpoint, ...] = ()
    panic: bool = False
    live: bool = False
    by_hash: str = ""

    @property
    def flags(self) -> str | None:
        """The response flag that the client's proxy logs where no host gets the request."""
        return _FLAGS.get(self.verdict)

    @property
    def details(self) -> str:
        """``RESPONSE_CODE_DETAILS`` of that answer."""
        return _DETAILS.get(self.verdict, "")


_FLAGS = {"no-cluster": "NC", "no-host": "UH", "overflow": "UO", "gives-up": "URX", "dropped": "UDO"}
_DETAILS = {
    "no-cluster": "cluster_not_found",
    "no-host": "no_healthy_upstream",
    "overflow": "upstream_reset_before_response_started{overflow}",
    "dropped": "unconditional_drop_overload",
}


def choose(
    dump: ConfigDump,
    name: str,
    *,
    destination: Address | None = None,
    criteria: Mapping[str, object] | None = None,
    live: Live | None = None,
    redirected: bool = True,
) -> Upstream:
    """The hosts of a cluster for one request.

    `destination` is the original destination (for ORIGINAL_DST clusters; None is not known, or, where the connection
    was not `redirected`, that there is none), `criteria` a route's ``metadata_match``, `live` what ``/clusters`` said:
    then health and addresses are those of that moment.
    """
    cluster = dump.cluster(name)
    if cluster is None or cluster.status.state == "warming":
        if not dump.has("Clusters"):
            return Upstream(name=name, cluster=None, verdict="undecided", because="the dump has no clusters")
        missing = f"the proxy has no cluster {name}" if name else "the header that names the cluster is not there"
        why = "it is still warming" if cluster is not None else missing
        return Upstream(name=name, cluster=cluster, verdict="no-cluster", because=why)
    if cluster.type == "ORIGINAL_DST":
        return _original(cluster, destination, redirected)
    if cluster.members:
        return _aggregate(dump, cluster, live)
    if cluster.opaque is not None:
        return Upstream(
            name=name, cluster=cluster, verdict="undecided", because=f"{cluster.opaque.text} is not modelled"
        )
    endpoints = dump.endpoints(cluster)
    seen = live.get(name) if live is not None else None
    if seen is not None:
        endpoints = as_seen(endpoints or (), seen)
    elif endpoints is None:
        return Upstream(name=name, cluster=cluster, verdict="undecided", because=_no_endpoints(cluster))
    return _balanced(dump, cluster, endpoints, criteria or {}, seen is not None)


def _no_endpoints(cluster: Cluster) -> str:
    if cluster.type == "EDS":
        return "the dump has no endpoints (it was made without include_eds)"
    return f"the dump has no endpoints of this {cluster.type} cluster"


def _original(cluster: Cluster, destination: Address | None, redirected: bool) -> Upstream:
    if destination is None and not redirected:
        why = "the connection was not redirected, so it has no original destination"
        return Upstream(name=cluster.name, cluster=cluster, verdict="no-host", because=why)
    if destination is None:
        return Upstream(
            name=cluster.name, cluster=cluster, verdict="undecided", because="the original destination is not known"
        )
    place = replace(destination, port=cluster.port_override) if cluster.port_override else destination
    host = Host(Endpoint(address=place, origin=cluster.origin), 1.0, cluster.socket.get())
    because = f"it goes to its original destination {place}"
    return Upstream(name=cluster.name, cluster=cluster, verdict="ok", because=because, hosts=(host,))


def as_seen(endpoints: Sequence[Endpoint], seen: ClusterHosts) -> tuple[Endpoint, ...]:
    """Endpoints with the health, weight and place of that moment; what EDS says about metadata stays."""
    known = {str(e.address): e for e in endpoints}
    by_name = {e.address.host: e for e in endpoints}
    found = []
    for host in seen.hosts:
        base = (
            known.get(str(host.address))
            or by_name.get(host.hostname)
            or (endpoints[0] if len(endpoints) == 1 else None)
        )
        base = base or Endpoint(address=host.address, origin=host.origin)
        found.append(
            replace(
                base,
                address=host.address,
                hostname=host.hostname or base.hostname,
                health=host.health,
                because=host.because,
                weight=host.weight,
                priority=host.priority,
                origin=host.origin,
            )
        )
    return tuple(found)


def _balanced(
    dump: ConfigDump, cluster: Cluster, endpoints: Sequence[Endpoint], criteria: Mapping[str, object], live: bool
) -> Upstream:
    chosen: Sequence[Endpoint] = endpoints
    if cluster.subsets is not None:
        if cluster.subsets.opaque is not None:
            why = f"{cluster.subsets.opaque.text} is not modelled"
            return Upstream(name=cluster.name, cluster=cluster, verdict="undecided", because=why, live=live)
        chosen = _subset(cluster.subsets, endpoints, criteria)
    if not chosen:
        why = "it has no endpoints" if not endpoints else "no endpoint is in the subset that the route asks for"
        return Upstream(name=cluster.name, cluster=cluster, verdict="no-host", because=why, live=live)
    rule = dump.balance(cluster)
    if rule.drop_share:
        return _dropping(cluster, rule.drop_share, live)
    found = balance.levels(chosen)
    loads = balance.loads(found, rule.overprovisioning, cluster.panic_percent)
    parts = [_Part(cluster, level, load, rule.overprovisioning) for level, load in zip(found, loads, strict=True)]
    return _shared_out(cluster, parts, live)


def _dropping(cluster: Cluster, share: float, live: bool) -> Upstream:
    why = f"{share:.4g} of its requests are dropped (drop_overloads)"
    verdict: Literal["dropped", "undecided"] = "dropped" if share >= 1 else "undecided"
    return Upstream(name=cluster.name, cluster=cluster, verdict=verdict, because=why, live=live)


@dataclass(frozen=True, slots=True)
class _Part:
    """The hosts of one priority of a cluster, and what they get."""

    cluster: Cluster
    level: balance.Level
    load: balance.Load
    factor: int

    def hosts(self) -> list[tuple[Host, Endpoint]]:
        cluster = self.cluster
        shares = balance.within(
            self.level,
            self.load,
            self.factor,
            fails_in_panic=cluster.fails_in_panic,
            locality_weighted=cluster.locality_weighted and cluster.subsets is None,
        )
        return [(Host(e, share, *socket(cluster, e)), e) for e, share in zip(self.level, shares, strict=True)]


def _shared_out(cluster: Cluster, parts: Sequence[_Part], live: bool) -> Upstream:
    every = [pair for part in parts for pair in part.hosts()]
    hosts = tuple(host for host, _ in every if host.share)
    out = tuple(endpoint for host, endpoint in every if not host.share)
    panic = any(part.load.panic and part.load.healthy for part in parts)
    if not hosts:
        none = f"none of its {len(every)} endpoints is" if len(every) > 1 else "its only endpoint is not"
        why = f"{none} healthy" if every else "it has no endpoints"
        return Upstream(name=cluster.name, cluster=cluster, verdict="no-host", because=why, out=out, live=live)
    names = not live and any(part.cluster.type in ("STRICT_DNS", "LOGICAL_DNS") for part in parts)
    because = f"{len(hosts)} of {len(every)} endpoints may get it" + (", health ignored (panic)" if panic else "")
    if names:
        because = f"it resolves {', '.join(dict.fromkeys(h.endpoint.address.host for h in hosts))} by DNS"
    return Upstream(
        name=cluster.name,
        cluster=cluster,
        verdict="unresolved" if names else "ok",
        because=because,
        hosts=hosts,
        out=out,
        panic=panic,
        live=live,
    )


def _aggregate(dump: ConfigDump, cluster: Cluster, live: Live | None) -> Upstream:
    """The priorities of all members, one member after the other; each balances its own (Envoy, clusters/aggregate)."""

    def undecided(why: str) -> Upstream:
        return Upstream(name=cluster.name, cluster=cluster, verdict="undecided", because=why)

    parts: list[_Part] = []
    for name in cluster.members:
        member = dump.cluster(name)
        if member is None or member.status.state == "warming":
            continue
        seen = live.get(name) if live is not None else None
        endpoints = dump.endpoints(member) if seen is None else as_seen(dump.endpoints(member) or (), seen)
        odd = member.opaque or (Opaque("a cluster of clusters") if member.members else None)
        if odd is not None or endpoints is None or member.subsets is not None or member.type == "ORIGINAL_DST":
            return undecided(f"its member {name} cannot be followed ({odd.text if odd else 'its hosts are not known'})")
        rule = dump.balance(member)
        found = balance.levels(endpoints)
        loads = balance.loads(found, rule.overprovisioning, member.panic_percent)
        parts += [_Part(member, level, load, rule.overprovisioning) for level, load in zip(found, loads, strict=True)]
    shares = balance.loads([part.level for part in parts], balance.FACTOR, cluster.panic_percent)
    parts = [
        replace(part, load=replace(share, panic=part.load.panic)) for part, share in zip(parts, shares, strict=True)
    ]
    return _shared_out(cluster, parts, live is not None and all(part.cluster.name in live for part in parts))


def _subset(subsets: Subsets, endpoints: Sequence[Endpoint], criteria: Mapping[str, object]) -> Sequence[Endpoint]:
    """The endpoints with a route's metadata, else those of the fallback (config/cluster/v3, ``LbSubsetConfig``)."""
    keys = tuple(sorted(criteria))
    policy, fewer = subsets.selectors.get(keys, ("NOT_DEFINED", ()))
    if criteria and keys in subsets.selectors:
        fits = [e for e in endpoints if _in_subset(e.subset, criteria, subsets.list_as_any)]
        if fits:
            return fits
    match subsets.fallback if policy == "NOT_DEFINED" else policy:
        case "ANY_ENDPOINT":
            return endpoints
        case "DEFAULT_SUBSET":
            return [e for e in endpoints if has_all(e.subset, subsets.default)]
        case "KEYS_SUBSET" if fewer != keys:
            return _subset(subsets, endpoints, {key: criteria[key] for key in fewer if key in criteria})
    return ()


def _in_subset(metadata: Mapping[str, object], criteria: Mapping[str, object], list_as_any: bool) -> bool:
    def fits(found: object, wanted: object) -> bool:
        return found == wanted or (list_as_any and isinstance(found, list) and wanted in found)

    return all(key in metadata and fits(metadata[key], value) for key, value in criteria.items())


def has_all(metadata: Mapping[str, object], criteria: Mapping[str, object]) -> bool:
    """Whether metadata has every key with the same value."""
    return all(key in metadata and metadata[key] == value for key, value in criteria.items())


def socket(cluster: Cluster, endpoint: Endpoint) -> tuple[TransportSocket, str]:
    """The transport to an endpoint, and the name of the match that chose it: the first that fits its metadata."""
    for match in cluster.socket_matches.get():
        if has_all(endpoint.socket_match, match.criteria):
            return match.socket, match.name
    return cluster.socket.get(), ""


def hashed_by(cluster: Cluster | None, policies: Sequence[HashPolicy], request: Request) -> str:
    """What of the request chooses the host where a cluster balances by hashes; empty where chance does.

    Source: Envoy, ``HashPolicyImpl::generateHash``: what is there of all policies counts, and without any of it each
    request goes where it may.
    """
    if cluster is None or cluster.policy not in ("RING_HASH", "MAGLEV"):
        return ""
    if any(policy.kind == "something else" for policy in policies):
        return ""
    if any(policy.made and not request.cookie(policy.name) for policy in policies):
        return ""  # a new cookie for each such request
    return " and ".join(str(policy) for policy in policies if _there(policy, request))


def _there(policy: HashPolicy, request: Request) -> bool:
    match policy.kind:
        case "header":
            return bool(request.values(policy.name))
        case "cookie":
            return bool(request.cookie(policy.name))
        case "query parameter":
            return bool(request.query(policy.name))
        case _:
            return True
