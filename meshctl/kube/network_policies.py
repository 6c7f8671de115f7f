"""NetworkPolicies as networking/v1 has them: whom they isolate, in which direction, and what they let through."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.selectors import Selector, selector
from meshctl.origin import Origin

Direction: TypeAlias = Literal["Ingress", "Egress"]


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """Ports that a rule is about: `first` to `last`, or those of the `name` that the called pod gives it; else all."""

    protocol: str = "TCP"
    first: int | None = None
    last: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses (``ipBlock``): those of `cidr` without those of `excepted`."""

    cidr: IPv4Network | IPv6Network
    excepted: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPeer:
    """The other ends that a rule is about: a block of addresses, or pods; without `namespaces` the policy's own."""

    pods: Selector | None = None
    namespaces: Selector | None = None
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """What one rule lets through; no peers: everybody, no ports: every port."""

    origin: Origin
    peers: tuple[PolicyPeer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """One policy; `flaw` says what of it cannot be read, empty for nothing."""

    namespace: str
    name: str
    origin: Origin
    pods: Selector
    directions: tuple[str, ...]
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    flaw: str = ""

    def __str__(self) -> str:
        return f"NetworkPolicy {self.namespace}/{self.name}"

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """Its rules for a direction."""
        return self.ingress if direction == "Ingress" else self.egress


@dataclass(frozen=True, slots=True)
class NetworkPolicies:
    """A namespace's policies; `gap` says why some may be missing, empty where none is known to be."""

    policies: tuple[NetworkPolicy, ...] = ()
    gap: str = ""


def read(raws: Sequence[Mapping[str, Any]], source: str) -> tuple[NetworkPolicy, ...]:
    """Read policies; a field of the wrong type counts as absent, and the policy says so.

    Without ``policyTypes`` one is about Ingress, and about Egress where it has such rules (networking/v1 defaults).
    """
    return tuple(_policy(raw, source, index) for index, raw in enumerate(raws))


def _policy(raw: Mapping[str, Any], source: str, index: int) -> NetworkPolicy:
    flaws: list[Flaw] = []
    top = Fields(raw, f"items[{index}]", flaws)
    meta, spec = top.below("metadata"), top.below("spec")
    namespace, name = meta.text("namespace"), meta.text("name")
    place = Origin(source, path=spec.path, text=f"NetworkPolicy {namespace}/{name}")
    ingress = tuple(_rule(rule, "from", place) for rule in spec.each("ingress"))
    egress = tuple(_rule(rule, "to", place) for rule in spec.each("egress"))
    directions = spec.texts("policyTypes") or ("Ingress", *(("Egress",) if egress else ()))
    pods = selector(spec.below("podSelector"))
    flaw = f"{flaws[0].path} {flaws[0].problem}" if flaws else ""
    return NetworkPolicy(namespace, name, place, pods, directions, ingress, egress, flaw)


def _rule(raw: Fields, whom: str, policy: Origin) -> PolicyRule:
    peers = tuple(_peer(peer) for peer in raw.each(whom))
    return PolicyRule(replace(policy, path=raw.path), peers, tuple(_port(port) for port in raw.each("ports")))


def _peer(raw: Fields) -> PolicyPeer:
    pods = selector(raw.below("podSelector")) if raw.has("podSelector") else None
    namespaces = selector(raw.below("namespaceSelector")) if raw.has("namespaceSelector") else None
    return PolicyPeer(pods, namespaces, _block(raw.below("ipBlock")) if raw.has("ipBlock") else None)


def _block(raw: Fields) -> Block | None:
    try:
        cidr = ip_network(raw.text("cidr"), strict=False)
        return Block(cidr, tuple(ip_network(text, strict=False) for text in raw.texts("except")))
    except ValueError:
        raw.wrong(raw.path, "a block of addresses", dict(raw.raw))
        return None


def _port(raw: Fields) -> PolicyPort:
    protocol = raw.text("protocol") or "TCP"
    if isinstance(raw.raw.get("port"), str):
        return PolicyPort(protocol, name=raw.text("port"))
    first = raw.number("port")
    return PolicyPort(protocol, first, raw.number("endPort") or first)
