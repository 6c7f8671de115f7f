"""The evidence that checks judge: a pod's description with what was seen of the running pod."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from meshctl.checks import drifted, registry
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.stories import NamespaceStory, ServiceStory
from meshctl.errors import BadInput, MeshctlError, NotFound
from meshctl.gather import describe as gathering
from meshctl.gather import rules
from meshctl.gather.pods import home, many
from meshctl.gather.scope import Scope
from meshctl.gather.surroundings import Surroundings
from meshctl.injection import ambient, decision, standing
from meshctl.injection import state as states
from meshctl.injection.ambient import Ambient
from meshctl.injection.description import Description, Subject, describe
from meshctl.injection.mode import DATAPLANE
from meshctl.injection.state import State
from meshctl.json_text import left_out
from meshctl.kube import pods as kube_pods
from meshctl.kube import services as kube_services
from meshctl.kube import ss
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.netfilter.model import Ruleset
from meshctl.refs import near_misses
from meshctl.sources import kinds
from meshctl.sources.control_plane import INJECTOR, MESH
from meshctl.sources.world import Kind, Part, World
from meshctl.uncollected import uncollected

if TYPE_CHECKING:
    from meshctl.envoy.model.basics import IstioConfig

Judged: TypeAlias = tuple[Evidence, tuple[Finding, ...]]

_SOCKETS = "netns/sockets.txt"
_PARTS = (_SOCKETS, "envoy/certs.json", "envoy/config_dump.json", "envoy/server_info.json")


def state(world: World, pod: Pod, has_proxy: bool = True) -> State:
    """What was seen of a running pod; parts that are missing cost only themselves."""
    wanted = [name for name in _PARTS if has_proxy or not name.startswith("envoy/")]
    parts = world.parts(pod.namespace, pod.name, wanted)
    found = states.parse({name: part.content for name, part in parts.items()})
    if found.listeners is not None and (problem := _unsure(parts[_SOCKETS], bool(found.listeners), has_proxy)):
        found = replace(found, listeners=None, problems=(*found.problems, problem))
    gaps = (f"{name}: {part.gap or 'not there'}" for name, part in parts.items() if part.content is None)
    return replace(found, gaps=(*gaps, *found.problems))


def _unsure(part: Part, some: bool, has_proxy: bool) -> str:
    """Why a listing of sockets proves nothing: what it lacks would count as not listening."""
    if not ss.is_whole((part.content or b"").decode("utf-8", "replace")):
        return f"{_SOCKETS}: not a whole listing of ss; left out"
    if has_proxy and not some:
        return f"{_SOCKETS}: no listening socket in it, though the proxy has some; left out"
    return ""


def of_pod(around: Surroundings, pod: Pod) -> Evidence:
    """A pod that exists: its description, and the evidence for its checks."""
    described = describe(gathering.subject(around, pod))
    mesh = around.mesh()
    place = None
    if mesh is not None:
        place = standing.of(
            pod, described.injection, described.services, mesh, around.count, around.gateway_api(), around.reach
        )
    injection = described.injection
    seen = state(around.world, pod, injection.proxy is not None and injection.agent_mode != "ztunnel")
    rulesets, drift, gap, unsure = _rules(around.world, described)
    if gap:
        seen = replace(seen, gaps=(*seen.gaps, gap))
    try:
        gone = _gone(around, seen)
    except BadInput as error:
        seen, gone = _without_proxy(seen, error), ()
    problems = [unsure] if unsure else []
    tunnel = _ambient(around, described, problems) if _is_ambient(described) else None
    seen = replace(seen, problems=(*seen.problems, *problems), gaps=(*seen.gaps, *problems))
    return Evidence(
        description=described,
        state=seen,
        standing=place,
        ambient=tunnel,
        rulesets=rulesets,
        foreign=drift,
        gone=gone,
    )


def _without_proxy(seen: State, error: BadInput) -> State:
    """What was seen but for the proxy's configuration: it is read when asked for, and a part of it is broken."""
    problem = f"{error}; left out"
    return replace(seen, proxy=None, gaps=(*seen.gaps, problem), problems=(*seen.problems, problem))


_MADE_FROM = {"virtual-service": kinds.VIRTUAL_SERVICES, "destination-rule": kinds.DESTINATION_RULES}


