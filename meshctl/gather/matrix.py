"""The matrix of a namespace, or of everything that was recorded."""

import gc
from collections.abc import Callable

from meshctl.errors import NotFound
from meshctl.gather import senders, trace
from meshctl.gather.station import inbound_station
from meshctl.injection.mode import recognise
from meshctl.kube.pod_list import heads
from meshctl.kube.pods import Pod
from meshctl.path.matrix import Matrix, build, one_each
from meshctl.path.scene import Station
from meshctl.sources.world import World
from meshctl.uncollected import uncollected


def matrix(world: World, namespace: str | None, tick: Callable[[int, int], None] | None = None) -> Matrix:
    """Trace every caller of a namespace (None: of all) to every service there; NotFound where there is no such one."""
    scene = trace.scene(world)
    root = scene.mesh.config.root_namespace
    spaces = [namespace] if namespace else [n for n in (world.namespaces() or scene.namespaces) if n != root]
    if namespace and namespace not in {*scene.namespaces, *(p.namespace for p in heads(scene.pods))}:
        known = ", ".join(sorted({p.namespace for p in heads(scene.pods)}))
        raise NotFound(f"there is no namespace '{namespace}' here", hint=f"there are: {known}")
    pods = [
        pod
        for pod in scene.pods
        if pod.namespace in spaces and pod.phase in ("", "Running") and recognise(pod).mode != "gateway"
    ]
    services = [s for s in scene.services.services if s.namespace in spaces and s.kind != "ExternalName"]
    scene.compares = False  # the outcome is all that is shown
    load = scene.load_station

    def whole(pod: Pod) -> Station:
        return senders.with_users(world, load(pod))

    scene.load_station = lambda pod: inbound_station(world, pod)
    gc.collect()
    with uncollected():
        return build(scene, one_each(pods), services, tick or (lambda _done, _all: None), whole)
