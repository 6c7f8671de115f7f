"""The evidence that checks judge: a pod's description with what was seen of the running pod."""

import gc
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from meshctl.checks import drifted, registry
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.stories import NamespaceStory, ServiceStory
from meshctl.errors import MeshctlError, NotFound
from meshctl.gather import describe as gathering
from meshctl.gather import rules
from meshctl.gather.describe import Surroundings
from meshctl.gather.pods import home, many
from meshctl.gather.scope import Scope
from meshctl.injection import ambient, decision, standing
from meshctl.injection import state as states
from meshctl.injection.ambient import Ambient
from meshctl.injection.description import Description, Subject, describe
from meshctl.injection.mode import DATAPLANE
from meshctl.injection.state import State
from meshctl.kube import pods as kube_pods
from meshctl.kube import services as kube_services
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.netfilter.model import Ruleset
from meshctl.refs import near_misses
from meshctl.sources import kinds
from meshctl.sources.warm import warm
from meshctl.sources.world import Kind, World

Judged: TypeAlias = tuple[Evidence, tuple[Finding, ...]]

_PARTS = ("netns/sockets.txt", "envoy/certs.json", "envoy/config_dump.json", "envoy/server_info.json")


def state(world: World, pod: Pod, has_proxy: bool = True) -> State:
    """What was seen of a running pod; parts that are missing cost only themselves."""
    wanted = [name for name in _PARTS if has_proxy or not name.startswith("envoy/")]
    parts = world.parts(pod.namespace, pod.name, wanted)
    found = states.parse({name: part.content for name, part in parts.items()})
    gaps = tuple(f"{name}: {part.gap or 'not there'}" for name, part in parts.items() if part.content is None)
    return replace(found, gaps=gaps)


def of_pod(around: Surroundings, pod: Pod) -> Evidence:
    """A pod that exists: its description, and the evidence for its checks."""
    described = describe(gathering.subject(around, pod))
    mesh = around.mesh()
    place = None
    if mesh is not None:
        place = standing.of(pod, described.injection, described.services, mesh, around.count)
    seen = state(around.world, pod, described.injection.proxy is not None)
    rulesets, drift = _rules(around.world, described)
    carried = _ambient(around, described) if _is_ambient(described) else None
    return Evidence(
        description=described, state=seen, standing=place, ambient=carried, rulesets=rulesets, foreign=drift
    )


def _is_ambient(described: Description) -> bool:
    namespace = described.subject.namespace
    asked = described.pod.labels.get(DATAPLANE) or (namespace.labels.get(DATAPLANE) if namespace else "")
    return described.injection.mode == "ambient" or (asked == "ambient" and described.injection.proxy is None)


def _ambient(around: Surroundings, described: Description) -> Ambient:
    """What the node's ztunnel says of the pod."""
    pod = described.pod
    tunnels = (p for p in around.neighbours(around.root_namespace()) if p.labels.get("app") == "ztunnel")
    tunnel = next((p for p in tunnels if p.node == pod.node), None)
    dump = None
    if tunnel is not None:
        part = around.world.part(tunnel.namespace, tunnel.name, "ztunnel/config_dump.json")
        try:
            dump = json.loads(part.content) if part.content else None
        except ValueError:
            dump = None
    name = f"{tunnel.namespace}/{tunnel.name}" if tunnel else ""
    return ambient.of(pod, described.subject.namespace, described.services, name, dump)


def _rules(world: World, described: Description) -> tuple[tuple[Ruleset, ...], tuple[Finding, ...]]:
    """The rules that the pod has, and what differs between them and those that its arguments ask for."""
    if described.injection.init is None and described.injection.mode != "ambient":
        return (), ()
    try:
        there = rules.of_pod(world, described.pod)
        found = rules.drift_of(there)
    except MeshctlError:
        return (), ()  # the rules could not be read; `iptables dump` says why
    if found is None or found.in_sync:
        return there.rulesets, ()
    subject = f"pod/{described.pod.namespace}/{described.pod.name}"
    return there.rulesets, tuple(drifted.finding(item, subject) for item in found.items if not item.moot)


