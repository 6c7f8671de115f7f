"""One read-only command in a container of a remote pod, as a part."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.errors import MeshctlError, NoAccess
from meshctl.sources import proc_net
from meshctl.sources.kube_client import Api
from meshctl.sources.readonly import EMPTY_RULESETS
from meshctl.sources.world import Part

Raw = Mapping[str, Any]
FIRST_PROCESS = ("cat", "/proc/1/status")
"""What tells as whom a container runs."""


def run_in(api: Api, pod: Raw, container: str, name: str, argvs: Sequence[Sequence[str]], timeout_s: float) -> Part:
    """Run the first of a part's commands that the container has."""
    metadata = pod.get("metadata", {})
    namespace, pod_name = str(metadata.get("namespace", "default")), str(metadata.get("name", ""))
    gap = ""
    for argv in argvs:
        source = f"{' '.join(argv)} (in {container} of {pod_name}.{namespace})"
        try:
            done = api.run(namespace, pod_name, container, argv, timeout_s)
        except MeshctlError as error:
            return Part(source, None, str(error), denied=isinstance(error, NoAccess))
        if done.code == 0:
            return Part(source, done.stdout or EMPTY_RULESETS.get(name, b""))
        said = done.problem or done.stderr.decode(errors="replace").strip().split("\n")[-1]
        gap = f"`{' '.join(argv)}` in {container}: {said or f'exit code {done.code}'}"
    return Part(name, None, gap)


def sockets_in(api: Api, pod: Raw, container: str, timeout_s: float) -> Part:
    """The pod's listening TCP sockets, by any of its containers that has ``cat``: all of them share the network."""
    metadata = pod.get("metadata", {})
    namespace, pod_name = str(metadata.get("namespace", "default")), str(metadata.get("name", ""))
    source = f"{' '.join(proc_net.COMMAND)} (in {container} of {pod_name}.{namespace})"
    try:
        done = api.run(namespace, pod_name, container, proc_net.COMMAND, timeout_s)
    except MeshctlError as error:
        return Part(source, None, str(error), denied=isinstance(error, NoAccess))
    # Without IPv6 in the kernel there is no tcp6: cat then says so, and ends with 1.
    listing = proc_net.as_ss(done.stdout.decode("utf-8", "replace"))
    if listing is None:
        said = done.problem or done.stderr.decode(errors="replace").strip().split("\n")[-1]
        return Part(source, None, f"`{' '.join(proc_net.COMMAND)}` in {container}: {said or f'exit code {done.code}'}")
    return Part(source, listing)


def user_of(api: Api, pod: Raw, container: str, timeout_s: float) -> tuple[int, int] | None:
    """The effective (uid, gid) of a container's main process; None without ``cat`` there, or the right to run it.

    Where the pod's containers share their processes, the first one is of none of them: then it is the user of `cat`.
    """
    shared = bool(pod.get("spec", {}).get("shareProcessNamespace"))
    command = ("cat", "/proc/self/status") if shared else FIRST_PROCESS
    done = run_in(api, pod, container, "status", [command], timeout_s)
    # proc_pid_status(5): real, effective, saved set and file system IDs.
    ids = [
        re.search(rb"^" + name + rb":\s+\d+\s+(\d+)", done.content or b"", re.MULTILINE) for name in (b"Uid", b"Gid")
    ]
    return (int(ids[0][1]), int(ids[1][1])) if ids[0] is not None and ids[1] is not None else None
