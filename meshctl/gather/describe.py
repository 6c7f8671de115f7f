"""What is known about one pod for `describe` and `check`: the pod, the runtime's records, or what a manifest says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from meshctl.errors import BadInput, NotFound
from meshctl.gather.surroundings import Surroundings
from meshctl.injection.description import Subject, decided
from meshctl.injection.mode import recognise
from meshctl.injection.timeline import Clues
from meshctl.json_text import left_out
from meshctl.kube import pods, runtime
from meshctl.kube.pods import Pod
from meshctl.sources import kinds
from meshctl.sources.world import World
from meshctl.yaml_text import documents


def subject(around: Surroundings, pod: Pod, *, deep: bool = True) -> Subject:
    """Gather what there is about a pod that exists; without `deep` the runtime's records and logs are left out."""
    world = around.world
    gaps: list[str] = []
    clues = _clues(world, pod, gaps) if deep else Clues()
    if deep:
        clues = Clues(
            clues.sandbox, clues.runs, clues.processes, clues.proxy_log, clues.proxy_log_source, around.events(pod)
        )
    found = Subject(
        pod=pod,
        namespace=around.namespace(pod.namespace),
        services=around.selecting(pod),
        mesh_services=around.services("") if _opens_ports(pod) else None,
        webhooks=around.webhooks(),
        workload=around.workload(pod),
        clues=clues,
        control_planes=around.control_planes(),
        now=world.now(),
    )
    missing = (kinds.NAMESPACES, kinds.SERVICES, kinds.WEBHOOKS, kinds.REPLICA_SETS, kinds.EVENTS)
    gaps += [text for kind in missing if (text := around.gap(kind))]
    return _with_settings(around, replace(found, gaps=tuple(dict.fromkeys(gaps))))


def _with_settings(around: Surroundings, found: Subject) -> Subject:
    """With the settings of the revision that made the pod, else of the one that would."""
    made_by = recognise(found.pod).revision
    if made_by:
        return replace(found, settings=around.settings(made_by))
    usual = replace(found, settings=around.settings(""))
    asked = decided(usual).revision
    return replace(usual, settings=around.settings(asked)) if asked else usual


def _opens_ports(pod: Pod) -> bool:
    """Whether the proxy opens the services' ports itself, since nothing is captured."""
    return any(c.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE" for c in pod.containers)


def _clues(world: World, pod: Pod, gaps: list[str]) -> Clues:
    """The runtime's records, the processes and the proxy's log; a part that cannot be read is a gap."""
    names = [f"runtime/{n}" for n in world.part_names(pod.namespace, pod.name, "runtime")]
    wanted = [*names, "netns/processes.json", "logs/istio-proxy.txt"]
    parts = world.parts(pod.namespace, pod.name, wanted)
    sandbox, runs = None, []
    processes: tuple[runtime.Process, ...] = ()
    for name in wanted:
        part = parts.get(name)
        if part is None or part.content is None:
            continue
        if name.startswith("logs/"):
            continue
        raw = left_out(part.content, part.source, gaps)
        if name == "runtime/sandbox.json" and isinstance(raw, Mapping):
            sandbox = runtime.sandbox(raw, name)
        elif name.startswith("runtime/container-") and isinstance(raw, Mapping):
            runs.append(runtime.run(raw, name))
        elif name == "netns/processes.json" and isinstance(raw, list):
            processes = runtime.processes(raw)
    log = parts.get("logs/istio-proxy.txt")
    text = log.content.decode("utf-8", "replace") if log and log.content else ""
    return Clues(sandbox, tuple(runs), processes, text, "logs/istio-proxy.txt")


def manifest(path: str, text: str, namespace: str | None, around: Surroundings | None) -> tuple[Subject, ...]:
    """The pods that a manifest asks for; `around` is the cluster that they would run in, None for none.

    Raises NotFound where the manifest holds no pod and no pod template.
    """
    found = pods.pods_in(documents(text, path), path, namespace or "")
    if not found:
        seen = [d.get("kind") for d in documents(text, path) if isinstance(d, Mapping) and d.get("kind")]
        what = f"it holds {', '.join(map(str, seen))}" if seen else "it holds no Kubernetes object"
        raise NotFound(
            f"{path} has no pod and nothing with a pod template: {what}",
            hint="give a Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or a List of them",
        )
    return tuple(_planned(pod, namespace, around) for pod in found)


def _planned(pod: Pod, namespace: str | None, around: Surroundings | None) -> Subject:
    if around is None:
        return Subject(pod=pod)
    place = pod.namespace or namespace or around.world.default_namespace() or "default"
    planned = Subject(
        pod=pod,
        namespace=around.namespace(place),
        services=around.selecting(replace(pod, namespace=place)),
        webhooks=around.webhooks(),
        control_planes=around.control_planes(),
        now=around.world.now(),
    )
    return _with_settings(around, planned)


def read_manifest(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises BadInput for binary noise, NotFound for no file."""
    import sys

    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a text file: byte {error.start} is not UTF-8") from error
