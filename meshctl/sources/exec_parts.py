"""One read-only command in a container of a remote pod, as a part."""

from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.errors import MeshctlError, NoAccess
from meshctl.sources.kube_client import Api
from meshctl.sources.readonly import EMPTY_RULESETS
from meshctl.sources.world import Part

Raw = Mapping[str, Any]


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