def of_plan(subject: Subject) -> Evidence:
    """A pod of a manifest: there is nothing running to look at."""
    return Evidence(description=describe(subject))


def judged(evidence: Iterable[Evidence], ignore: Sequence[str] = ()) -> tuple[Judged, ...]:
    """Each pod's evidence with its findings, worst first."""
    gc.disable()  # nothing here is cyclic, and the collector would look at all pods again and again
    try:
        return tuple((it, registry.run(it, ignore)) for it in evidence)
    finally:
        gc.enable()


def pods(
    world: World,
    names: Sequence[str],
    scope: Scope,
    root: str = "",
    ignore: Sequence[str] = (),
    around: Surroundings | None = None,
) -> tuple[Judged, ...]:
    """The pods that names mean (of workloads and services all), or all of the scope; each described and judged."""
    found = [pod for name in names for pod in many(world, name, scope)] if names else list(many(world, None, scope))
    place = around or Surroundings(world, root)
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
)


def _fetch_ahead(around: Surroundings, namespaces: set[str]) -> None:
    """What describing a pod will ask for, side by side: on a live cluster one round trip instead of a dozen."""
    nearby: list[tuple[Kind, str | None]] = [(kind, place) for place in sorted(namespaces) for kind in _AROUND]
    root = around.root_namespace()
    settings = [(kinds.CONFIG_MAPS, root, name) for name in ("istio", "istio-sidecar-injector")]
    everywhere: list[tuple[Kind, str | None]] = [(kind, None) for kind in (kinds.NAMESPACES, kinds.WEBHOOKS, *_MESH)]
    warm(around.world, [*nearby, *everywhere], settings if namespaces else ())


def manifest(world: World | None, path: str, namespace: str | None, root: str = "") -> tuple[Judged, ...]:
    """The pods that a manifest asks for; `world` is the cluster that they would run in, None for none."""
    text = gathering.read_manifest(path)
    shown = "standard input" if path == "-" else path
    around = Surroundings(world, root) if world is not None else None
    return judged(map(of_plan, gathering.manifest(shown, text, namespace, around)))


def service(world: World, text: str, scope: Scope, root: str = "") -> ServiceStory:
    """A service by all the pods that it selects. Raises NotFound with the nearest names."""
    around = Surroundings(world, root)
    found = _service(world, text, scope, around)
    selected = [
        kube_pods.pod(raw, f"{world.name}/resources/pods.json") for raw in around.listed(kinds.PODS, found.namespace)
    ]
    chosen = sorted((p for p in selected if found.selects(p.labels)), key=lambda p: p.name)
    slices = kube_services.read((), around.listed(kinds.ENDPOINT_SLICES, found.namespace))
    return ServiceStory(found, judged(of_pod(around, pod) for pod in chosen), slices.endpoints(found))


def _service(world: World, text: str, scope: Scope, around: Surroundings) -> Service:
    name, dot, tail = text.partition(".")
    place = scope.namespace or (tail.partition(".")[0] if dot else "") or world.default_namespace()
    candidates = [place] if place else [n for n in world.namespaces() if n != around.root_namespace()] or ["default"]
    for namespace in candidates:
        for found in around.services(namespace) or ():
            if found.name == (name if dot else text) and found.namespace == namespace:
                return found
    known = sorted({s.name for n in candidates for s in around.services(n) or ()})
    close = near_misses(name, tuple(known))
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(known[:10]) or 'none'}"
    raise NotFound(f"there is no service '{text}' in namespace {' or '.join(candidates)}", hint=hint)


def namespace(world: World, text: str | None, scope: Scope, root: str = "") -> NamespaceStory:
    """A namespace: what its labels mean for a pod made now, and the pods that are there."""
    around = Surroundings(world, root)
    name = text or home(world, scope)
    if text is None and not scope.namespace and not world.default_namespace():
        others = [n for n in world.namespaces() if n != around.root_namespace()]
        name = others[0] if len(others) == 1 else name
    found = around.namespace(name)
    if found is None:
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
    return NamespaceStory(
        found, decision.decide(situation), judged(of_pod(around, pod) for pod in members), around.webhooks()
    )
