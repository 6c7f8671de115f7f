"""What is run in a debug pod: find the target's processes by its uid, then read its namespace with fixed commands.

The shell opens the namespace's file, compares device and inode with what was looked up, and enters through the same
descriptor: a PID that was reused in between is noticed.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshctl.errors import MeshctlError, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import proc_scan
from meshctl.sources.kube_client import Api
from meshctl.sources.kube_streams import Exit
from meshctl.sources.local_pods import uids
from meshctl.sources.readonly import BY_PART, EMPTY_RULESETS, PROCESSES, RESOLV_CONF
from meshctl.sources.world import Part

Raw = Mapping[str, Any]

# Arguments: the uid with dashes, and with underscores. Records end with FS (034), fields with GS (035); the words of a
# command line are parted by RS (036). A kubelet mount of /etc/hosts tells the pod where the cgroup is hidden.
FIND = r"""
host=$(stat -L -c %d:%i /proc/1/ns/net)
found=$(grep -lsF -e "pod$1" -e "pod$2" /proc/[0-9]*/cgroup)
[ -n "$found" ] || found=$(grep -lsF -e "/pods/$1/etc-hosts /etc/hosts " /proc/[0-9]*/mountinfo)
for file in $found; do
  at=${file%/*}
  space=$(stat -L -c %d:%i "$at/ns/net" 2>/dev/null) || continue
  [ "$space" != "$host" ] || continue
  printf '%s\035%s\035%s\035' "${at#/proc/}" "$space" "$(stat -c %u "$at" 2>/dev/null)"
  cat "$at/stat" 2>/dev/null; printf '\035'
  tr '\000' '\036' < "$at/cmdline" 2>/dev/null; printf '\035'
  cat "$at/cgroup" 2>/dev/null; printf '\034'
done
"""

# Arguments: the PID, device:inode, and the command.
ENTER = (
    'exec 9<"/proc/$1/ns/net" && [ "$(stat -L -c %d:%i /proc/self/fd/9)" = "$2" ] || exit 75; '
    'shift 2; exec nsenter --net=/proc/self/fd/9 -- "$@"'
)
_REUSED = 75
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Inside:
    """A container to run commands in."""

    api: Api
    namespace: str
    pod: str
    container: str
    timeout_s: float

    def run(self, argv: Sequence[str]) -> Exit:
        """Run one command."""
        return self.api.run(self.namespace, self.pod, self.container, argv, self.timeout_s)


@dataclass(frozen=True, slots=True)
class Seen:
    """A process of the target pod, as the debug pod sees it; `space` is device:inode."""

    pid: int
    space: str
    uid: str
    started_ticks: int
    cmdline: tuple[str, ...]
    cgroup: str


def parts(inside: Inside, pod: Raw, names: Sequence[str]) -> Mapping[str, Part]:
    """The parts of the target's namespace."""
    found = processes(inside, sorted(uids(pod)))
    # One pod may hold several namespaces (a runtime inside a container): the oldest process is the sandbox's.
    first = min(found, key=lambda seen: (seen.started_ticks, seen.pid))
    members = [seen for seen in found if seen.space == first.space]
    answers: dict[str, Part] = {}
    if PROCESSES in names:
        answers[PROCESSES] = Part(f"/proc in {inside.pod}", _processes_json(members))
    if RESOLV_CONF in names:
        answers[RESOLV_CONF] = _resolv_conf(inside, members)
    todo = [name for name in names if name in BY_PART]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        answers.update(zip(todo, pool.map(lambda name: _read(inside, first, name), todo), strict=True))
    return {name: answers.get(name) or Part(name, None, f"{name} is not read from a namespace") for name in names}


def processes(inside: Inside, known_as: Sequence[str]) -> tuple[Seen, ...]:
    """The target's processes. Raises NotFound where the node runs none, Unavailable where the image lacks a tool."""
    for uid in known_as:
        done = inside.run(["sh", "-c", FIND, "sh", uid, uid.replace("-", "_")])
        if done.code != 0 and not done.stdout:
            said = done.problem or done.stderr.decode(errors="replace").strip()
            raise Unavailable(
                f"the debug pod's image cannot look for the pod: {said}",
                hint="it needs sh, grep and stat: --debug-image",
            )
        if found := read(done.stdout):
            return found
    raise NotFound(
        "the debug pod sees no process of the target in a network namespace of its own",
        hint="its containers may have ended, or run in a sandbox (gVisor, Kata)",
    )


def read(output: bytes) -> tuple[Seen, ...]:
    """The processes in what `FIND` printed; a record of a process that ended meanwhile is left out."""
    found = []
    for record in output.decode(errors="replace").split("\x1c"):
        fields = record.split("\x1d")
        if len(fields) != 6:
            continue
        try:
            ticks = proc_scan.started_ticks(fields[3])
        except (ValueError, IndexError):
            continue
        words = tuple(fields[4].rstrip("\x1e").split("\x1e"))
        found.append(Seen(int(fields[0]), fields[1], fields[2], ticks, words, fields[5].rstrip("\n")))
    return tuple(found)


def _processes_json(members: Sequence[Seen]) -> bytes:
    rows = [
        {
            "pid": seen.pid,
            "cmdline": list(seen.cmdline),
            "cgroup": seen.cgroup,
            "uid": seen.uid,
            "starttime_ticks": seen.started_ticks,
        }
        for seen in sorted(members, key=lambda seen: (seen.started_ticks, seen.pid))
    ]
    return (json.dumps(rows, indent=1) + "\n").encode()


def _resolv_conf(inside: Inside, members: Sequence[Seen]) -> Part:
    for seen in members:
        path = f"/proc/{seen.pid}/root/etc/resolv.conf"
        done = inside.run(["sh", "-c", '[ ! -L "$1" ] && cat "$1"', "sh", path])
        if done.code == 0:
            return Part("/etc/resolv.conf of the pod", done.stdout)
    return Part("/etc/resolv.conf", None, "no process of the pod has a readable /etc/resolv.conf")


def _read(inside: Inside, target: Seen, name: str) -> Part:
    gap = ""
    for argv in BY_PART[name].argvs:
        text = " ".join(argv)
        source = f"{text} (process {target.pid}, by {inside.pod})"
        try:
            done = inside.run(["sh", "-c", ENTER, "sh", str(target.pid), target.space, *argv])
        except MeshctlError as error:
            return Part(source, None, str(error))
        if done.code == 0:
            return Part(source, done.stdout or EMPTY_RULESETS.get(name, b""))
        if done.code == _REUSED:
            return Part(source, None, "the process ended meanwhile; run the command again")
        said = done.problem or done.stderr.decode(errors="replace").strip().split("\n")[-1]
        gap = f"`{text}` by the debug pod: {said or f'exit code {done.code}'}"
    return Part(name, None, gap)
