"""A status, flags or a log line taken apart, as a document (``meshctl.why/v1``) and as a page."""

import re
from collections.abc import Sequence
from typing import TypeAlias

from meshctl.blocks import Block, Facts, Heading, Line, Note, Page, Span, Text, Verbatim
from meshctl.envoy.access_log import LogLine, fields
from meshctl.path.why import Reading, side_of
from meshctl.path.why_here import Here

SCHEMA = "meshctl.why/v1"
_SHOWN = (
    ("request", "request"),
    ("response_code", "status"),
    ("response_flags", "flags"),
    ("response_code_details", "details"),
    ("connection_termination_details", "connection ended"),
    ("upstream_transport_failure_reason", "transport failure"),
    ("authority", "host"),
    ("upstream_cluster", "cluster"),
    ("upstream_host", "endpoint"),
    ("upstream_local_address", "proxy's address towards it"),
    ("downstream_remote_address", "client"),
    ("downstream_local_address", "client connected to"),
    ("requested_server_name", "SNI"),
    ("route_name", "route"),
    ("duration", "milliseconds"),
)


Found: TypeAlias = Sequence[tuple[Reading, tuple[Here, ...]]]
"""What was given, taken apart, and what a recording or cluster says of each."""


def document(found: Found) -> dict[str, object]:
    """The first, which failed if any did, with its meanings and usual causes; the `others` likewise."""
    first, *others = (_document(reading, here) for reading, here in found)
    return {**first, "others": others}


def _document(reading: Reading, here: tuple[Here, ...]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "status": reading.status,
        "flags": list(reading.flags),
        "fields": fields(reading.log) if reading.log else {},
        "meanings": [
            {
                "word": meaning.word,
                "plain": meaning.plain,
                "causes": [{"text": cause.text, "command": cause.command} for cause in meaning.causes],
            }
            for meaning in reading.meanings
        ],
        "causes": [{"text": c.text, "command": c.command, "told_by_the_line": c.told} for c in reading.causes],
        "unknown": list(reading.unknown),
        "times": reading.times,
        "here": [{"pod": h.pod, "line": h.line, "says": h.says, "command": h.command} for h in here],
    }


def page(found: Found) -> Page:
    """Each word in plain words, the usual causes in order, and the command that tells which.

    Of several lines those that failed; of the others only how many there are.
    """
    shown = [(reading, here) for reading, here in found if reading.failed] or found[:1]
    blocks = [block for reading, here in shown for block in _blocks(reading, here)]
    rest = [reading for reading, _ in found if not any(reading is one for one, _ in shown)]
    if rest:
        lines = sum(reading.times for reading in rest)
        blocks.append(Note(f"{lines} more {'line is' if lines == 1 else 'lines are'} of requests that did not fail"))
    return Page(_words(found[0][0]), tuple(blocks))


def _words(reading: Reading) -> str:
    return " ".join([*([str(reading.status)] if reading.status is not None else []), ",".join(reading.flags)]).strip()


def _blocks(reading: Reading, here: tuple[Here, ...]) -> list[Block]:
    times = f" ({reading.times} lines, the last of them)" if reading.times > 1 else ""
    blocks: list[Block] = [Heading(f"{_words(reading) or 'access log'}{times}", 1)]
    if reading.log is not None:
        told = fields(reading.log)
        rows: list[tuple[str, Line]] = [(title, told[name]) for name, title in _SHOWN if name in told]
        blocks.append(Facts(tuple(rows)))
        blocks.append(Text(Span(_direction(reading.log), "dim")))
    blocks += [Heading((Span(meaning.word, "name"), f"  {meaning.plain}"), 3) for meaning in reading.meanings]
    if reading.causes:
        known = any(cause.told for cause in reading.causes)
        blocks.append(Heading("Causes, what the line says first" if known else "Causes, the likeliest first"))
        for number, cause in enumerate(reading.causes, 1):
            blocks.append(Text(f"{number}. {cause.text}{' (the line says so)' if cause.told else ''}", 2))
            blocks.append(Verbatim(cause.command, 5))
    blocks += [Note(_stranger(word), "warn") for word in reading.unknown]
    if here:
        blocks.append(Heading("Here"))
        blocks += [
            Note(h.says, "bad" if h.bad else "info", tuple(x for x in (h.pod, h.line, h.command) if x)) for h in here
        ]
    return blocks


def _stranger(word: str) -> str:
    """A word that is no status and no flag."""
    if re.fullmatch(r"M[CT]\d{3}", word, re.IGNORECASE):
        return f"{word} looks like the id of a finding: meshctl why {word} explains it"
    return f"not known: {word}"


def _direction(line: LogLine) -> str:
    """Whose line it is and where it went, as far as its cluster tells."""
    match side_of(line):
        case "inbound":
            return "Logged by the callee's proxy: the request came in to this pod."
        case "outbound" if line.cluster.startswith("outbound"):
            return "Logged by the caller's proxy: the request left this pod."
        case "outbound" if line.cluster == "PassthroughCluster":
            return "Logged by the caller's proxy: the mesh does not know the destination, so it was passed through."
        case "outbound":
            return "Logged by the caller's proxy: the mesh does not know the destination, so it was refused."
        case "":
            pass
    if line.cluster:
        return f"It went to {line.cluster}, which is no cluster of a Service."
    if not line.names_cluster:
        return "The line does not say which cluster it went to, nor whose proxy logged it."
    return "The line names no cluster: no endpoint was chosen."
