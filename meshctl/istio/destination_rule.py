"""DestinationRule: what the caller's side wants towards a host: subsets, TLS, load balancing.

Fields: ``networking/v1alpha3/destination_rule.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.locality import Balancing, balancing
from meshctl.istio.resource import Labels, Meta, by_age, exported, host_fits, labels_of, read, selects
from meshctl.kube.fields import Fields
from meshctl.kube.names import USUAL_DOMAIN


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS settings say of certificates: the names the callee's must have, and the file or Secret of the own.

    `sni` is the name that is asked for, empty where none is said.
    """

    names: tuple[str, ...] = ()
    own: str = ""
    sni: str = ""


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """TLS as asked for (`tls` empty: not said, so auto mTLS decides); `ports` are the port level settings.

    A port's settings replace the others as a whole: without TLS of their own none is said for it (`MergeTrafficPolicy`
    and ``GetPortLevelTrafficPolicy``, 1.12 to 1.30). `certificates` and `balancing` are by port, 0 for all others.
    `also` names what else is set, as it is called in the resource (``connectionPool``, ``outlierDetection`` ...).
    `upgrades`: HTTP/1.1 becomes HTTP/2 on some port (``h2UpgradePolicy``); None where nothing is said of it.
    """

    tls: str = ""
    load_balancer: str = ""
    ports: tuple[tuple[int, str], ...] = ()
    also: tuple[str, ...] = ()
    certificates: tuple[tuple[int, Certificates], ...] = ()
    balancing: tuple[tuple[int, Balancing], ...] = ()
    upgrades: bool | None = None

    def balancing_on(self, port: int) -> Balancing:
        """What is said of localities towards a port."""
        return dict(self.balancing).get(port if port in dict(self.ports) else 0, Balancing())

    def tls_on(self, port: int) -> str:
        """The TLS mode towards a port; empty where nothing is said."""
        return dict(self.ports).get(port, self.tls)

    def certificates_on(self, port: int) -> Certificates:
        """What is said of certificates where `tls_on` says the mode: a port's settings replace the others."""
        return dict(self.certificates).get(port if port in dict(self.ports) else 0, Certificates())


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of the host's endpoints."""

    name: str
    labels: Labels
    policy: TrafficPolicy | None


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """A DestinationRule; `host` in full; `selector`: only for callers with these labels, of its own namespace."""

    meta: Meta
    host: str
    policy: TrafficPolicy
    subsets: tuple[Subset, ...]
    export_to: tuple[str, ...]
    selector: Labels = ()

    def subset(self, name: str) -> Subset | None:
        """The subset of that name."""
        return next((subset for subset in self.subsets if subset.name == name), None)

    def tls_on(self, port: int, subset: str = "") -> str:
        """The TLS mode on a port: the subset's own, else the rule's; empty where neither says one."""
        return self._policy(port, subset).tls_on(port)

    def certificates_on(self, port: int, subset: str = "") -> Certificates:
        """What is said of certificates on a port, in the same place as the mode."""
        return self._policy(port, subset).certificates_on(port)

    def upgrades(self, subset: str = "") -> bool | None:
        """Whether HTTP/1.1 becomes HTTP/2: what the subset says, else the rule; None where neither says anything."""
        own = self._of_subset(subset)
        return self.policy.upgrades if own is None or own.upgrades is None else own.upgrades

    def balancing_on(self, port: int, subset: str = "") -> Balancing:
        """What is said of localities on a port, by the rule and by the subset."""
        own = self._of_subset(subset)
        return self.policy.balancing_on(port).with_subset(own.balancing_on(port) if own is not None else None)

    def _policy(self, port: int, subset: str) -> TrafficPolicy:
        """The policy that decides about TLS on a port: the subset's, where it says any or has settings for the port."""
        own = self._of_subset(subset)
        return own if own is not None and (own.tls or port in dict(own.ports)) else self.policy

    def _of_subset(self, name: str) -> TrafficPolicy | None:
        """The policy of its own that a subset has."""
        part = self.subset(name) if name else None
        return part.policy if part is not None else None


