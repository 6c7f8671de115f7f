"""All findings about pods, of every package: injection, rules, proxy and path."""

from collections.abc import Sequence

from meshctl.checks import mesh_wide, registry
from meshctl.checks.finding import Finding
from meshctl.errors import NotFound
from meshctl.frozen import dataclass
from meshctl.gather import evidence
from meshctl.gather.describe import Surroundings
from meshctl.gather.evidence import Judged
from meshctl.gather.scope import Scope
from meshctl.sources.world import World


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
    pods = tuple(it.pod for it, _ in judged)
    places = frozenset(p.namespace for p in pods)
    return mesh_wide.run(mesh_wide.Cluster(mesh=mesh, services=services, pods=pods, namespaces=places))


def check(world: World, names: Sequence[str], scope: Scope, root: str, ignore: Sequence[str]) -> Checked:
    """Judge the named pods, or all of the scope. Raises NotFound where there is none."""
    around = Surroundings(world, root)
    judged = evidence.pods(world, names, scope, root, ignore, around)
    if not judged:
        where = "in any namespace" if scope.all_namespaces else f"in namespace {scope.namespace or 'default'}"
        raise NotFound(f"there are no pods {where}", hint="name a namespace with -n, or use -A for all")
    found = [f for _, of_pod in judged for f in of_pod]
    if not names:
        found += [f for f in _mesh_wide(around, judged) if f.id not in {i.upper() for i in ignore}]
    findings = registry.ordered(found)
    looked_at = tuple(f"{d.pod.namespace}/{d.pod.name}" for d, _ in judged)
    gaps = tuple(dict.fromkeys(g for d, _ in judged for g in d.description.subject.gaps))
    blind = [d.pod.name for d, _ in judged if d.state is not None and d.state.gaps]
    if blind:
        shown = ", ".join(blind[:5]) + (f" and {len(blind) - 5} more" if len(blind) > 5 else "")
        gaps += (f"sockets or the proxy's own state of {shown} (meshctl snapshot record takes them)",)
    return Checked(findings, looked_at, gaps)
