"""Reads a process's network namespace: the fixed commands of `readonly`, run inside it by a child process.

The parent opens the namespace's file and decides by that descriptor (inode and device) whether it may be entered; the
child enters through the same descriptor, so what was checked is what is read even if the PID is reused meanwhile. The
CLI's own process never changes its namespace. This file is also the child's program; it is the only one that imports
`nsenter`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.sources import plain_request, proc_scan
from meshctl.sources.plain_request import PlainAnswer, PlainRequest, answer_of
from meshctl.sources.proc_scan import NamespaceId
from meshctl.sources.readonly import BY_PART, EMPTY_RULESETS, NETNS_PARTS, PROCESSES, RESOLV_CONF, ReadCommand
from meshctl.sources.world import Part

if TYPE_CHECKING:
    from socket import socket

COMMAND_TIMEOUT_S = 15.0
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


def collect(
    pid: int,
    names: Sequence[str] = NETNS_PARTS,
    *,
    same_as: NamespaceId | None = None,
    proc: Path = proc_scan.PROC,
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> Mapping[str, Part]:
    """Read the named parts of the network namespace that a process lives in.

    `same_as` is the namespace that the look-up found: another one now means that the PID has been reused. A tool that
    is not installed, or fails, leaves a gap in its part. Raises NotFound (no such process), NoAccess (not root),
    BadInput (it is the host's namespace) and Unavailable (it went away, or the child failed).
    """
    descriptor, namespace = _open(pid, proc)
    try:
        if same_as is not None and namespace != same_as:
            raise Unavailable(
                f"process {pid} is not the one that was looked up: it lives in {namespace}, not in {same_as}",
                hint="the container was restarted meanwhile; run the command again",
            )
        _refuse_host(pid, namespace, proc)
        parts = _run_child(pid, descriptor, namespace, [name for name in names if name in BY_PART], timeout_s)
        inside = proc_scan.processes_in(namespace, proc) if {PROCESSES, RESOLV_CONF} & set(names) else ()
    finally:
        os.close(descriptor)
    if PROCESSES in names:
        parts[PROCESSES] = Part(f"/proc, processes in {namespace}", proc_scan.processes_json(inside))
    if RESOLV_CONF in names:
        parts[RESOLV_CONF] = _resolv_conf([pid, *(process.pid for process in inside)], proc)
    unknown = {
        name: Part(name, None, f"{name} is not read from a network namespace") for name in names if name not in parts
    }
    return {**parts, **unknown}


def http_get(pid: int, port: int, path: str, *, same_as: NamespaceId | None = None, timeout_s: float = 30.0) -> bytes:
    """GET from a port of the namespace's loopback: a proxy's admin interface. Raises as `collect`, Unavailable too."""
    descriptor, namespace = _open(pid, proc_scan.PROC)
    try:
        if same_as is not None and namespace != same_as:
            raise Unavailable(f"process {pid} is not the one that was looked up", hint="run the command again")
        _refuse_host(pid, namespace, proc_scan.PROC)
        request = {"fd": descriptor, "namespace": namespace, "names": [], "timeout_s": timeout_s}
        done = _spawn(pid, descriptor, {**request, "get": [port, path]}, timeout_s + 10)
    finally:
        os.close(descriptor)
    part = _read_frames(done, pid)["get"]
    if part.content is None:
        raise Unavailable(f"port {port} of process {pid}'s namespace: {part.gap}")
    return part.content


def send(pid: int, request: PlainRequest, *, same_as: NamespaceId | None = None) -> PlainAnswer:
    """Send one request from inside the namespace, as the application's user. Raises as `collect`."""
    descriptor, namespace = _open(pid, proc_scan.PROC)
    try:
        if same_as is not None and namespace != same_as:
            raise Unavailable(f"process {pid} is not the one that was looked up", hint="run the command again")
        _refuse_host(pid, namespace, proc_scan.PROC)
        asked = {"fd": descriptor, "namespace": namespace, "names": [], "timeout_s": request.timeout_s}
        done = _spawn(pid, descriptor, {**asked, "send": asdict(request)}, request.timeout_s * 2 + 10)
    finally:
        os.close(descriptor)
    return answer_of(_read_frames(done, pid)["send"].content or b"{}")


def _open(pid: int, proc: Path) -> tuple[int, NamespaceId]:
    try:
        descriptor = os.open(proc / str(pid) / "ns" / "net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"there is no process {pid}", hint="`meshctl pod pids POD` lists a pod's processes") from None
    except PermissionError:
        raise needs_root(pid) from None
    except OSError as error:
        raise Unavailable(f"the network namespace of process {pid} cannot be opened: {error.strerror}") from error
    found = os.fstat(descriptor)
    return descriptor, NamespaceId(found.st_dev, found.st_ino)


def needs_root(pid: int) -> NoAccess:
    """The refusal to enter a process's namespace, with what to run instead."""
    if os.geteuid() == 0:
        return NoAccess(
            f"the network namespace of process {pid} may not be entered, though meshctl runs as root",
            hint="in a container it takes hostPID and privileged (CAP_SYS_ADMIN and CAP_SYS_PTRACE)",
        )
    again = shlex.join(["sudo", *sys.argv]) if sys.argv and sys.argv[0] not in ("", "-c") else "sudo meshctl ..."
    return NoAccess(
        f"entering the network namespace of process {pid} needs root (CAP_SYS_ADMIN and CAP_SYS_PTRACE)",
        hint=f"run `{again}`, or read the rules without root on the node: `--via debug-pod`",
    )


def _refuse_host(pid: int, namespace: NamespaceId, proc: Path) -> None:
    whose = proc_scan.host_namespaces(proc).get(namespace)
    if whose:
        raise BadInput(
            f"process {pid} lives in {whose} network namespace ({namespace}), not in one of a pod",
            hint="the pod uses hostNetwork, or the PID belongs to another process: Istio does not redirect such a pod",
        )


def _resolv_conf(pids: Iterable[int], proc: Path) -> Part:
    for pid in dict.fromkeys(pids):
        content = proc_scan.read_inside(pid, ("etc", "resolv.conf"), proc)
        if content is not None:
            return Part(f"/etc/resolv.conf of process {pid}", content)
    return Part("/etc/resolv.conf", None, "no process of the pod has a readable /etc/resolv.conf")


def _run_child(
    pid: int, descriptor: int, namespace: NamespaceId, names: Sequence[str], timeout_s: float
) -> dict[str, Part]:
    if not names:
        return {}
    request = {"fd": descriptor, "namespace": namespace, "names": names, "timeout_s": timeout_s}
    return _read_frames(_spawn(pid, descriptor, request, timeout_s * len(names) + 10), pid)


def _spawn(pid: int, descriptor: int, request: Mapping[str, object], timeout_s: float) -> bytes:
    environment = {**os.environ, "PYTHONPATH": _import_path(), "LC_ALL": "C"}
    # -P: a file in the current folder must not be imported by a process that runs as root.
    argv = [sys.executable, "-P", "-m", "meshctl.sources.netns", json.dumps(request)]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(descriptor,),
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"reading the network namespace of process {pid} took over {timeout_s:.0f} s") from None
    if done.returncode:
        raise _child_failed(pid, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def _import_path() -> str:
    package_root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(dict.fromkeys([*filter(None, sys.path), package_root]))


def _child_failed(pid: int, code: int, stderr: str) -> MeshctlError:
    last = stderr.strip().rsplit("\n", 1)[-1]
    if code == _REFUSED:
        return needs_root(pid)
    return Unavailable(f"the network namespace of process {pid} could not be entered: {last or f'exit code {code}'}")


def _read_frames(answer: bytes, pid: int) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        head = json.loads(answer[at:end])
        at = end + 1
        source = f"{head['source']} (process {pid})"
        content = None if head["gap"] else answer[at : at + head["length"]]
        parts[head["name"]] = Part(source, content, head["gap"])
        at += head["length"]
    return parts


# --- the child: from here on this is another process, and it may change its namespace ---

_REFUSED = 77
_BROKEN = 78


def _child(request: str) -> int:
    """Enter the namespace of the inherited descriptor and answer with one frame a part."""
    asked = json.loads(request)
    from nsenter import Namespace

    try:
        with Namespace(f"/proc/self/fd/{asked['fd']}", "net"):
            if tuple(proc_scan.namespace_of("self")) != tuple(asked["namespace"]):
                print("the namespace that was entered is not the one that was asked for", file=sys.stderr)
                return _BROKEN
            for name in asked["names"]:
                _answer(name, *run_read_command(BY_PART[name], asked["timeout_s"]))
            if "get" in asked:
                port, path = asked["get"]
                _answer("get", *_http_get(port, path, asked["timeout_s"]))
            if "send" in asked:
                found = plain_request.send(plain_request.from_json(asked["send"]))
                _answer("send", "sent", json.dumps(asdict(found)).encode(), "")
    except PermissionError as error:
        print(error, file=sys.stderr)
        return _REFUSED
    except OSError as error:
        # nsenter raises OSError with the errno's name, which Python does not map to PermissionError by itself.
        print(error, file=sys.stderr)
        return _REFUSED if error.args and error.args[0] in (1, 13) else _BROKEN
    return 0


def _answer(name: str, source: str, content: bytes, gap: str) -> None:
    head = {"name": name, "source": source, "gap": gap, "length": len(content)}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + content)
    sys.stdout.buffer.flush()


def _http_get(port: int, path: str, timeout_s: float) -> tuple[str, bytes, str]:
    import http.client

    source = f"http://localhost:{port}{path}"
    connection = http.client.HTTPConnection("localhost", port, timeout=timeout_s)
    try:
        connection.sock = _to_loopback(port, timeout_s)
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        return source, b"", f"{source} does not answer: {error}"
    finally:
        connection.close()
    return (source, content, "") if response.status == 200 else (source, b"", f"{source} answered {response.status}")


def _to_loopback(port: int, timeout_s: float) -> "socket":
    """A connection to a port of this namespace itself; a pod without IPv4 has its proxy's administration on ::1."""
    from socket import create_connection

    try:
        return create_connection(("127.0.0.1", port), timeout_s)
    except OSError as error:
        try:
            return create_connection(("::1", port), timeout_s)
        except OSError:
            raise error from None


def run_read_command(command: ReadCommand, timeout_s: float) -> tuple[str, bytes, str]:
    """Run one of the fixed commands here: its text, what it printed, and why there is nothing (else empty)."""
    path = os.pathsep.join((*_SYSTEM_FOLDERS, os.environ.get("PATH", "")))
    for argv in command.argvs:
        program = shutil.which(argv[0], path=path)
        if program:
            return _run(shlex.join(argv), [program, *argv[1:]], command.part, timeout_s)
    return (
        command.program,
        b"",
        f"`{command.program}` is not installed here (package {command.package}){_instead(command)}",
    )


def _instead(command: ReadCommand) -> str:
    """What there is without iptables' own programs."""
    if command.package != "iptables":
        return ""
    return "; `nft` shows native tables in full and iptables' own in part, --via debug-pod brings the tools"


def _run(text: str, argv: list[str], part: str, timeout_s: float) -> tuple[str, bytes, str]:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return text, b"", f"`{text}` did not finish within {timeout_s:.0f} s"
    except OSError as error:
        return text, b"", f"`{text}` could not be run: {error.strerror}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        return text, b"", f"`{text}` failed: {said or f'exit code {done.returncode}'}"
    return text, done.stdout or EMPTY_RULESETS.get(part, b""), ""


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1]))
