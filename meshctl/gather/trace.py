"""The scene of a trace: every object of the cluster once, and each pod's and node's parts when a path leads there."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from meshctl.errors import MeshctlError, NoAccess
from meshctl.gather import mesh_settings
from meshctl.gather.node_view import node_view
from meshctl.gather.scope import Scope
from meshctl.gather.station import station
from meshctl.istio import api_routes, domain, extensions
from meshctl.istio import mesh as istio_mesh
from meshctl.istio.entries import WorkloadEntry, parse_workload
from meshctl.kube import network_policies
from meshctl.kube import services as kube_services
from meshctl.kube.network_policies import NetworkPolicies
from meshctl.kube.pod_list import PodList
from meshctl.kube.pods import Pod
from meshctl.path import ambient
from meshctl.path.scene import Extensions, Scene
from meshctl.sources import kinds
from meshctl.sources.world import Kind, Objects, World
from meshctl.uncollected import uncollected

_API_KINDS = (
    kinds.K8S_GATEWAYS,
    kinds.HTTP_ROUTES,
    kinds.GRPC_ROUTES,
    kinds.TCP_ROUTES,
    kinds.TLS_ROUTES,
    kinds.REFERENCE_GRANTS,
    kinds.BACKEND_TLS_POLICIES,
    kinds.NAMESPACES,
)

_EXTENSIONS = (kinds.ENVOY_FILTERS, kinds.WASM_PLUGINS)
_CLUSTER_KINDS = (kinds.PODS, kinds.SERVICES, kinds.ENDPOINT_SLICES, kinds.NAMESPACES, kinds.NODES)


def scene(world: World, scope: Scope | None = None) -> Scene:
    """Fetch the cluster's objects; parts of pods and nodes follow when they are asked for."""
    with uncollected():
        return _scene(world, scope)


def _scene(world: World, scope: Scope | None) -> Scene:
    place = _reachable(world, scope or Scope())

    def _objects(world: World, kind: Kind) -> Objects:
        return world.objects(kind, place if kind.namespaced else None)

    ahead = (*_CLUSTER_KINDS, *kinds.OF_THE_MESH, *_EXTENSIONS)
    world.prefetch([(kind, place if kind.namespaced else None) for kind in ahead])
    pods = _objects(world, kinds.PODS)
    everyone = PodList(pods.items, pods.source)
    services, slices = _objects(world, kinds.SERVICES), _objects(world, kinds.ENDPOINT_SLICES)
    listed = {kind.plural: _objects(world, kind) for kind in kinds.OF_THE_MESH}
    raw_mesh = {plural: (found.source, found.items) for plural, found in listed.items()}
    config, zone = mesh_settings.of_mesh(world, pods.items), domain.of_pods(pods.items)
    listed_too = (services, slices, _objects(world, kinds.NAMESPACES), nodes := _objects(world, kinds.NODES))
    namespaces = tuple(map(_name, listed_too[2].items))
    by_name = {_name(raw): raw for raw in nodes.items}
    names = tuple(by_name) or tuple(sorted({head.node for head in everyone.heads if head.node}))
    return Scene(
        pods=everyone,
        services=kube_services.read(services.items, slices.items, (services.source, slices.source), zone),
        mesh=istio_mesh.read(raw_mesh, config, zone),
        namespaces=namespaces or tuple(sorted({head.namespace for head in everyone.heads})),
        recorded=(place,) if place else world.namespaces(),
        only=place or "",
        services_gap="" if services.recorded else services.gap or "not recorded",
        endpoints_gap="" if slices.recorded else slices.gap or "not recorded",
        gaps=tuple(found.gap for found in (*listed_too, *listed.values()) if found.broken),
        unread=frozenset(plural for plural, found in listed.items() if not _known(world, found)),
        load_api=lambda: _api(world, place, zone),
        settings_of=cache(lambda revision: mesh_settings.of_revision(world, revision)),
        load_station=lambda pod: station(world, pod),
        load_node=lambda name: node_view(world, name, by_name.get(name), everyone.heads),
        nodes=names,
        now=world.now(),
        ztunnel=lambda node: _ztunnel(world, everyone, node),
        answered=lambda pod, port: _answered(world, pod, port),
        gone=lambda key: _gone(world, key),
        extensions=cache(lambda: _extensions(world, place)),
        workload_entries=cache(lambda: _workload_entries(world, place)),
        ingresses=cache(lambda: _ingresses(world, place)),
        network_policies=cache(lambda namespace: _network_policies(world, namespace)),
        node_labels={name: _labels(raw) for name, raw in by_name.items()},
        namespace_labels={_name(raw): _labels(raw) for raw in listed_too[2].items},
    )


