"""How a load balancer shares requests out: among priorities by their health, within one among localities and hosts.

Source: Envoy, ``source/extensions/load_balancing_policies/common/load_balancer_impl.cc`` (``LoadBalancerBase``) and
``HostSetImpl::effectiveLocalityWeight``; it counts in whole percents, and so does this.
"""

from collections.abc import Sequence

from meshctl.envoy.model.clusters import Endpoint
from meshctl.frozen import dataclass

FACTOR = 140
"""The overprovisioning factor where nothing is said, in percent."""
Level = Sequence[Endpoint]
"""The hosts of one priority."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one priority gets, in percent: by its healthy hosts, and by degraded ones; in `panic`: by any host."""

    healthy: int = 0
    degraded: int = 0
    panic: bool = False


def levels(endpoints: Sequence[Endpoint]) -> list[list[Endpoint]]:
    """Endpoints by priority, empty ones between included."""
    most = max((e.priority for e in endpoints), default=-1)
    return [[e for e in endpoints if e.priority == priority] for priority in range(most + 1)]


def loads(found: Sequence[Level], factor: int, panic_percent: float) -> list[Load]:
    """What each priority gets; `factor` is the overprovisioning factor in percent."""
    healthy = [_availability(level, "healthy", factor) for level in found]
    degraded = [_availability(level, "degraded", factor) for level in found]
    total = min(100, sum(healthy) + sum(degraded))
    panic = [total < 100 and _usable_percent(level) < panic_percent for level in found]
    if total == 0 and panic_percent == 0:
        return [Load(100 if place == 0 else 0) for place in range(len(found))]
    if all(panic):
        return [Load(share, panic=True) for share in _by_size(found)]
    first = _distributed(healthy, 100, total)
    second = _distributed(degraded, 100 - sum(first), total)
    rest = 100 - sum(first) - sum(second)
    for shares in (first, second):
        place = next((i for i, share in enumerate(shares) if share), None)
        if place is not None:
            shares[place] += rest
            break
    return [Load(*each) for each in zip(first, second, panic, strict=True)]


def _availability(level: Level, health: str, factor: int) -> int:
    fit = sum((e.health if e.health == "degraded" else _word(e)) == health for e in level)
    return min(100, factor * fit // len(level)) if level else 0


def _word(endpoint: Endpoint) -> str:
    return "unhealthy" if endpoint.health == "unhealthy" else "healthy"


def _usable_percent(level: Level) -> float:
    return 100.0 * sum(e.health != "unhealthy" for e in level) / len(level) if level else 0.0


def _distributed(availability: Sequence[int], left: int, total: int) -> list[int]:
    found = []
    for each in availability:
        share = min(left, each * 100 // total) if total else 0
        found.append(share)
        left -= share
    return found


def _by_size(found: Sequence[Level]) -> list[int]:
    """In total panic: by how many hosts a priority has."""
    count = sum(map(len, found))
    if not count:
        return [100 if place == 0 else 0 for place in range(len(found))]
    shares = [100 * len(level) // count for level in found]
    shares[next(i for i, level in enumerate(found) if level)] += 100 - sum(shares)
    return shares


def within(level: Level, load: Load, factor: int, *, fails_in_panic: bool, locality_weighted: bool) -> list[float]:
    """The share (0..1 of all requests) of each host of a priority."""
    if load.panic:
        return _spread(level, range(len(level)), 0 if fails_in_panic else load.healthy)
    healthy = [i for i, e in enumerate(level) if _word(e) == "healthy" and e.health != "degraded"]
    degraded = [i for i, e in enumerate(level) if e.health == "degraded"]
    parts = ((healthy, load.healthy), (degraded, load.degraded))
    spread = _by_locality if locality_weighted else lambda level, usable, percent, _: _spread(level, usable, percent)
    found = [spread(level, usable, percent, factor) for usable, percent in parts]
    return [sum(shares) for shares in zip(*found, strict=True)]


def _spread(level: Level, usable: Sequence[int], percent: float) -> list[float]:
    shares = [0.0] * len(level)
    total = sum(max(1, level[i].weight) for i in usable)
    for i in usable:
        shares[i] = percent / 100 * max(1, level[i].weight) / total
    return shares


def _by_locality(level: Level, usable: Sequence[int], percent: float, factor: int) -> list[float]:
    """Localities by their weight and how much of each is usable; one without a weight gets nothing."""
    places = dict.fromkeys(e.locality for e in level)
    weights = {}
    for place in places:
        all_of = [e for e in level if e.locality == place]
        fit = sum(level[i].locality == place for i in usable)
        weights[place] = (all_of[0].locality_weight or 0) * min(1.0, factor / 100 * fit / len(all_of))
    total = sum(weights.values())
    if not total:
        return _spread(level, usable, percent)
    found = [0.0] * len(level)
    for place, weight in weights.items():
        mine = [i for i in usable if level[i].locality == place]
        found = [a + b for a, b in zip(found, _spread(level, mine, percent * weight / total), strict=True)]
    return found
