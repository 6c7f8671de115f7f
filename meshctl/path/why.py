"""What a status, flags or a line of an access log says: its words (``path/flags.py``) and their causes in one order."""

import re
import shlex
from dataclasses import replace

from meshctl.envoy import access_log
from meshctl.envoy.access_log import LogLine
from meshctl.frozen import dataclass
from meshctl.path.flags import DETAILS, FLAGS, STATUS, WITHOUT_FLAG, Cause, Meaning, Side, flag_of


@dataclass(frozen=True, slots=True)
class Reading:
    """A status and flags taken apart; `causes` are those of all of them, the likeliest first.

    `times`: how many of several lines ended like `log`, the newest of them.
    """

    status: int | None
    flags: tuple[str, ...]
    meanings: tuple[Meaning, ...]
    log: LogLine | None = None
    unknown: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    times: int = 1

    @property
    def failed(self) -> bool:
        """Whether it is no success: a status from 400 on, a flag, or a request without an answer."""
        unanswered = self.status == 0 and self.log is not None and self.log.is_http
        return bool(self.flags) or unanswered or (self.status or 0) >= 400


def flags_in(text: str) -> tuple[str, ...]:
    """The flags in ``UF,URX``; ``-`` is none."""
    return tuple(part.strip() for part in text.split(",") if part.strip() not in ("", "-"))


def _explain(status: int | None, flags: tuple[str, ...], details: tuple[str, ...] = ()) -> tuple[Meaning, ...]:
    """Say what each word means, the status first; an unknown word is left out (see `Reading.unknown`)."""
    found = []
    if status is not None:
        plain = STATUS.get(status) or _family(status)
        if plain:
            found.append(Meaning(str(status), plain, _without_flag(status, flags)))
    found += [FLAGS[flag] for flag in flags if flag in FLAGS]
    for detail in details:
        for pattern, plain in DETAILS:
            match = re.search(pattern, detail)
            if match:
                found.append(Meaning(detail, plain.format(*(group.replace("_", " ") for group in match.groups()))))
                break
    return tuple(found)


def _family(status: int) -> str:
    if 200 <= status < 300:
        return "success"
    if 400 <= status < 500:
        return "refused by whoever answered (the details say who)"
    return "failed" if status >= 500 else ""


def _without_flag(status: int, flags: tuple[str, ...]) -> tuple[Cause, ...]:
    return () if flags else WITHOUT_FLAG.get(status, ())


def read_all(words: tuple[str, ...]) -> tuple[Reading, ...]:
    """Take apart what the user gave, which may be several lines of a log: each way to end once, failures first.

    Lines that are none of an access log (a proxy's own messages) are passed over where others are.
    """
    given = "\n".join(words) if len(words) == 1 else " ".join(words)
    lines = list(access_log.parse(given, "")) if "\n" in given else []
    if len(lines) < 2 and not any(line.names_cluster for line in lines):
        return (read(tuple(" ".join(word.split("\n")) for word in words)),)
    found: dict[tuple[object, ...], Reading] = {}
    for line in lines:
        key = (line.status, line.flags, line.details, line.termination, line.failure, line.cluster)
        before = found.pop(key, None)
        found[key] = replace(_of_line(line), times=before.times + 1 if before else 1)
    newest_first = tuple(found.values())[::-1]
    return tuple(sorted(newest_first, key=lambda reading: not reading.failed))


def read(words: tuple[str, ...]) -> Reading:
    """Take apart a status, flags, details, or a whole line of an access log."""
    line = access_log.parse_line(" ".join(words))
    return _ordered(_words(words), ()) if line is None else _of_line(line)


def _of_line(line: LogLine) -> Reading:
    details = tuple(value for value in (line.details, line.termination, line.failure) if value)
    meanings = _explain(line.status, line.flags, details)
    return _ordered(Reading(line.status, line.flags, meanings, line, _unknown(line.flags)), details)


def side_of(line: LogLine) -> Side:
    """Whose proxy wrote a line, by the cluster that it names; empty where that tells nothing."""
    if line.inbound:
        return "inbound"
    return "outbound" if line.cluster.startswith(_OUTBOUND) else ""


_OUTBOUND = ("outbound|", "outbound_.", "PassthroughCluster", "BlackHoleCluster")
_VAGUE = ("URX",)
"""Flags that only say how often it was tried: what failed is in the flag beside them."""


