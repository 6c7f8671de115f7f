"""Where a cluster sends a request: which hosts may get it, how likely, and over which transport.

Source: Envoy, "Load balancing: priority levels, panic threshold" and "Transport socket matches".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model import Address, Cluster, Endpoint, Subsets, TransportSocket
from meshctl.frozen import dataclass

Live = Mapping[str, ClusterHosts]
OVERPROVISIONING = 1.4


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
    closes a TCP connection. ``unresolved``: the hosts are DNS names, whose addresses the dump does not hold.
    ``undecided``: see `because`. `out` are hosts that get nothing now, each with its reason. `panic`: too few are
    healthy, so health is ignored.
    """

    name: str
    cluster: Cluster | None
    verdict: Literal["ok", "no-cluster", "no-host", "unresolved", "undecided"]
    because: str
    hosts: tuple[Host, ...] = ()
    out: tuple[Endpoint, ...] = ()
    panic: bool = False
    live: bool = False

    @property
    def flags(self) -> str | None:
        """The response flag that the client's proxy logs where no host gets the request."""
        return {"no-cluster": "NC", "no-host": "UH"}.get(self.verdict)

    @property
    def details(self) -> str:
        """``RESPONSE_CODE_DETAILS`` of that answer."""
        return {"no-cluster": "cluster_not_found", "no-host": "no_healthy_upstream"}.get(self.verdict, "")


def choose(
    dump: ConfigDump,
    name: str,
    *,
    destination: Address | None = None,
    criteria: Mapping[str, object] | None = None,
    live: Live | None = None,
) -> Upstream:
    """The hosts of a cluster for one request.

    `destination` is the original destination (for ORIGINAL_DST clusters), `criteria` a route's ``metadata_match``,
    `live` what ``/clusters`` said: then health and addresses are those of that moment.
    """
    cluster = dump.cluster(name)
    if cluster is None or cluster.status.state == "warming":
        if not dump.has("Clusters"):
            return Upstream(name=name, cluster=None, verdict="undecided", because="the dump has no clusters")
        why = "it is still warming" if cluster is not None else "the proxy has no cluster of this name"
        return Upstream(name=name, cluster=cluster, verdict="no-cluster", because=why)
    if cluster.type == "ORIGINAL_DST":
        return _original(cluster, destination)
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
    return _balanced(cluster, endpoints, criteria or {}, seen is not None)


def _no_endpoints(cluster: Cluster) -> str:
    if cluster.type == "EDS":
        return "the dump has no endpoints (it was made without include_eds)"
    return f"the dump has no endpoints of this {cluster.type} cluster"


def _original(cluster: Cluster, destination: Address | None) -> Upstream:
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


def _balanced(cluster: Cluster, endpoints: Sequence[Endpoint], criteria: Mapping[str, object], live: bool) -> Upstream:
    chosen: Sequence[Endpoint] | None = endpoints
    if cluster.subsets is not None:
        if cluster.subsets.opaque is not None:
            why = f"{cluster.subsets.opaque.text} of its subsets is not modelled"
            return Upstream(name=cluster.name, cluster=cluster, verdict="undecided", because=why, live=live)
        chosen = _subset(cluster.subsets, endpoints, criteria)
    if not chosen:
        why = "it has no endpoints" if not endpoints else "no endpoint is in the subset that the route asks for"
        return Upstream(name=cluster.name, cluster=cluster, verdict="no-host", because=why, live=live)
    shares, panic = _shares(chosen, cluster.panic_percent)
    out = tuple(e for e, share in zip(chosen, shares, strict=True) if share == 0)
    hosts = tuple(
        Host(endpoint, share, *socket(cluster, endpoint))
        for endpoint, share in zip(chosen, shares, strict=True)
        if share
    )
    if not hosts:
        why = f"none of its {len(chosen)} endpoints is healthy"
        return Upstream(name=cluster.name, cluster=cluster, verdict="no-host", because=why, out=out, live=live)
    names = cluster.type in ("STRICT_DNS", "LOGICAL_DNS") and not live
    because = f"{len(hosts)} of {len(chosen)} endpoints may get it" + (", health ignored (panic)" if panic else "")
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


def _subset(subsets: Subsets, endpoints: Sequence[Endpoint], criteria: Mapping[str, object]) -> Sequence[Endpoint]:
    """The endpoints with a route's metadata, else those of the fallback (config/cluster/v3, ``LbSubsetConfig``)."""
    if criteria and tuple(sorted(criteria)) in subsets.selectors:
        fits = [e for e in endpoints if has_all(e.subset, criteria)]
        if fits:
            return fits
    if subsets.fallback == "ANY_ENDPOINT":
        return endpoints
    if subsets.fallback == "DEFAULT_SUBSET":
        return [e for e in endpoints if has_all(e.subset, subsets.default)]
    return ()


def has_all(metadata: Mapping[str, object], criteria: Mapping[str, object]) -> bool:
    """Whether metadata has every key with the same value."""
    return all(key in metadata and metadata[key] == value for key, value in criteria.items())


def socket(cluster: Cluster, endpoint: Endpoint) -> tuple[TransportSocket, str]:
    """The transport to an endpoint, and the name of the match that chose it: the first that fits its metadata."""
    for match in cluster.socket_matches.get():
        if has_all(endpoint.socket_match, match.criteria):
            return match.socket, match.name
    return cluster.socket.get(), ""


def _shares(endpoints: Sequence[Endpoint], panic_percent: float) -> tuple[list[float], bool]:
    """Each endpoint's share of requests: priorities by their health, hosts of a priority by weight."""
    levels = sorted({e.priority for e in endpoints})
    health = {level: _availability([e for e in endpoints if e.priority == level]) for level in levels}
    total = min(1.0, sum(health.values()))
    panic = total < 1.0 and _percent_healthy(endpoints) < panic_percent
    shares = dict.fromkeys(range(len(endpoints)), 0.0)
    left = 1.0
    for level in levels:
        load = health[level] / total if total > 0 and sum(health.values()) < 1.0 else min(left, health[level])
        if panic:
            load = sum(e.priority == level for e in endpoints) / len(endpoints)
        left -= load
        usable = [i for i, e in enumerate(endpoints) if e.priority == level and (panic or e.health != "unhealthy")]
        healthy = [i for i in usable if panic or endpoints[i].health != "degraded"] or usable
        weights = sum(max(1, endpoints[i].weight) for i in healthy)
        for i in healthy:
            shares[i] = max(0.0, load) * max(1, endpoints[i].weight) / weights
    return [shares[i] for i in range(len(endpoints))], panic


def _availability(level: Sequence[Endpoint]) -> float:
    healthy = sum(e.health != "unhealthy" for e in level)
    return min(1.0, OVERPROVISIONING * healthy / len(level))


def _percent_healthy(endpoints: Sequence[Endpoint]) -> float:
    return 100.0 * sum(e.health != "unhealthy" for e in endpoints) / len(endpoints)
