"""Every caller to every service: one trace a cell, callers of one workload taken once."""

from collections.abc import Callable, Sequence

from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path.model import Outcome, Request, succeeds
from meshctl.path.scene import Scene, Station, with_whole_proxy
from meshctl.path.trace import Question, trace
from meshctl.refs import Target


@dataclass(frozen=True, slots=True)
class Row:
    """A caller: the workload's name, and the pod that stands for it."""

    name: str
    namespace: str
    pod: str


@dataclass(frozen=True, slots=True)
class Column:
    """A port of a service."""

    name: str
    namespace: str
    port: int


@dataclass(frozen=True, slots=True)
class Cell:
    """What comes of one caller's request to one service."""

    row: Row
    column: Column
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, row by row."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]

    @property
    def verdict(self) -> bool | None:
        """False where any cell fails, None where none fails but some cannot be told."""
        found = [succeeds(cell.outcome.end) for cell in self.cells]
        return False if False in found else (None if None in found else True)


def build(
    scene: Scene,
    callers: Sequence[Pod],
    services: Sequence[Service],
    tick: Callable[[int, int], None] = lambda _done, _all: None,
    load: Callable[[Pod], Station] | None = None,
) -> Matrix:
    """Trace a GET / (or a TCP connection) from each caller to each TCP port of each service.

    `tick` is told how many cells of how many are done. `load` reads a caller for its row only, so that its whole
    configuration need not be kept; without it the scene's stations serve as callers, too.
    """
    columns = tcp_ports(services)
    total = len(callers) * len(columns)
    rows, cells = [], []
    for pod in callers:
        row = Row(workload(pod), pod.namespace, pod.name)
        rows.append(row)
        station = with_whole_proxy(load(pod)) if load is not None else scene.station(pod)
        for service, port in columns:
            found = trace(scene, asked(station, service, port))
            cells.append(Cell(row, Column(service.name, service.namespace, port), found.outcome))
            tick(len(cells), total)
    made = tuple(Column(service.name, service.namespace, port) for service, port in columns)
    return Matrix(tuple(rows), made, tuple(cells))


def asked(caller: Station, service: Service, port: int) -> Question:
    """A cell's question: a GET / (or a TCP connection) from a caller to a port of a service."""
    name = f"{service.name}.{service.namespace}"
    return Question(caller=caller, target=Target(f"{name}:{port}", name, port), request=Request())


def tcp_ports(services: Sequence[Service]) -> list[tuple[Service, int]]:
    """Each TCP port of each service: what a matrix has columns for."""
    return [(service, port.number) for service in services for port in service.ports if port.protocol == "TCP"]


def workload(pod: Pod) -> str:
    """The name of what made the pod: a ReplicaSet without its template's hash, else the controller, else the pod."""
    owner = pod.controller
    if owner is None:
        return pod.name
    suffix = pod.labels.get("pod-template-hash", "")
    return owner.name.removesuffix(f"-{suffix}") if suffix else owner.name


def one_each(pods: Sequence[Pod]) -> list[Pod]:
    """One pod for each workload, a ready one before others, by namespace and name."""
    found: dict[tuple[str, str], Pod] = {}
    for pod in sorted(pods, key=lambda p: (p.namespace, p.name)):
        key = (pod.namespace, workload(pod))
        if key not in found or (pod.ready and not found[key].ready):
            found[key] = pod
    return list(found.values())
