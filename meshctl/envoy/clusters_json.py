"""What a proxy knows about its endpoints at a moment: ``/clusters?format=json``."""

from collections.abc import Mapping

from meshctl import json_text
from meshctl.envoy import addresses
from meshctl.envoy.model.basics import Address
from meshctl.envoy.model.clusters import Health
from meshctl.envoy.reading import Json
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.origin import Origin

_CHECKS = {
    "failed_outlier_check": "ejected as an outlier",
    "failed_active_health_check": "its health check fails",
    "pending_dynamic_removal": "about to be removed",
    "pending_active_hc": "its first health check is not done",
    "active_hc_timeout": "its health check timed out",
}
_DEGRADED = "failed_active_degraded_check"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """One host of a cluster as the proxy sees it now."""

    address: Address
    hostname: str = ""
    health: Health = "healthy"
    because: str = ""
    weight: int = 1
    priority: int = 0
    locality: str = ""
    counters: Mapping[str, int]
    origin: Origin


@dataclass(frozen=True, slots=True)
class ClusterHosts:
    """A cluster's hosts as the proxy sees them now."""

    name: str
    hosts: tuple[HostStatus, ...]
    origin: Origin


def parse(content: bytes | str, source: str) -> Mapping[str, ClusterHosts]:
    """Read ``/clusters?format=json``: the hosts by the name of their cluster; BadInput where it is something else."""
    return {name: hosts(each) for name, each in statuses(content, source).items()}


def statuses(content: bytes | str, source: str) -> dict[str, Json]:
    """The same, with each cluster left unread for `hosts`."""
    try:
        document = json_text.loads(content)
    except ValueError as error:
        raise BadInput(f"{source}: not valid JSON: {error}") from error
    if not isinstance(document, dict) or not ({"cluster_statuses", "clusterStatuses"} & set(document) or not document):
        raise BadInput(f"{source}: not a list of clusters: it has no 'cluster_statuses'")
    return {each.text("name"): each for each in Json(document, source).each("cluster_statuses")}


def hosts(message: Json) -> ClusterHosts:
    """Read what is said of one cluster."""
    found = tuple(host for each in message.each("host_statuses") if (host := _host(each)) is not None)
    return ClusterHosts(message.text("name"), found, message.origin)


def _host(message: Json) -> HostStatus | None:
    address = addresses.address(message.below("address"))
    if address is None:
        return None
    health = message.below("health_status")
    told = health.choice("eds_health_status", "UNKNOWN")
    reasons = [words for key, words in _CHECKS.items() if health.flag(key)]
    if told in ("UNHEALTHY", "DRAINING", "TIMEOUT"):
        reasons.append(f"EDS says {told}")
    degraded = health.flag(_DEGRADED) or told == "DEGRADED"
    return HostStatus(
        address=address,
        hostname=message.text("hostname"),
        health="unhealthy" if reasons else "degraded" if degraded else "healthy",
        because=", ".join(reasons),
        weight=message.whole("weight", 1),
        priority=message.whole("priority"),
        locality=addresses.locality(message.below("locality")),
        counters={s.text("name"): s.whole("value") for s in message.each("stats")},
        origin=message.origin,
    )
