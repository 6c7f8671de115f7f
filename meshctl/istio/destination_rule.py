"""DestinationRule: what the caller's side wants towards a host: subsets, TLS, load balancing.

Fields: ``networking/v1alpha3/destination_rule.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.resource import Labels, Meta, exported, full_host, host_fits, read
from meshctl.kube.fields import Fields


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """TLS as asked for (`tls` empty: not said, so auto mTLS decides); `ports` are the port level settings.

    `also` names what else is set, as it is called in the resource (``connectionPool``, ``outlierDetection`` ...).
    """

    tls: str = ""
    sni: str = ""
    load_balancer: str = ""
    ports: tuple[tuple[int, str], ...] = ()
    also: tuple[str, ...] = ()

    def tls_on(self, port: int) -> str:
        """The TLS mode towards a port; empty where nothing is said."""
        return dict(self.ports).get(port) or self.tls


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of the host's endpoints."""

    name: str
    labels: Labels
    policy: TrafficPolicy | None


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """A DestinationRule; `host` in full."""

    meta: Meta
    host: str
    policy: TrafficPolicy
    subsets: tuple[Subset, ...]
    export_to: tuple[str, ...]

    def subset(self, name: str) -> Subset | None:
        """The subset of that name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


def parse(raw: Mapping[str, Any], source: str, index: int) -> DestinationRule:
    """Read one DestinationRule."""
    meta, spec = read(raw, "DestinationRule", source, index)
    subsets = tuple(
        Subset(
            subset.text("name"),
            tuple(sorted(subset.strings("labels").items())),
            _policy(subset.below("trafficPolicy")) if subset.has("trafficPolicy") else None,
        )
        for subset in spec.each("subsets")
    )
    host = full_host(spec.text("host"), meta.namespace)
    return DestinationRule(meta, host, _policy(spec.below("trafficPolicy")), subsets, spec.texts("exportTo"))


def _policy(policy: Fields) -> TrafficPolicy:
    tls = policy.below("tls")
    ports = []
    for entry in policy.each("portLevelSettings"):
        number = entry.below("port").number("number")
        if number is not None and entry.has("tls"):
            ports.append((number, _mode(entry.below("tls"))))
    balancer = policy.below("loadBalancer")
    also = tuple(key for key in policy.raw if key not in ("tls", "loadBalancer", "portLevelSettings"))
    kind = balancer.text("simple") or ", ".join(balancer.raw)
    return TrafficPolicy(_mode(tls) if policy.has("tls") else "", tls.text("sni"), kind, tuple(ports), also)


def _mode(tls: Fields) -> str:
    return tls.text("mode") or "DISABLE"


def rule_for(
    rules: tuple[DestinationRule, ...], host: str, caller_namespace: str, host_namespace: str, root_namespace: str
) -> DestinationRule | None:
    """The DestinationRule that Istio applies for a host: the caller's namespace, then the host's, then the root.

    Within a namespace the most specific host wins. Source: ``PushContext.destinationRule``, 1.30.
    """
    for namespace in dict.fromkeys((caller_namespace, host_namespace, root_namespace)):
        fitting = [
            rule
            for rule in rules
            if rule.meta.namespace == namespace
            and host_fits(rule.host, host)
            and exported(rule.export_to, namespace, caller_namespace)
        ]
        if fitting:
            return max(fitting, key=lambda rule: (not rule.host.startswith("*"), len(rule.host)))
    return None
