"""What meshctl itself put on a cluster in this run: asked for first, and taken away at the end however it ends.

Normal end, error, Ctrl-C, SIGTERM and a closed terminal all run `take_away`. After a kill -9 the Job's own deadline
and TTL do, and the next run, which knows its predecessor by the labels.
"""

import atexit
import os
import platform
import re
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from meshctl.errors import BadInput, MeshctlError
from meshctl.sources.kube_client import Api

MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "meshctl/owner"
PROCESS = "meshctl/process"
SELECTOR = f"{MANAGED_BY}=meshctl"

_things: dict[str, Callable[[], None]] = {}
_lock = threading.Lock()
_registered = False


def owner() -> str:
    """Who runs this: user and host, as a label's value."""
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid{os.getuid()}"
    return _label_value(f"{user}.{platform.node()}")


def process() -> str:
    """This very process, as a label's value."""
    return _label_value(f"{platform.node()}.{os.getpid()}")


def _label_value(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.") or "unknown"


def labels() -> dict[str, str]:
    """The labels of everything that meshctl makes; no mesh may inject into it or capture it."""
    return {
        MANAGED_BY: "meshctl",
        OWNER: owner(),
        PROCESS: process(),
        "sidecar.istio.io/inject": "false",
        "istio.io/dataplane-mode": "none",
    }


def new_name(stem: str) -> str:
    """A name that two runs at once will not share."""
    return f"{stem}-{secrets.token_hex(4)}"


def consent(text: str, assume_yes: bool, question: str = "Create it?") -> None:
    """Say on stderr what will be done and have it confirmed. Raises BadInput where nobody can be asked."""
    print(text, file=sys.stderr)
    if assume_yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nothing was done: there is no terminal to ask on", hint="add --yes to agree beforehand")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was done, as you said")


def keep(what: str, remove: Callable[[], None]) -> None:
    """Remember how to take away something that is about to be created."""
    global _registered
    with _lock:
        _things[what] = remove
        if not _registered:
            # Not before: `kubernetes` deletes the certificates that it unpacked at exit too, and exit runs backwards.
            _registered = True
            atexit.register(take_away)
    arm()


def forget(what: str) -> None:
    """It is gone already."""
    with _lock:
        _things.pop(what, None)


def take_away() -> None:
    """Remove everything that was kept; Ctrl-C waits meanwhile, a failure is said and does not stop the rest."""
    with _lock:
        todo = dict(_things)
        _things.clear()
    if not todo:
        return
    quiet = _in_main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if quiet else None
    try:
        for what, remove in todo.items():
            try:
                remove()
            except MeshctlError as error:
                print(f"{what} could not be removed: {error}", file=sys.stderr)
                print("run `meshctl debug-pods clean` later; its TTL removes it too", file=sys.stderr)
    finally:
        if quiet and before is not None:
            signal.signal(signal.SIGINT, before)


def arm() -> None:
    """Let SIGTERM and SIGHUP end the process as an exit does (main thread only)."""
    if _in_main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _leave)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _leave(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def is_abandoned(item: Mapping[str, Any]) -> bool:
    """Whether the process of this host and user that made something is gone without taking it away."""
    found = (item.get("metadata") or {}).get("labels") or {}
    host, _, pid = str(found.get(PROCESS) or "").rpartition(".")
    if found.get(OWNER) != owner() or not pid.isdigit() or host != process().rpartition(".")[0]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def jobs(api: Api, namespace: str | None) -> list[Mapping[str, Any]]:
    """The Jobs that any meshctl made and that are still there."""
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs" if namespace else "/apis/batch/v1/jobs"
    where = f"namespace {namespace}" if namespace else "all namespaces"
    pages = api.pages(path, [("labelSelector", SELECTOR)], f"list jobs.batch in {where}")
    return [item for page in pages for item in page]


def delete_job(api: Api, namespace: str, name: str) -> None:
    """Delete a Job and its pod."""
    api.delete(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}", f"delete the job {name} in namespace {namespace}")
