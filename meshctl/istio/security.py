"""PeerAuthentication, AuthorizationPolicy, RequestAuthentication: what the callee's side demands.

Fields: ``security/v1beta1/*.proto`` and ``type/v1beta1/selector.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from meshctl.frozen import dataclass
from meshctl.istio.resource import Labels, Meta, by_age, labels_of, read, selects
from meshctl.kube.fields import Fields

Mode = Literal["STRICT", "PERMISSIVE", "DISABLE"]

_GATEWAY_NAMES = ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name")
"""The label by which istiod knows a workload as the one of a Gateway (Gateway API): now, and in earlier releases."""


@dataclass(frozen=True, slots=True)
class PeerAuthentication:
    """Which transport a workload accepts; `mode` empty means inherited, `ports` are the port level modes."""

    meta: Meta
    selector: Labels
    mode: str
    ports: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Term:
    """Values of which one must fit, or (negated) none may; `field` as in the proto, ``key`` of a condition."""

    field: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: one of `sources` (if any), one of `operations` (if any) and every one of `conditions`."""

    path: str
    sources: tuple[tuple[Term, ...], ...]
    operations: tuple[tuple[Term, ...], ...]
    conditions: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class TargetRef:
    """What a policy is attached to; `namespace` is empty for the policy's own."""

    group: str
    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy:
    """Who may call what. `targeted`: it has targetRefs (a waypoint's or a gateway's policy), which are `targets`.

    `dry_run`: proxies only count and log what it would do (``istio.io/dry-run``), and nothing is refused by it.
    """

    meta: Meta
    selector: Labels
    action: str
    rules: tuple[PolicyRule, ...]
    targeted: bool = False
    dry_run: bool = False
    targets: tuple[TargetRef, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Whose tokens are taken and where they are looked for; `headers` are names with what comes before the token.

    `jwks` are the keys where the resource has them itself.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""


@dataclass(frozen=True, slots=True)
class RequestAuthentication:
    """Which tokens are checked."""

    meta: Meta
    selector: Labels
    issuers: tuple[str, ...]
    targeted: bool = False
    rules: tuple[TokenRule, ...] = ()
    targets: tuple[TargetRef, ...] = ()


def parse_peer(raw: Mapping[str, Any], source: str, index: int) -> PeerAuthentication:
    """Read one PeerAuthentication; UNSET reads as inherited."""
    meta, spec = read(raw, "PeerAuthentication", source, index)
    level = spec.below("portLevelMtls")
    ports = tuple((int(port), level.below(port).text("mode")) for port in map(str, level.raw) if port.isdecimal())
    mode = spec.below("mtls").text("mode")
    return PeerAuthentication(meta, labels_of(spec.below("selector")), "" if mode == "UNSET" else mode, ports)


def parse_authorization(raw: Mapping[str, Any], source: str, index: int) -> AuthorizationPolicy:
    """Read one AuthorizationPolicy."""
    meta, spec = read(raw, "AuthorizationPolicy", source, index)
    return AuthorizationPolicy(
        meta,
        labels_of(spec.below("selector")),
        spec.text("action") or "ALLOW",
        tuple(_rule(rule) for rule in spec.each("rules")),
        bool(targets := target_refs(spec)),
        _is_dry(raw),
        targets,
    )


def target_refs(spec: Fields) -> tuple[TargetRef, ...]:
    """The ``targetRefs``, else the one of the older ``targetRef`` (``GetTargetRefs``, 1.30)."""
    refs = tuple(spec.each("targetRefs")) or ((spec.below("targetRef"),) if spec.has("targetRef") else ())
    return tuple(TargetRef(r.text("group"), r.text("kind"), r.text("name"), r.text("namespace")) for r in refs)


_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
"""What Go's ``strconv.ParseBool`` takes for true, which istiod reads the annotation with."""


def _is_dry(raw: Mapping[str, Any]) -> bool:
    annotations = Fields(raw, "", []).below("metadata").strings("annotations")
    return annotations.get("istio.io/dry-run", "") in _TRUE


def parse_request(raw: Mapping[str, Any], source: str, index: int) -> RequestAuthentication:
    """Read one RequestAuthentication."""
    meta, spec = read(raw, "RequestAuthentication", source, index)
    rules = tuple(_token_rule(rule) for rule in spec.each("jwtRules"))
    targets = target_refs(spec)
    return RequestAuthentication(
        meta, labels_of(spec.below("selector")), tuple(r.issuer for r in rules), bool(targets), rules, targets
    )


def _token_rule(rule: Fields) -> TokenRule:
    return TokenRule(
        rule.text("issuer"),
        rule.texts("audiences"),
        tuple((header.text("name").lower(), header.text("prefix")) for header in rule.each("fromHeaders")),
        rule.texts("fromParams"),
        rule.texts("fromCookies"),
        rule.text("jwks"),
        rule.text("jwksUri"),
    )


def _rule(rule: Fields) -> PolicyRule:
    sources = tuple(_terms(entry.below("source")) for entry in rule.each("from"))
    operations = tuple(_terms(entry.below("operation")) for entry in rule.each("to"))
    conditions: list[Term] = []
    for when in rule.each("when"):
        for key, negated in (("values", False), ("notValues", True)):
            if when.has(key):
                conditions.append(Term(when.text("key"), when.texts(key), negated))
    return PolicyRule(rule.path, sources, operations, tuple(conditions))


def _terms(fields: Fields) -> tuple[Term, ...]:
    return tuple(
        Term(_positive(key), fields.texts(key), key.startswith("not") and key[3:4].isupper()) for key in fields.raw
    )


def _positive(key: str) -> str:
    if key.startswith("not") and key[3:4].isupper():
        return key[3].lower() + key[4:]
    return key


@dataclass(frozen=True, slots=True)
class PeerMode:
    """The mode in force, and the resource that says so (None: the mesh's default)."""

    mode: Mode
    decided_by: Meta | None


def peer_mode(
    policies: tuple[PeerAuthentication, ...], namespace: str, labels: Mapping[str, str], port: int, root: str
) -> PeerMode:
    """What a workload demands on a port: the port's setting, else workload, namespace, mesh, else PERMISSIVE.

    Port levels count only with a selector, and selectors not in the root namespace; of several at one level the oldest
    counts alone. Source: ``ComposePeerAuthentication``, 1.30.
    """
    policies = tuple(sorted(policies, key=lambda p: by_age(p.meta))) if len(policies) > 1 else policies
    here = [p for p in policies if p.meta.namespace == namespace]
    own = [p for p in here if p.selector and namespace != root and selects(p.selector, labels)][:1]
    wide = [p for p in here if not p.selector][:1]
    mesh = [p for p in policies if p.meta.namespace == root and not p.selector][:1]
    for policy in own:
        at_port = dict(policy.ports).get(port, "")
        if at_port in ("STRICT", "PERMISSIVE", "DISABLE"):
            return PeerMode(_mode(at_port), policy.meta)
    for policy in (*own, *wide, *mesh):
        if policy.mode:
            return PeerMode(_mode(policy.mode), policy.meta)
    return PeerMode("PERMISSIVE", None)


def namespace_mode(policies: tuple[PeerAuthentication, ...], namespace: str, root: str) -> Mode:
    """What is demanded in a namespace where no workload has a policy of its own (``GetNamespaceMutualTLSMode``)."""
    return peer_mode(tuple(p for p in policies if not p.selector), namespace, {}, 0, root).mode


def _mode(text: str) -> Mode:
    match text:
        case "STRICT" | "DISABLE":
            return text
        case _:
            return "PERMISSIVE"


def authorization_for(
    policies: tuple[AuthorizationPolicy, ...], namespace: str, labels: Mapping[str, str], root: str, dry: bool = False
) -> tuple[AuthorizationPolicy, ...]:
    """The policies that decide about a workload: its namespace's and the root namespace's, by selector.

    With `dry` also those that decide nothing, since they are dry runs.
    """
    return tuple(
        policy for policy in policies if is_for(policy, namespace, labels, root) and not (policy.dry_run and not dry)
    )


class Attached(Protocol):
    """What is attached to workloads by a selector or by targetRefs."""

    @property
    def meta(self) -> Meta:
        """Which resource it is."""
        ...

    @property
    def selector(self) -> Labels:
        """The labels that it asks for."""
        ...

    @property
    def targeted(self) -> bool:
        """Whether it has targetRefs."""
        ...

    @property
    def targets(self) -> tuple[TargetRef, ...]:
        """Its targetRefs."""
        ...


def is_for(policy: Attached, namespace: str, labels: Mapping[str, str], root: str) -> bool:
    """Whether a policy is for a workload: by its selector or, for the pods of a Gateway, by its targetRefs.

    Source: ``ShouldAttachPolicy``, 1.30. What is attached to a waypoint's Services is not among it.
    """
    if not policy.targeted:
        return policy.meta.namespace in (namespace, root) and selects(policy.selector, labels)
    gateway = next((labels[name] for name in _GATEWAY_NAMES if name in labels), "")
    return policy.meta.namespace == namespace and any(
        (ref.group, ref.kind, ref.name) == ("gateway.networking.k8s.io", "Gateway", gateway)
        and ref.namespace in ("", namespace)
        for ref in policy.targets
    )
