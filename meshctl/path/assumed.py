"""What all decisions from the mesh's resources alone share, where a proxy's configuration was not recorded."""

from dataclasses import replace
from typing import Literal

from meshctl.envoy import codec, strings
from meshctl.envoy.match import Step
from meshctl.envoy.rewrite import path_by_setting
from meshctl.istio.extensions import Extension
from meshctl.istio.security import is_for
from meshctl.origin import Origin
from meshctl.path import registry, route_rules, unrecorded
from meshctl.path.decision import Decision, Refusal
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station

REFUSED_PATH = "proxies refuse a path with a NUL in it"


def normalised(scene: Scene, station: Station, request: Request) -> Request | None:
    """The request with its path as proxies see it; None where they answer 400."""
    if request.protocol == "tcp" or request.tls:
        return request
    path = path_by_setting(scene.settings(station).path_normalization, request.path)
    return None if path is None else replace(request, path=path)


def unparsed(request: Request) -> Refusal | None:
    """What a connection manager answers to a request that its parser refuses; None where it takes it."""
    why = codec.refuses(request.protocol, request.method, request.path)
    if not why:
        return None
    if request.protocol == "http2":
        return Refusal(None, "DPE", "", why, "connection")
    return Refusal(400, "DPE", codec.details(request.method, request.path), why, "connection")


Context = Literal["SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"]
"""A part of a proxy's configuration, as EnvoyFilter names it."""


def with_doubts(
    scene: Scene, station: Station, kinds: frozenset[str], context: Context, port: int, decision: Decision
) -> Decision:
    """A decision that rests on resources which could not be read is none, nor one without those of the whole mesh.

    Nor is one where users put something of their own into the proxy, for `port`.
    """
    found, unlisted = scene.extensions()
    unread = ", ".join(sorted(scene.unread & kinds)) or unrecorded.for_all(scene) or ", ".join(unlisted)
    doubts = [f"{unread} could not be read, and may decide otherwise"] if unread else []
    for one in found:
        if _changes(scene, station, one, context, port):
            doubts.append(f"{one.meta} changes this proxy, and how is not modelled without the proxy's configuration")
            break
    if context == "SIDECAR_INBOUND" and scene.settings(station).to_localhost:
        doubts.append("inboundTrafficPolicy LOCALHOST is not modelled without the proxy's configuration")
    if unseen := _undiscovered(scene, station, decision):
        doubts.append(f"namespace {unseen} is none that istiod looks at (discoverySelectors), as far as is known")
    return replace(decision, undecided=(*decision.undecided, *doubts)) if doubts else decision


def _undiscovered(scene: Scene, station: Station, decision: Decision) -> str:
    """A namespace that the decision is about and istiod does not look at, or may not; empty for none."""
    selectors = scene.settings(station).discovery
    hosts = (option.cluster.rpartition("|")[2].split(".") for option in decision.options if selectors)
    places = {station.pod.namespace, *(words[1] for words in hosts if words[2:3] == ["svc"])} if selectors else set()
    for place in sorted(places):
        labels = scene.namespace_labels.get(place)
        named = {"kubernetes.io/metadata.name": place, **labels} if labels is not None else None
        if named is None or not any(one.holds(named) for one in selectors):
            return place
    return ""


def _changes(scene: Scene, station: Station, extension: Extension, context: Context, port: int) -> bool:
    """Whether an EnvoyFilter or WasmPlugin is for a part of a proxy; a port counts for what the proxy sends."""
    pod, root = station.pod, scene.settings(station).root_namespace
    if not is_for(extension, pod.namespace, pod.labels, root):
        return False
    return any(
        patch.context in ("ANY", context)
        and (patch.port in (None, port) or context == "SIDECAR_INBOUND")
        and _of_release(patch.version, station.version)
        for patch in extension.patches
    )


def _of_release(pattern: str, version: str) -> bool:
    """Whether a proxy is of the releases that a patch is for: the expression finds its place anywhere in it (Go)."""
    return not pattern or not version or strings.regex_matches(f".*(?:{pattern}).*", version) is not False


def step(what: str, chosen: str, because: str, origin: object = None) -> Step:
    """A step of a decision that rests on a resource."""
    return Step(what, chosen, because, origin if isinstance(origin, Origin) else None)


def only_port(scene: Scene) -> route_rules.PortOf:
    """The port that a destination without one stands for: the Service's only one, else the port asked for.

    So it is for gateways and for TCP. Source: ``GetDestinationCluster``, 1.30.
    """

    def port_of(host: str) -> int | None:
        service = registry.service_of(scene, host)
        if service is not None and len(service.ports) == 1:
            return service.ports[0].number
        entry = next((e for e in scene.mesh.service_entries if host in e.hosts), None)
        return entry.ports[0].number if service is None and entry is not None and len(entry.ports) == 1 else None

    return port_of