def _ordered(reading: Reading, details: tuple[str, ...]) -> Reading:
    """The causes of all words in one order: what the details tell first, then as often as they are met."""
    flags = [m for m in reading.meanings if m.word in reading.flags]
    telling = [m for m in flags if m.word not in _VAGUE] or flags
    others = [m for m in reading.meanings if m not in flags]
    waited = ("timeout",) if _waited(reading.log) else ()
    line = reading.log
    went_to = (line.cluster, line.route) if line is not None else ()
    said = " ".join((*details, *(m.word for m in others), *waited, *went_to))
    found: list[Cause] = []
    causes = [cause for meaning in (*telling, *others) for cause in meaning.causes]
    side = side_of(line) if line is not None else ""
    for cause in [c for c in causes if not side or c.side in ("", side)] or causes:
        told = bool(cause.sign and re.search(cause.sign, said))
        filled = replace(cause, command=_filled(cause.command, reading.log), told=told)
        if filled.text not in {one.text for one in found}:
            found.append(filled)
    if any("CERTIFICATE_VERIFY_FAILED" in cause.sign and cause.told for cause in found):
        # OpenSSL's reason is part of what "TLS error" says, and the narrower one is the cause.
        found = [replace(c, told="CERTIFICATE" in c.sign) if c.told else c for c in found]
    return replace(reading, causes=tuple(sorted(found, key=lambda cause: not cause.told)))


def _filled(command: str, line: LogLine | None) -> str:
    """The command with what the line says in place of its capitals."""
    if line is None:
        return command
    host, port = _called(line)
    named = f"{host}:{port}" if host and port else ""
    if named and not line.authority:
        named = f"tcp://{named}"
    path = "" if line.path in ("", "/") else f" --path {shlex.quote(line.path)}"
    method = "" if line.method in ("", "GET", "-") else f" --method {shlex.quote(line.method)}"
    service, namespace, *rest = (*line.cluster.rpartition("|")[2].split(".", 2), "", "")
    of_service = rest[0].startswith("svc.")
    for word, value in (
        (" --path PATH", path or " --path /"),
        ("SERVICE:PORT", f"{shlex.quote(named)}{'' if ' --path' in command else path}{method}" if named else ""),
        ("service-name=SERVICE", f"service-name={service} -n {namespace}" if of_service else ""),
        ("CLUSTER", f"'{line.cluster}'" if line.cluster else ""),
        ("ADDRESS", line.local.rpartition(":")[0].strip("[]")),
        ("--host HOST", f"--host {shlex.quote(line.authority)}" if line.authority else ""),
        ("--port PORT", f"--port {port}" if port else ""),
    ):
        command = command.replace(word, value) if value else command
    return command


def _called(line: LogLine) -> tuple[str, str]:
    """The host and port that the line's client asked for; empty what it does not tell.

    The callee's proxy logs the pod's own port; the Service's is in the name of mutual TLS (``outbound_.80_._.HOST``).
    """
    host, colon, port = line.authority.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = line.authority, ""
    address, _, number = line.local.rpartition(":")
    named = re.match(r"outbound_\.(\d+)_\.", line.server_name) if line.inbound else None
    return host or address, port or (named[1] if named else number)


_CONNECT_TIMEOUT_MS = 10_000
"""Istio's ``connectTimeout`` where nothing else is set: what a try to connect to an address without an answer takes."""


def _waited(line: LogLine | None) -> bool:
    """Whether a connection that failed for no logged reason took as long as some whole tries that time out."""
    if line is None or line.failure or "UF" not in line.flags or not line.duration_ms:
        return False
    tries = round(line.duration_ms / _CONNECT_TIMEOUT_MS)
    return tries > 0 and abs(line.duration_ms - tries * _CONNECT_TIMEOUT_MS) < 500


def _words(words: tuple[str, ...]) -> Reading:
    status: int | None = None
    flags_found: list[str] = []
    details_found: list[str] = []
    unknown: list[str] = []
    for word in (part for given in words for part in given.split()):
        pieces = flags_in(word)
        if word.isdecimal() and (int(word) == 0 or 100 <= int(word) < 600):
            status = int(word)
        elif any(flag_of(piece) in FLAGS for piece in pieces):
            flags_found += [flag_of(piece) for piece in pieces if flag_of(piece) in FLAGS]
            unknown += [piece for piece in pieces if flag_of(piece) not in FLAGS]
        elif any(re.search(pattern, word) for pattern, _ in DETAILS):
            details_found.append(word)
        elif word != "-":
            unknown.append(word)
    flags = tuple(flags_found)
    return Reading(status, flags, _explain(status, flags, tuple(details_found)), None, tuple(unknown))


def _unknown(flags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(flag for flag in flags if flag not in FLAGS)
