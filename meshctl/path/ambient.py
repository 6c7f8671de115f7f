"""The node's ztunnel in place of a proxy of the pod's own: what it was told, and what it lets in.

ztunnel sends to workloads that speak HBONE over mutual TLS (port 15008) with the pod's identity, and enforces the
policies that istiod sends it on the callee's side; a refused connection is reset. Source: its ``/config_dump``
(Istio 1.24 to 1.30); without one, the pods' annotations and the policies themselves.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from meshctl import json_text
from meshctl.envoy.ip import within
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.istio.security import authorization_for, peer_mode
from meshctl.path import ztunnel_policies
from meshctl.path.authorization import allows
from meshctl.path.model import End, Evidence, Hop, Mood
from meshctl.path.outcome import untold
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection

REDIRECTION = "ambient.istio.io/redirection"
HBONE_PORT = 15008
"""Where ztunnel takes tunnels, in the network namespace of each of its pods."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as ztunnel knows it; `tunnel` whether it is reached over HBONE."""

    name: str
    namespace: str
    addresses: tuple[str, ...]
    tunnel: bool
    identity: str
    policies: tuple[str, ...]
    waypoint: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in ztunnel's form: rules of clauses of alternatives. ztunnel only logs what a `dry_run` would do."""

    key: str
    action: str
    scope: str
    namespace: str
    rules: tuple[tuple[tuple[Mapping[str, Any], ...], ...], ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Ztunnel:
    """What a node's ztunnel was told."""

    source: str
    workloads: Mapping[str, Workload]
    policies: tuple[Policy, ...]
    service_waypoints: Mapping[str, str]


def read(content: bytes, source: str) -> Ztunnel:
    """Read ztunnel's config_dump. Raises BadInput where it is not that."""
    try:
        raw = json_text.loads(content)
        workloads = [_workload(w) for w in raw.get("workloads") or ()]
        policies = tuple(_policy(p) for p in raw.get("policies") or ())
        waypoints = {
            vip.partition("/")[2]: str((s.get("waypoint") or {}).get("destination", ""))
            for s in raw.get("services") or ()
            if s.get("waypoint")
            for vip in s.get("vips") or ()
        }
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise BadInput(f"{source}: not ztunnel's config_dump: {error}") from error
    return Ztunnel(source, {a: w for w in workloads for a in w.addresses}, policies, waypoints)


def _workload(raw: Mapping[str, Any]) -> Workload:
    trust = raw.get("trustDomain", "cluster.local")
    identity = f"{trust}/ns/{raw.get('namespace', '')}/sa/{raw.get('serviceAccount', 'default')}"
    waypoint = raw.get("waypoint")
    return Workload(
        str(raw.get("name", "")),
        str(raw.get("namespace", "")),
        tuple(map(str, raw.get("workloadIps") or ())),
        raw.get("protocol") == "HBONE",
        identity,
        tuple(map(str, raw.get("authorizationPolicies") or ())),
        str(waypoint.get("destination", "")) if isinstance(waypoint, dict) else "",
    )


def _policy(raw: Mapping[str, Any]) -> Policy:
    rules_read = tuple(
        tuple(tuple(m for m in clause if isinstance(m, dict)) for clause in rule) for rule in raw.get("rules") or ()
    )
    key = f"{raw.get('namespace', '')}/{raw.get('name', '')}"
    action, scope, namespace = (str(raw.get(name, "")) for name in ("action", "scope", "namespace"))
    return Policy(key, action, scope, namespace, rules_read, raw.get("dryRun") is True)


def told(scene: Scene, station: Station | None) -> Ztunnel | None:
    """What the ztunnel of a pod's node was told; None where that was not recorded."""
    found = scene.ztunnel(station.pod.node) if station is not None else None
    return found if isinstance(found, Ztunnel) else None


def inbound(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> tuple[Hop, End | None]:
    """What the callee's ztunnel does with a connection to the pod: it resets it, or (no end) lets it in."""
    ztunnel = told(scene, station)
    allowed, why, proof = _verdict(scene, station, ztunnel, address, port, conn)
    said, mood, end = _answer(allowed, why, conn)
    facts = (f"from {conn.principal}" if conn.principal else "the sender shows no identity",)
    return Hop("ztunnel", "callee", station.pod.node, "ztunnel, the node's proxy", said, facts, proof, mood), end


def _answer(allowed: bool | None, why: str, conn: Connection) -> tuple[str, Mood, End | None]:
    match allowed:
        case None:
            return f"cannot be told: {why}", "warn", untold(why, mtls=conn.mtls)
        case False:
            end = End("nobody", delivered=False, mtls=conn.mtls, broken="reset", why=why, cause="policy")
            return f"resets it: {why}", "bad", end
        case True:
            return f"lets it in: {why}", "good", None


def _verdict(
    scene: Scene, station: Station, ztunnel: Ztunnel | None, address: str, port: int, conn: Connection
) -> tuple[bool | None, str, tuple[Evidence, ...]]:
    workload = ztunnel.workloads.get(address) if ztunnel else None
    if ztunnel is None or workload is None:
        return _from_resources(scene, station, port, conn)
    relevant = [p for p in ztunnel.policies if not p.dry_run and _applies(p, workload)]
    verdicts = [(p, _policy_fits(p, conn, port)) for p in relevant]
    for policy, fits in verdicts:
        if policy.action.lower() == "deny" and fits:
            return False, f"policy {policy.key} denies it", (Evidence(ztunnel.source, "policies", policy.key),)
    allow = [(p, fits) for p, fits in verdicts if p.action.lower() == "allow"]
    deciding = [fits for p, fits in verdicts if p.action.lower() != "allow"]
    if None in deciding or (not any(fits for _, fits in allow) and any(fits is None for _, fits in allow)):
        return None, "a policy asks what ztunnel's form of it does not tell", ()
    if allow and not any(fits for _, fits in allow):
        names = ", ".join(p.key for p, _ in allow)
        return False, f"no rule of {names} allows it", (Evidence(ztunnel.source, "policies", names),)
    why = f"allowed by {next(p.key for p, fits in allow if fits)}" if allow else "no policy is about it"
    return True, why, (Evidence(ztunnel.source, "policies", why),)


def _applies(policy: Policy, workload: Workload) -> bool:
    scope = policy.scope.lower()
    if scope == "global":
        return True
    if scope == "namespace":
        return policy.namespace == workload.namespace
    return policy.key in workload.policies


def _policy_fits(policy: Policy, conn: Connection, port: int) -> bool | None:
    """Source: istio/ztunnel, ``Authorization::matches`` (``src/rbac.rs``): a clause without a match always fits."""
    return _any(
        _every(not clause or _any(_match_fits(m, conn, port) for m in clause) for clause in rule)
        for rule in policy.rules
    )


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return True if any(found) else (None if None in found else False)


def _every(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return False if any(v is False for v in found) else (None if None in found else True)


def _match_fits(match: Mapping[str, Any], conn: Connection, port: int) -> bool | None:
    """One alternative: every field that it names must fit; one that names none does not."""
    principal = conn.principal.removeprefix("spiffe://") if conn.principal else ""
    namespace = principal.split("/")[2] if principal.count("/") >= 4 else ""
    tests: list[bool | None] = []
    for key, wanted in match.items():
        if not isinstance(wanted, list):
            continue
        negated = key.startswith("not") and key[3:4].isupper()
        field = key[3].lower() + key[4:] if negated else key
        if not wanted:
            continue
        fits: bool | None
        match field:
            case "principals":
                fits = any(_string(w, principal) for w in wanted)
            case "namespaces":
                fits = any(_string(w, namespace) for w in wanted)
            case "serviceAccounts":
                fits = _account(wanted, principal)
            case "sourceIps":
                fits = None if conn.source is None else any(within(conn.source, str(w)) for w in wanted)
            case "destinationPorts":
                fits = port in wanted
            case "destinationIps":
                fits = None
            case _:
                fits = None
        tests.append(None if fits is None else fits is not negated)
    return _every(tests) if tests else False


def _account(wanted: list[Any], principal: str) -> bool | None:
    """Whether the sender's service account is one of these (``serviceAccount`` in a ``namespace``)."""
    parts = principal.split("/")
    own = (parts[2], parts[4]) if len(parts) >= 5 else None
    listed = [(one.get("namespace"), one.get("serviceAccount")) for one in wanted if isinstance(one, dict)]
    if len(listed) < len(wanted) or any(not all(isinstance(t, str) for t in pair) for pair in listed):
        return None
    return own in listed


def _string(wanted: object, value: str) -> bool:
    if not isinstance(wanted, dict):
        return False
    for how, text in wanted.items():
        match how:
            case "Presence":
                return bool(value)
            case "Exact":
                return bool(value) and value == text
            case "Prefix":
                return value.startswith(str(text)) and bool(value)
            case "Suffix":
                return value.endswith(str(text)) and bool(value)
            case _:
                return False
    return False


def _from_resources(
    scene: Scene, station: Station, port: int, conn: Connection
) -> tuple[bool | None, str, tuple[Evidence, ...]]:
    root, pod = scene.mesh.config.root_namespace, station.pod
    mode = peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, port, root)
    if mode.mode == "STRICT" and conn.layer != "mtls":
        return False, f"{mode.decided_by} asks for mutual TLS, and this is plain text", ()
    policies = authorization_for(scene.mesh.authorization_policies, pod.namespace, pod.labels, root)
    sent = tuple(filter(None, map(ztunnel_policies.told, policies)))
    address = (pod.ip or None) if len(pod.ips) <= 1 else None
    verdict, why = allows(sent, conn, port, tcp=True, address=address)
    return verdict, why, ()
