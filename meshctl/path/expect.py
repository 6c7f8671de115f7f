"""``--expect "status=200,cluster=...,mtls"``: what a pipeline demands of a trace."""

from fnmatch import fnmatchcase

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.path.model import Trace

_FIELDS = (
    *("status", "flags", "response_flags", "server_response_flags", "cluster", "route", "mtls", "delivered"),
    *("answered_by", "through_client_proxy", "through_server_proxy", "pod", "timeout", "kube_proxy"),
)


_ALONE = {
    "mtls": "mutual",
    "delivered": "true",
    "through_client_proxy": "true",
    "through_server_proxy": "true",
    "kube_proxy": "true",
}
"""Fields that may stand without a value, and the value that they mean then."""


@dataclass(frozen=True, slots=True)
class Item:
    """One demand, and what is predicted; an undecided prediction meets no demand."""

    field: str
    expected: str
    predicted: str
    met: bool


@dataclass(frozen=True, slots=True)
class Expectation:
    """All demands."""

    items: tuple[Item, ...]

    @property
    def met(self) -> bool:
        """Whether every demand is met."""
        return all(item.met for item in self.items)


def judge(expression: str, trace: Trace) -> Expectation:
    """Compare a trace with an expression. Raises BadInput for a field that there is not.

    ``status=200`` is met as well where the application itself answers: its own status cannot be predicted. What a
    proxy answers to gRPC is ``status=grpc-14``, whatever the HTTP status.
    ``cluster`` and ``pod`` may be any of those that chance may choose; ``*`` stands for anything in a value, ``-`` for
    none, as in the access log.
    """
    items = []
    for part in _parts(expression):
        field, equals, wanted = part.partition("=")
        field = field.strip().replace("-", "_")
        if field not in _FIELDS:
            raise BadInput(f"--expect knows no '{field}'", hint=f"it knows {', '.join(_FIELDS)}")
        if not equals and field not in _ALONE:
            raise BadInput(
                f"--expect {field} says no value",
                hint=f"for example {field}=VALUE; alone may stand {', '.join(_ALONE)}",
            )
        wanted = wanted.strip() if equals else _ALONE[field]
        values = _predicted(field, trace)
        met = any(_fits(field, wanted, value) for value in values)
        items.append(Item(field, wanted, " or ".join(dict.fromkeys(values)) or "none", met))
    if not items:
        raise BadInput("--expect is empty", hint="for example --expect status=200,mtls")
    return Expectation(tuple(items))


def _parts(expression: str) -> list[str]:
    """Split at commas, but not inside a value such as ``flags=URX,UF``: a part that names no field continues one."""
    parts: list[str] = []
    for piece in expression.split(","):
        name = piece.partition("=")[0].strip().replace("-", "_")
        if parts and "=" not in piece and name not in _FIELDS:
            parts[-1] += f",{piece}"
        elif piece.strip():
            parts.append(piece.strip())
    return parts


def _fits(field: str, wanted: str, value: str) -> bool:
    if value == "none" and wanted in ("-", ""):
        return True
    if field == "status" and value == "application":
        return wanted in ("200", "2xx", "application", "*")
    if field == "status" and len(wanted) == 3 and wanted[1:] == "xx":
        return value[:1] == wanted[:1] and len(value) == 3
    return fnmatchcase(value, wanted)


def _predicted(field: str, trace: Trace) -> list[str]:
    outcome = trace.outcome
    end = outcome.end
    words = {True: "true", False: "false", None: "undecided"}
    match field:
        case "status":
            if end.undecided:
                return ["undecided"]
            if end.grpc_status is not None:
                return [f"grpc-{end.grpc_status}"]
            return ["application" if end.delivered else str(end.status) if end.status is not None else end.broken]
        case "flags" | "response_flags":
            return ["undecided" if end.undecided else end.flags or "none"]
        case "server_response_flags":
            return ["undecided" if end.undecided else end.server_flags or "none"]
        case "cluster":
            return [b.cluster or "none" for b in outcome.branches]
        case "route":
            return [outcome.route or "none"]
        case "mtls":
            return [end.mtls or "undecided"]
        case "delivered":
            return [words[end.delivered]]
        case "answered_by":
            return [end.answered_by or "undecided"]
        case "through_client_proxy":
            return [words[end.through_client]]
        case "through_server_proxy":
            return [words[end.through_server]]
        case "kube_proxy":
            return [words[trace.kube_proxy.used]]
        case "timeout":
            return [outcome.timeout or "none"]
        case _:
            return [e.pod for share in outcome.clusters for e in share.endpoints if e.pod]
