"""Pods over ``crictl``, where it is installed and grpc is not: the same answers as the CRI socket's."""

import shutil
import subprocess
from typing import Any

from meshctl import json_text
from meshctl.errors import NoAccess, Unavailable
from meshctl.sources.cri import pod_of
from meshctl.sources.local_pods import LocalPod, Wanted


def pods(socket: str, wanted: Wanted, timeout_s: float) -> tuple[LocalPod, ...]:
    """The pods that crictl lists; `socket` empty leaves the choice to crictl's own configuration."""
    program = shutil.which("crictl")
    if program is None:
        raise Unavailable("crictl is not installed")
    base = [program, *(["--runtime-endpoint", f"unix://{socket}"] if socket else []), "--timeout", f"{timeout_s:g}s"]
    listed = _ask([*base, "pods", "-o", "json"], timeout_s).get("items") or []
    found = []
    for sandbox in listed:
        about = sandbox.get("metadata") or {}
        names = [str(about.get(key) or "") for key in ("namespace", "name", "uid")]
        if sandbox.get("state") == "SANDBOX_READY" and wanted.fits(*names):
            found.append(_pod(base, str(sandbox["id"]), timeout_s))
    return tuple(found)


def _pod(base: list[str], sandbox: str, timeout_s: float) -> LocalPod:
    inspected = _ask([*base, "inspectp", "-o", "json", sandbox], timeout_s)
    containers = _ask([*base, "ps", "-a", "-p", sandbox, "-o", "json"], timeout_s).get("containers") or []
    each = [_ask([*base, "inspect", "-o", "json", str(c["id"])], timeout_s) for c in containers]
    return pod_of(inspected, each, "crictl")


def _ask(argv: list[str], timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s + 5, check=False)
        answer = json_text.loads(done.stdout or b"{}") if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        raise Unavailable(f"crictl cannot be asked: {error}") from error
    if answer is None:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        if "permission denied" in said:
            raise NoAccess("crictl may only be used by root", hint="run it with sudo")
        raise Unavailable(f"crictl failed: {said}")
    return answer if isinstance(answer, dict) else {}
