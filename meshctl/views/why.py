"""A status, flags or a log line taken apart, as a document (``meshctl.why/v1``) and as a page."""

from meshctl.blocks import Block, Facts, Heading, Line, Note, Page, Span, Text, Verbatim
from meshctl.envoy.access_log import fields
from meshctl.path.why import Reading
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


def document(reading: Reading, here: tuple[Here, ...] = ()) -> dict[str, object]:
    """The words with their meanings and usual causes; `here` what a recording or cluster says."""
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
        "here": [{"pod": h.pod, "line": h.line, "says": h.says, "command": h.command} for h in here],
    }


def page(reading: Reading, here: tuple[Here, ...] = ()) -> Page:
    """Each word in plain words, the usual causes in order, and the command that tells which."""
    words = " ".join([*([str(reading.status)] if reading.status is not None else []), ",".join(reading.flags)]).strip()
    blocks: list[Block] = [Heading(words or "access log", 1)]
    if reading.log is not None:
        told = fields(reading.log)
        rows: list[tuple[str, Line]] = [(title, told[name]) for name, title in _SHOWN if name in told]
        blocks.append(Facts(tuple(rows)))
        blocks.append(Text(Span(_direction(reading), "dim")))
    blocks += [Heading((Span(meaning.word, "name"), f"  {meaning.plain}"), 3) for meaning in reading.meanings]
    if reading.causes:
        known = any(cause.told for cause in reading.causes)
        blocks.append(Heading("Causes, what the line says first" if known else "Causes, the likeliest first"))
        for number, cause in enumerate(reading.causes, 1):
            blocks.append(Text(f"{number}. {cause.text}{' (the line says so)' if cause.told else ''}", 2))
            blocks.append(Verbatim(cause.command, 5))
    if reading.unknown:
        blocks.append(Note(f"not known: {', '.join(reading.unknown)}", "warn"))
    if here:
        blocks.append(Heading("Here"))
        blocks += [
            Note(h.says, "bad" if h.bad else "info", tuple(x for x in (h.pod, h.line, h.command) if x)) for h in here
        ]
    return Page(words, tuple(blocks))


def _direction(reading: Reading) -> str:
    cluster = reading.log.cluster if reading.log else ""
    if cluster.startswith("inbound|"):
        return "Logged by the callee's proxy: the request came in to this pod."
    if cluster.startswith("outbound|"):
        return "Logged by the caller's proxy: the request left this pod."
    if cluster == "PassthroughCluster":
        return "Logged by the caller's proxy: the mesh does not know the destination, so it was passed through."
    return "The line names no cluster: no endpoint was chosen."
