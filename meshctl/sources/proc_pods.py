"""Pods without any runtime: processes grouped by cgroup, named by what the runtime and the kubelet left on the node.

A cgroup holds a pod's uid and a container's id, never a name. The name comes from, in this order: the OCI bundle's
annotations (the folder of the shim that is the container's parent), the mounts that the kubelet made, the folders
under /var/log/pods, and the environment that the mesh's containers have (POD_NAME, POD_NAMESPACE; HOSTNAME).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from meshctl import json_text
from meshctl.errors import NoAccess, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import proc_scan
from meshctl.sources.local_pods import LocalContainer, LocalPod, Wanted
from meshctl.sources.proc_scan import Process

POD_LOGS = Path("/var/log/pods")
_HOW = "/proc (cgroup)"


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a container's pod; empty where it is not."""

    uid: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    sandbox: bool = False


def pods(wanted: Wanted, proc: Path = proc_scan.PROC, logs: Path = POD_LOGS) -> tuple[LocalPod, ...]:
    """The pods whose processes run here. Raises NoAccess where other users' processes cannot be looked at."""
    try:
        groups = _by_container(proc_scan.processes(proc))
    except OSError as error:
        raise Unavailable(f"{proc} cannot be read: {error}") from error
    logged = _names_in_logs(logs)
    grouped: dict[tuple[str, str, str], list[LocalContainer]] = defaultdict(list)
    unseen = 0
    for (uid, container_id), members in groups.items():
        first = min(members, key=lambda process: (process.started_ticks, process.pid))
        if first.namespace is None:
            unseen += 1
            continue
        identity = _identify(first, uid, container_id, proc, logged)
        if identity.pod or uid in wanted.uids:
            key = (identity.namespace, identity.pod, identity.uid)
            grouped[key].append(_container(first, container_id, identity))
    found = tuple(_pod(key, containers, proc) for key, containers in grouped.items() if wanted.fits(*key))
    if unseen and not found:
        raise NoAccess(f"{unseen} containers run here whose namespaces only root can see", hint="run it with sudo")
    return found


def _by_container(processes: Iterable[Process]) -> Mapping[tuple[str, str], list[Process]]:
    groups: dict[tuple[str, str], list[Process]] = defaultdict(list)
    for process in processes:
        owner = proc_scan.cgroup_owner(process.cgroup)
        if owner is not None:
            groups[owner.pod_uid, owner.container_id].append(process)
    return groups


def _identify(
    process: Process, uid: str, container_id: str, proc: Path, logged: Mapping[str, tuple[str, str]]
) -> Identity:
    bundle = _from_bundle(process, container_id, proc)
    mounted = _from_mounts(process, proc)
    uid = uid or bundle.uid or mounted.uid
    namespace, pod = (bundle.namespace, bundle.pod) if bundle.pod else logged.get(uid, ("", ""))
    if not pod:
        namespace, pod = _from_environment(process, proc, known=bool(uid))
    container = bundle.container or mounted.container
    return Identity(uid, namespace, pod, container, bundle.sandbox or (not container and _is_pause(process)))


def _is_pause(process: Process) -> bool:
    return process.cmdline[0].rsplit("/", 1)[-1] in ("pause", "catatonit")


def _from_bundle(process: Process, container_id: str, proc: Path) -> Identity:
    """The annotations in config.json: containerd's shim runs in its sandbox's bundle, next to the containers'."""
    if not container_id:
        return Identity()
    try:
        parent = re.search(r"^PPid:\s*(\d+)", (proc / str(process.pid) / "status").read_text(), re.MULTILINE)
        shim = (proc / (parent[1] if parent else "0") / "cwd").resolve()
        config = json_text.loads((shim.parent / container_id / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Identity()
    return identity_of(config.get("annotations") or {})


def identity_of(annotations: Mapping[str, str]) -> Identity:
    """What containerd's and CRI-O's annotations of an OCI bundle say."""
    cri, crio = "io.kubernetes.cri.", "io.kubernetes.cri-o."
    kind = annotations.get(f"{cri}container-type") or annotations.get(f"{crio}ContainerType") or ""
    return Identity(
        annotations.get(f"{cri}sandbox-uid") or annotations.get("io.kubernetes.pod.uid") or "",
        annotations.get(f"{cri}sandbox-namespace") or annotations.get("io.kubernetes.pod.namespace") or "",
        annotations.get(f"{cri}sandbox-name") or annotations.get("io.kubernetes.pod.name") or "",
        ""
        if kind == "sandbox"
        else annotations.get(f"{cri}container-name") or annotations.get("io.kubernetes.container.name") or "",
        kind == "sandbox",
    )


def _from_mounts(process: Process, proc: Path) -> Identity:
    """The kubelet mounts ``.../pods/<uid>/etc-hosts`` and ``.../pods/<uid>/containers/<name>/<id>`` into containers."""
    try:
        mounts = (proc / str(process.pid) / "mountinfo").read_text(errors="replace")
    except OSError:
        return Identity()
    return mounted_identity(mounts)


def mounted_identity(mountinfo: str) -> Identity:
    """The uid and the container's name in the text of ``/proc/PID/mountinfo`` (proc(5): field 4 is the root)."""
    roots = [fields[3] for line in mountinfo.splitlines() if len(fields := line.split(" ")) > 4]
    uid = container = ""
    for root in roots:
        if found := re.search(r"/pods/([0-9a-f-]{32,36})/(?:etc-hosts$|containers/([^/]+)/)", root):
            uid, container = found[1], container or found[2] or ""
    return Identity(uid=uid, container=container)


def _names_in_logs(logs: Path) -> Mapping[str, tuple[str, str]]:
    """The kubelet's folders ``<namespace>_<pod>_<uid>``: (namespace, pod) by uid."""
    try:
        names = [entry.name.split("_") for entry in logs.iterdir()]
    except OSError:
        return {}
    return {parts[2]: (parts[0], parts[1]) for parts in names if len(parts) == 3}


def _from_environment(process: Process, proc: Path, known: bool) -> tuple[str, str]:
    """POD_NAME and POD_NAMESPACE are the injector's; HOSTNAME is the pod's name where a uid says that it is a pod."""
    try:
        block = (proc / str(process.pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return "", ""
    variables = dict(entry.partition("=")[::2] for entry in block.split("\0") if "=" in entry)
    name = variables.get("POD_NAME") or (variables.get("HOSTNAME", "") if known else "")
    return variables.get("POD_NAMESPACE", ""), name


def _container(process: Process, container_id: str, identity: Identity) -> LocalContainer:
    unnamed = process.cmdline[0].rsplit("/", 1)[-1]
    return LocalContainer(
        name="(sandbox)" if identity.sandbox else identity.container or unnamed,
        id=container_id,
        pid=process.pid,
        state="running",
        sandbox=identity.sandbox,
        found_by=_HOW,
    )


def _pod(key: tuple[str, str, str], containers: list[LocalContainer], proc: Path) -> LocalPod:
    ordered = tuple(sorted(containers, key=lambda c: (not c.sandbox, c.pid)))
    hosts = proc_scan.host_namespaces(proc)
    spaces = set()
    for container in ordered:
        try:
            spaces.add(proc_scan.namespace_of(container.pid, proc))
        except OSError:
            continue
    return LocalPod(*key, _HOW, bool(spaces) and spaces <= set(hosts), containers=ordered)
