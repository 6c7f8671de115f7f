"""All findings about pods, of every package: injection, rules, proxy and path."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from meshctl.checks import mesh_wide, registry, traced
from meshctl.checks.finding import Finding
from meshctl.errors import NotFound
from meshctl.frozen import dataclass
from meshctl.gather import evidence
from meshctl.gather.evidence import Judged
from meshctl.gather.remembering import Remembering
from meshctl.gather.scope import Scope
from meshctl.gather.surroundings import Surroundings
from meshctl.kube import services as kube_services
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.sources import kinds
from meshctl.sources.world import World
from meshctl.uncollected import uncollected

if TYPE_CHECKING:
    from meshctl.path.scene import Scene

MOST_TRACES = 400
"""Of so many requests the paths are looked at; each costs a few milliseconds."""

MOST_BROKEN = 20
"""So many parts that cannot be read are named, then counted."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, on which pods, and what could not be looked at."""

    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    gaps: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an error is among the findings."""
        return any(f.severity == "error" for f in self.findings)


def _mesh_wide(around: Surroundings, judged: Sequence[Judged]) -> tuple[Finding, ...]:
    """Findings about the mesh's resources in the namespaces of the pods."""
    mesh = around.mesh()
    services = around.services("")
    if mesh is None or services is None:
        return ()
    places = frozenset(it.pod.namespace for it, _ in judged)
    slices = kube_services.read((), around.listed(kinds.ENDPOINT_SLICES, ""))
    blind = bool(around.gap(kinds.ENDPOINT_SLICES))

    def endpoints(service: Service) -> int | None:
        return None if blind else len(slices.endpoints(service))

    pods = tuple(chain.from_iterable(around.neighbours(place) for place in sorted(places)))
    covered = frozenset(around.world.namespaces())
    return mesh_wide.run(
        mesh_wide.Cluster(
            mesh=mesh,
            services=services,
            pods=pods,
            namespaces=places,
            covered=covered,
            endpoints=endpoints,
            api=around.gateway_api(),
        )
    )


def _without_share(text: str) -> tuple[str, bool]:
    """A trace's finding without its target and share, and whether it holds for every request."""
    head, _, rest = text.partition(": ")
    return rest, "% of the requests)" not in head


def _traced(world: World, places: frozenset[str], found: Sequence[Finding]) -> tuple[tuple[Finding, ...], str]:
    """Findings of a request from every workload of the namespaces to each port of their services, and what was not."""
    if isinstance(world, Remembering) and world.full:  # each pod's rules and configuration would be fetched once more
        return (), "requests between the workloads (meshctl trace --all NAMESPACE traces them)"
    from meshctl.gather import trace as gathering
    from meshctl.gather.matrix import between
    from meshctl.path.matrix import tcp_ports

    scene = gathering.scene(world)
    callers, services = between(scene, places - {scene.mesh.config.root_namespace})
    ports = tcp_ports(services)
    if len(callers) * len(ports) > MOST_TRACES:
        return (), f"{len(callers) * len(ports)} requests between workloads (meshctl trace --all NAMESPACE traces them)"
    with uncollected():
        failures = [f for pod in callers for f in _failures(scene, pod, ports)]
    return tuple(traced.findings(failures, len(callers), found)), ""


def _failures(scene: "Scene", pod: Pod, ports: Sequence[tuple[Service, int]]) -> Iterator[traced.Failure]:
    """What fails of the requests of one caller."""
    from meshctl.path.matrix import asked, workload
    from meshctl.path.trace import trace

    station = scene.station(pod)
    for service, port in ports:
        question = asked(station, service, port)
        for found in trace(scene, question).findings:
            text, certain = _without_share(found.text)
            yield traced.Failure(found.id, text, workload(pod), question.target.host, port, certain, found.cause)


def _grouped(found: Sequence[Finding]) -> list[Finding]:
    """What several proxies were told alike is one finding: it names the first, and how many more there are."""
    together: dict[tuple[str, str, str], list[Finding]] = {}
    for f in found:
        together.setdefault(
            (f.id, f.severity, f.text if f.id in _OF_EVERY_PROXY else f"{f.subject} {f.text}"), []
        ).append(f)
    grouped = []
    for alike in together.values():
        names = list(dict.fromkeys(f.subject.rpartition("/")[2] for f in alike))
        more = len(names) - 1
        shown = ", ".join(names[1:3]) + (f" and {more - 2} more" if more > 2 else "")
        grouped.append(replace(alike[0], text=f"{alike[0].text} (so do {shown})") if more else alike[0])
    return grouped


_OF_EVERY_PROXY = ("MC401", "MC402", "MC404")


def check(world: World, names: Sequence[str], scope: Scope, ignore: Sequence[str]) -> Checked:
    """Judge the named pods, or all of the scope. Raises NotFound where there is none."""
    world = Remembering(world) if world.live else world
    around = Surroundings(world)
    judged = evidence.pods(world, names, scope, ignore, around)
    if not judged:
        where = "in any namespace" if scope.all_namespaces else f"in namespace {scope.namespace or 'default'}"
        raise NotFound(f"there are no pods {where}", hint="name a namespace with -n, or use -A for all")
    found = [f for _, of_pod in judged for f in of_pod]
    untraced = ""
    if not names:
        found += _mesh_wide(around, judged)
        paths, untraced = _traced(world, frozenset(it.pod.namespace for it, _ in judged), found)
        found += paths
    left_out = {i.upper() for i in ignore}
    findings = registry.ordered(_grouped([f for f in found if f.id.upper() not in left_out]))
    looked_at = tuple(f"{d.pod.namespace}/{d.pod.name}" for d, _ in judged)
    return Checked(findings, looked_at, _gaps(judged, untraced))


def _gaps(judged: Sequence[Judged], untraced: str) -> tuple[str, ...]:
    gaps = tuple(dict.fromkeys(g for d, _ in judged for g in d.description.subject.gaps))
    broken = [f"{d.pod.name}: {p}" for d, _ in judged if d.state is not None for p in d.state.problems]
    gaps += tuple(broken[:MOST_BROKEN])
    if len(broken) > MOST_BROKEN:
        gaps += (f"{len(broken) - MOST_BROKEN} more parts that cannot be read (meshctl describe pod names them)",)
    blind = [d.pod.name for d, _ in judged if d.state is not None and set(d.state.gaps) - set(d.state.problems)]
    if blind:
        shown = ", ".join(blind[:5]) + (f" and {len(blind) - 5} more" if len(blind) > 5 else "")
        gaps += (f"sockets or the proxy's own state of {shown} (meshctl snapshot record takes them)",)
    return (*gaps, untraced) if untraced else gaps
