"""How requests are shared among regions and zones: ``localityLbSetting`` and ``outlierDetection``.

Fields: ``networking/v1alpha3/destination_rule.proto`` (istio.io/api, 1.30), for the whole mesh ``MeshConfig``.
"""

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields

Shares = tuple[tuple[str, int], ...]
"""Patterns of localities (``region/zone/*``) with the weight of each."""


@dataclass(frozen=True, slots=True)
class LocalitySetting:
    """A ``localityLbSetting``: `distribute` by the caller's locality, `failover` by its region, `priority` by labels.

    `failover` and `priority` count with outlierDetection only.
    """

    enabled: bool | None = None
    distribute: tuple[tuple[str, Shares], ...] = ()
    failover: tuple[tuple[str, str], ...] = ()
    priority: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Balancing:
    """What a policy says that bears on localities; `balances`: it has a ``loadBalancer`` at all."""

    outliers: bool = False
    balances: bool = False
    locality: LocalitySetting | None = None

    def with_subset(self, subset: "Balancing | None") -> "Balancing":
        """This with what a subset says instead (``MergeSubsetTrafficPolicy``)."""
        if subset is None:
            return self
        own = subset if subset.balances else self
        return Balancing(self.outliers or subset.outliers, own.balances, own.locality)


def balancing(policy: Fields) -> Balancing:
    """Read what a traffic policy, or one of a port, says."""
    balancer = policy.below("loadBalancer")
    found = setting(balancer.below("localityLbSetting")) if balancer.has("localityLbSetting") else None
    return Balancing(policy.has("outlierDetection"), policy.has("loadBalancer"), found)


def setting(said: Fields) -> LocalitySetting:
    """Read a ``localityLbSetting``."""
    return LocalitySetting(
        said.flag("enabled"),
        tuple((one.text("from"), _shares(one.below("to"))) for one in said.each("distribute")),
        tuple((one.text("from"), one.text("to")) for one in said.each("failover")),
        said.texts("failoverPriority"),
    )


def _shares(to: Fields) -> Shares:
    return tuple((place, weight) for place in map(str, to.raw) if (weight := to.number(place)) is not None)