def _gone(around: Surroundings, seen: State) -> "tuple[IstioConfig, ...]":
    """The resources that the proxy's configuration was made from, and that are not there.

    istiod makes some of them itself, from the Gateway API's routes and from Ingresses; those are nowhere to be found.
    """
    if seen.proxy is None:
        return ()
    from meshctl.checks.leads import made_from

    covered = around.world.namespaces()
    found = []
    for config in sorted(made_from(seen.proxy), key=str):
        kind = _MADE_FROM.get(config.kind)
        if kind is None or "istio-autogenerated" in config.name or (covered and config.namespace not in covered):
            continue
        if (config.namespace, config.name) not in around.names(kind) and not around.gap(kind):
            found.append(config)
    return tuple(found)


def _is_ambient(described: Description) -> bool:
    namespace = described.subject.namespace
    asked = described.pod.labels.get(DATAPLANE) or (namespace.labels.get(DATAPLANE) if namespace else "")
    return described.injection.mode == "ambient" or (asked == "ambient" and described.injection.proxy is None)


def _ambient(around: Surroundings, described: Description, problems: list[str]) -> Ambient:
    """What the node's ztunnel says of the pod; `problems` names a dump of it that cannot be read."""
    pod = described.pod
    tunnels = (p for p in around.neighbours(around.world.root_namespace()) if p.labels.get("app") == "ztunnel")
    tunnel = next((p for p in tunnels if p.node == pod.node), None)
    dump = None
    if tunnel is not None:
        part = around.world.part(tunnel.namespace, tunnel.name, "ztunnel/config_dump.json")
        dump = left_out(part.content, part.source, problems) if part.content is not None else None
    name = f"{tunnel.namespace}/{tunnel.name}" if tunnel else ""
    return ambient.of(pod, described.subject.namespace, described.services, name, dump)


def _rules(world: World, described: Description) -> tuple[tuple[Ruleset, ...], tuple[Finding, ...], str, str]:
    """The rules that the pod has, what differs between them and those that its arguments ask for, and leftovers.

    Then why rules could not be looked at, and what of them could not; empty where they could, or need not be there.
    """
    captured = described.injection.init is not None or described.injection.mode == "ambient"
    if described.pod.host_network or (not captured and world.live):
        return (), (), "", ""  # a pod outside the mesh is not worth a way into its node
    try:
        there = rules.of_pod(world, described.pod)
        found = rules.drift_of(there) if captured else None
    except MeshctlError as error:
        return (), (), f"the rules: {error}", ""
    if captured and there.lacking:
        return there.rulesets, (), "; ".join((f"the {there.lacking}", *there.netns.gaps[:1])), ""
    subject = f"pod/{described.pod.namespace}/{described.pod.name}"
    told = drifted.remarks(there.rulesets, captured, subject)
    if found is not None and not found.in_sync:
        told = (*(drifted.finding(item, subject) for item in found.items if not item.moot), *told)
    unsure = [*(there.netns.unread.values() if there.unseen or (found and found.partly) else ())]
    unsure += [f"{found.partly}, so they were compared in part"] if found is not None and found.partly else []
    if captured and there.wanted is not None and there.wanted.capture is not None and there.wanted.problem:
        unsure.append(f"what they should be is not known: {there.wanted.problem}")
    return there.rulesets, told, "", f"packet rules: {'; '.join(unsure)}" if unsure else ""


def of_plan(subject: Subject) -> Evidence:
    """A pod of a manifest: there is nothing running to look at."""
    return Evidence(description=describe(subject))


def judged(evidence: Iterable[Evidence], ignore: Sequence[str] = ()) -> tuple[Judged, ...]:
    """Each pod's evidence with its findings, worst first."""
    with uncollected():
        return tuple(_judged(it, ignore) for it in evidence)


def _judged(it: Evidence, ignore: Sequence[str]) -> Judged:
    try:
        return it, registry.run(it, ignore)
    except BadInput as error:
        if it.state is None or it.state.proxy is None:
            raise
        less = replace(it, state=_without_proxy(it.state, error))
        return less, registry.run(less, ignore)


def pods(
    world: World,
    names: Sequence[str],
    scope: Scope,
    ignore: Sequence[str] = (),
    around: Surroundings | None = None,
) -> tuple[Judged, ...]:
    """The pods that names mean (of workloads and services all), or all of the scope; each described and judged."""
    with uncollected():
        found = [pod for n in names for pod in many(world, n, scope)] if names else list(many(world, None, scope))
    place = around or Surroundings(world)
    _fetch_ahead(place, {pod.namespace for pod in found})
    unique = {(pod.namespace, pod.name): pod for pod in found}
    return judged((of_pod(place, pod) for pod in unique.values()), ignore)