def _known(world: World, found: Objects) -> bool:
    """Whether all objects of a kind are known: a recording without them has none, a cluster that denies them may."""
    return not found.broken and (found.recorded or not world.live)


def _workload_entries(world: World, place: str | None) -> tuple[WorkloadEntry, ...] | None:
    found = world.objects(kinds.WORKLOAD_ENTRIES, place)
    if not _known(world, found):
        return None
    return tuple(parse_workload(raw, found.source, index) for index, raw in enumerate(found.items))


def _ingresses(world: World, place: str | None) -> Sequence[Mapping[str, Any]] | None:
    found = world.objects(kinds.INGRESSES, place)
    return found.items if _known(world, found) else None


def _extensions(world: World, place: str | None) -> Extensions:
    """What users put into proxies beside the mesh's own model, fetched as the Gateway API's resources are.

    Of those, too, it tells which are damaged in a recording.
    """
    filters, plugins = (world.objects(kind, place) for kind in _EXTENSIONS)
    found = [extensions.parse_filter(raw, filters.source, index) for index, raw in enumerate(filters.items)]
    found += [extensions.parse_plugin(raw, plugins.source, index) for index, raw in enumerate(plugins.items)]
    both = zip(_EXTENSIONS, (filters, plugins), strict=True)
    unread = [kind.plural for kind, listed in both if not _known(world, listed)]
    if not world.live:
        unread += [kind.plural for kind, listed in _api_objects(world, place).items() if listed.broken]
    return tuple(one for one in found if one.patches), tuple(unread)


def _api_objects(world: World, place: str | None) -> dict[Kind, Objects]:
    return {kind: world.objects(kind, place if kind.namespaced else None) for kind in _API_KINDS}


def _api(world: World, place: str | None, zone: str) -> api_routes.Converted:
    """The Gateway API's resources, fetched where a proxy's configuration is not there to say what came of them."""
    known = {
        kind: one
        for kind, one in _api_objects(world, place).items()
        if kind is not kinds.REFERENCE_GRANTS or one.recorded
    }
    return api_routes.convert({kind.file_stem: (listed.source, listed.items) for kind, listed in known.items()}, zone)


def _name(raw: Mapping[str, Any]) -> str:
    return str((raw.get("metadata") or {}).get("name", ""))


def _network_policies(world: World, namespace: str) -> NetworkPolicies:
    """A namespace's NetworkPolicies, as far as they may be read; a recording without any has none."""
    try:
        found = world.objects(kinds.NETWORK_POLICIES, namespace)
    except MeshctlError as error:
        return NetworkPolicies(gap=f"NetworkPolicies of {namespace} are left out: {error}")
    gap = found.gap if not _known(world, found) else ""
    return NetworkPolicies(network_policies.read(found.items, found.source), gap)


def _labels(raw: Mapping[str, Any]) -> Mapping[str, str]:
    found = (raw.get("metadata") or {}).get("labels")
    return found if isinstance(found, dict) else {}


def _reachable(world: World, scope: Scope) -> str | None:
    """All namespaces (None), or the only one whose pods the user may list. Raises NoAccess where there is none."""
    try:
        world.objects(kinds.PODS)
    except NoAccess:
        place = scope.namespace or world.default_namespace()
        if not place:
            raise
        return place
    return None


def _ztunnel(world: World, pods: PodList, node: str) -> ambient.Ztunnel | None:
    for pod in (pods[index] for index, head in enumerate(pods.heads) if head.node == node):
        if "ztunnel" in (pod.labels.get("app"), pod.labels.get("app.kubernetes.io/name")):
            part = world.part(pod.namespace, pod.name, "ztunnel/config_dump.json")
            if part.content is not None:
                return ambient.read(part.content, part.source)
    return None


def _gone(world: World, key: str) -> bool:
    """Whether a pod that an EndpointSlice names is not there: the list of pods may be older than the slices."""
    namespace, _, name = key.partition("/")
    try:
        return world.has_now(kinds.PODS, namespace, name) is False
    except MeshctlError:
        return False


def _answered(world: World, pod: Pod, port: int) -> str:
    """A line of the pod's proxy that shows the application answering on a port; empty where there is none."""
    content = world.part(pod.namespace, pod.name, "logs/istio-proxy.txt").content or b""
    marks = (f"inbound|{port}||".encode(), b" via_upstream ")
    for line in reversed(content.splitlines()):
        if all(mark in line for mark in marks):
            return line.decode("utf-8", "replace")
    return ""