def parse(raw: Mapping[str, Any], source: str, index: int, domain: str = USUAL_DOMAIN) -> DestinationRule:
    """Read one DestinationRule."""
    meta, spec = read(raw, "DestinationRule", source, index, domain)
    subsets = tuple(
        Subset(
            subset.text("name"),
            tuple(sorted(subset.strings("labels").items())),
            _policy(subset.below("trafficPolicy")) if subset.has("trafficPolicy") else None,
        )
        for subset in spec.each("subsets")
    )
    host = meta.host(spec.text("host"))
    policy = _policy(spec.below("trafficPolicy"))
    selector = labels_of(spec.below("workloadSelector"))
    return DestinationRule(meta, host, policy, subsets, spec.texts("exportTo"), selector)


def _policy(policy: Fields) -> TrafficPolicy:
    tls = policy.below("tls")
    ports: list[tuple[int, str]] = []
    certificates, balances = [(0, _certificates(tls))], [(0, balancing(policy))]
    for entry in policy.each("portLevelSettings"):
        number = entry.below("port").number("number")
        if number is not None and number not in dict(ports):
            ports.append((number, _mode(entry.below("tls")) if entry.has("tls") else ""))
            certificates.append((number, _certificates(entry.below("tls"))))
            balances.append((number, balancing(entry)))
    balancer = policy.below("loadBalancer")
    also = tuple(key for key in policy.raw if key not in ("tls", "loadBalancer", "portLevelSettings"))
    kind = balancer.text("simple") or ", ".join(balancer.raw)
    said = tuple((number, one) for number, one in certificates if one != Certificates())
    weighed = tuple((number, one) for number, one in balances if one != Balancing())
    upgrades = _upgrades((policy, *policy.each("portLevelSettings")))
    return TrafficPolicy(_mode(tls) if policy.has("tls") else "", kind, tuple(ports), also, said, weighed, upgrades)


def _upgrades(policies: Iterable[Fields]) -> bool | None:
    """Whether one of them lets HTTP/1.1 become HTTP/2; None where none says anything (``DEFAULT``)."""
    told = {policy.below("connectionPool").below("http").text("h2UpgradePolicy") for policy in policies}
    told -= {"", "DEFAULT"}
    return "UPGRADE" in told if told else None


def _certificates(tls: Fields) -> Certificates:
    own = tls.text("clientCertificate") or tls.text("credentialName")
    return Certificates(tls.texts("subjectAltNames"), own, tls.text("sni"))


def _mode(tls: Fields) -> str:
    return tls.text("mode") or "DISABLE"


def rule_for(
    rules: tuple[DestinationRule, ...],
    host: str,
    caller_namespace: str,
    host_namespace: str,
    root_namespace: str,
    labels: Mapping[str, str] | None = None,
) -> DestinationRule | None:
    """The DestinationRule that Istio applies for a host: the caller's namespace, then the host's, then the root.

    Within a namespace the most specific host wins; several for one host count as one; one with a selector that fits
    the caller's `labels` wins alone. In its own namespace a rule counts whatever its exportTo says.
    Source: ``PushContext.destinationRule`` and ``mergeDestinationRule``, 1.30.
    """
    for namespace in dict.fromkeys((caller_namespace, host_namespace, root_namespace)):
        fitting = [
            rule
            for rule in rules
            if rule.meta.namespace == namespace
            and host_fits(rule.host, host)
            and (namespace == caller_namespace or exported(rule.export_to, namespace, caller_namespace))
        ]
        mine = [
            r
            for r in fitting
            if r.selector and r.meta.namespace == caller_namespace and selects(r.selector, labels or {})
        ]
        for found in (mine, [rule for rule in fitting if not rule.selector]):
            if found:
                best = max((not rule.host.startswith("*"), len(rule.host)) for rule in found)
                alike = [r for r in found if (not r.host.startswith("*"), len(r.host)) == best]
                return _merged(sorted(alike, key=lambda rule: by_age(rule.meta)))
    return None


def _merged(rules: Sequence[DestinationRule]) -> DestinationRule:
    """Several rules for one host as one: the subsets of all, and the first policy that says anything."""
    first = rules[0]
    subsets = {subset.name: subset for rule in reversed(rules) for subset in rule.subsets}
    policy = next((rule.policy for rule in rules if rule.policy != TrafficPolicy()), first.policy)
    return replace(first, subsets=tuple(subsets.values()), policy=policy) if len(rules) > 1 else first
