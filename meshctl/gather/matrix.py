"""The matrix of a namespace, or of everything that was recorded."""

import gc
import os
import signal
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from meshctl.errors import NotFound
from meshctl.gather import senders, trace
from meshctl.gather.station import inbound_station
from meshctl.injection.mode import recognise
from meshctl.kube.pod_list import heads
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path.matrix import Matrix, build, one_each, tcp_ports
from meshctl.path.scene import Scene, Station
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
    callers, services = between(scene, spaces)
    scene.compares = False  # the outcome is all that is shown
    load = scene.load_station

    def whole(pod: Pod) -> Station:
        return senders.with_users(world, load(pod))

    scene.load_station = lambda pod: inbound_station(world, pod)
    gc.collect()
    with uncollected():
        return _built(Work(scene, callers, services, whole), tick or (lambda _done, _all: None), world.live)


def between(scene: Scene, spaces: Collection[str]) -> tuple[list[Pod], list[Service]]:
    """Who calls and who is called in some namespaces: a running pod of each workload but gateways, and the Services."""
    pods = [
        pod
        for pod in scene.pods
        if pod.namespace in spaces and pod.phase in ("", "Running") and recognise(pod).mode != "gateway"
    ]
    services = [s for s in scene.services.services if s.namespace in spaces and s.kind != "ExternalName"]
    return one_each(pods), services


class Work(NamedTuple):
    """What the rows of a matrix are made of."""

    scene: Scene
    callers: Sequence[Pod]
    services: Sequence[Service]
    load: Callable[[Pod], Station]

    def rows(self, first: int, last: int) -> Matrix:
        """The rows of some of the callers."""
        return build(self.scene, self.callers[first:last], self.services, load=self.load)


_work: list[Work] = []
"""What a worker has to do; a fork inherits it, since it is too large to be sent."""
_AT_A_TIME = 4
_WORTH_WORKERS = 5_000
"""So many cells take longer than it takes to start workers and to send what they found."""


def _built(work: Work, tick: Callable[[int, int], None], live: bool) -> Matrix:
    """The matrix; a large one of a recording by a worker for each processor, since no cell needs another."""
    total = len(work.callers) * len(tcp_ports(work.services))
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, 8)
    if live or workers < 2 or total < _WORTH_WORKERS:
        return build(work.scene, work.callers, work.services, tick, work.load)
    return _by_workers(work, tick, total, workers)


def _by_workers(work: Work, tick: Callable[[int, int], None], total: int, workers: int) -> Matrix:
    from multiprocessing import get_context

    found: list[Matrix] = []
    done = 0
    with get_context("fork").Pool(workers, _start, (work,)) as pool:
        for part in pool.imap(_rows, range(0, len(work.callers), _AT_A_TIME)):
            found.append(part)
            done += len(part.cells)
            tick(done, total)
    rows = tuple(row for part in found for row in part.rows)
    return Matrix(rows, found[0].columns, tuple(cell for part in found for cell in part.cells))


def _start(work: Work) -> None:
    """A worker begins: it leaves Ctrl-C to the process that waits, which ends its workers."""
    _work.append(work)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _rows(first: int) -> Matrix:
    return _work[0].rows(first, first + _AT_A_TIME)