_AROUND = (kinds.SERVICES, kinds.EVENTS, kinds.REPLICA_SETS, kinds.DEPLOYMENTS)
_MESH = (
    kinds.VIRTUAL_SERVICES,
    kinds.DESTINATION_RULES,
    kinds.PEER_AUTHENTICATIONS,
    kinds.SIDECARS,
    kinds.SERVICE_ENTRIES,
    kinds.GATEWAYS,
    kinds.K8S_GATEWAYS,
    kinds.HTTP_ROUTES,
)


def _fetch_ahead(around: Surroundings, namespaces: set[str]) -> None:
    """What describing a pod will ask for, side by side: on a live cluster one round trip instead of a dozen."""
    nearby: list[tuple[Kind, str | None]] = [(kind, place) for place in sorted(namespaces) for kind in _AROUND]
    root = around.world.root_namespace()
    settings = [(kinds.CONFIG_MAPS, root, name) for name in (MESH, INJECTOR)]
    everywhere: list[tuple[Kind, str | None]] = [(kind, None) for kind in (kinds.NAMESPACES, kinds.WEBHOOKS, *_MESH)]
    around.world.prefetch([*nearby, *everywhere], settings if namespaces else ())


def manifest(world: World | None, paths: Sequence[str], namespace: str | None) -> tuple[Judged, ...]:
    """The pods that manifests ask for; `world` is the cluster that they would run in, None for none."""
    around = Surroundings(world) if world is not None else None
    planned: list[Subject] = []
    for path in dict.fromkeys(paths):
        shown = "standard input" if path == "-" else path
        planned += gathering.manifest(shown, gathering.read_manifest(path), namespace, around)
    return judged(map(of_plan, planned))


def service(world: World, text: str, scope: Scope) -> ServiceStory:
    """A service by all the pods that it selects. Raises NotFound with the nearest names."""
    around = Surroundings(world)
    found = _service(world, text, scope, around)
    selected = [
        kube_pods.pod(raw, f"{world.name}/resources/pods.json") for raw in around.listed(kinds.PODS, found.namespace)
    ]
    chosen = sorted((p for p in selected if found.selects(p.labels)), key=lambda p: p.name)
    slices = kube_services.read((), around.listed(kinds.ENDPOINT_SLICES, found.namespace))
    return ServiceStory(found, judged(of_pod(around, pod) for pod in chosen), slices.endpoints(found))


def _service(world: World, text: str, scope: Scope, around: Surroundings) -> Service:
    name, dot, tail = text.partition(".")
    before, slash, after = text.partition("/")
    if slash:
        name, dot, tail = after, slash, before
    place = scope.namespace or (tail.partition(".")[0] if dot else "") or world.default_namespace()
    candidates = [place] if place else [n for n in world.namespaces() if n != world.root_namespace()] or ["default"]
    for namespace in candidates:
        for found in around.services(namespace) or ():
            if found.name == (name if dot else text) and found.namespace == namespace:
                return found
    around.demand(kinds.SERVICES)
    known = sorted({s.name for n in candidates for s in around.services(n) or ()})
    close = near_misses(name, tuple(known))
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(known[:10]) or 'none'}"
    raise NotFound(f"there is no service '{text}' in namespace {' or '.join(candidates)}", hint=hint)


def namespace(world: World, text: str | None, scope: Scope) -> NamespaceStory:
    """A namespace: what its labels mean for a pod made now, and the pods that are there."""
    around = Surroundings(world)
    name = text or home(world, scope)
    if text is None and not scope.namespace and not world.default_namespace():
        others = [n for n in world.namespaces() if n != world.root_namespace()]
        name = others[0] if len(others) == 1 else name
    found = around.namespace(name)
    if found is None:
        around.demand(kinds.NAMESPACES)
        known = around.namespace_names()
        close = near_misses(name, known) or known
        raise NotFound(f"there is no namespace '{name}' here", hint=f"there are: {', '.join(close)}" if close else None)
    members = many(world, None, Scope(name))
    situation = decision.Situation(
        labels={},
        namespace=name,
        namespace_labels=found.labels,
        webhooks=around.webhooks(),
        settings=around.settings(""),
    )
    verdict = decision.decide(situation)
    if verdict.revision:
        verdict = decision.decide(replace(situation, settings=around.settings(verdict.revision)))
    return NamespaceStory(found, verdict, judged(of_pod(around, pod) for pod in members), around.webhooks())
