"""``--expect "status=200,cluster=...,mtls"``: what a pipeline demands of a trace."""

import re
from fnmatch import fnmatchcase

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.path.flags import FLAGS, flag_of
from meshctl.path.model import Trace
from meshctl.path.why import flags_in

_BOOLEAN = ("true", "false")
_FLAGS = ("flags", "response_flags", "server_response_flags")
_CLOSED: dict[str, tuple[str, ...]] = {
    "status": ("application", "reset", "refused", "timeout", "dns", "tls"),
    "mtls": ("mutual", "none"),
    "delivered": _BOOLEAN,
    "answered_by": ("app", "client-proxy", "server-proxy", "gateway", "nobody"),
    "through_client_proxy": _BOOLEAN,
    "through_server_proxy": _BOOLEAN,
    "kube_proxy": _BOOLEAN,
}
"""Fields with a closed set of values; a status may be a number, a class of them, or gRPC's as well."""
_FIELDS = (
    *("status", "flags", "response_flags", "server_response_flags", "cluster", "route", "mtls", "delivered"),
    *("answered_by", "through_client_proxy", "through_server_proxy", "pod", "timeout", "kube_proxy"),
)
_STATUS = re.compile(r"[1-5]xx")
_STATUSES = (*(str(number) for number in range(100, 600)), *(f"grpc-{number}" for number in range(17)))


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
    """Compare a trace with an expression. Raises BadInput for a field that there is not, or a value that none has.

    ``status=200`` is met as well where the application itself answers: its own status cannot be predicted. What a
    proxy answers to gRPC is ``status=grpc-14``, whatever the HTTP status.
    ``cluster`` and ``pod`` may be any of those that chance may choose; ``*`` stands for anything in a value, ``-`` for
    none, as in the access log. Flags may come in any order; a pod may stand without its namespace.
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
        _check(field, wanted)
        values = _predicted(field, trace)
        met = any(_fits(field, wanted, value) for value in values)
        items.append(Item(field, wanted, " or ".join(dict.fromkeys(values)) or "none", met))
    if not items:
        raise BadInput("--expect is empty", hint="for example --expect status=200,mtls")
    return Expectation(tuple(items))


def _parts(expression: str) -> list[str]:
    """Split at commas, but not inside ``flags=URX,UF``: there a part that is no field is one more flag."""
    parts: list[str] = []
    for piece in filter(None, (each.strip() for each in expression.split(","))):
        if parts and _field(parts[-1]) in _FLAGS and "=" not in piece and _field(piece) not in _FIELDS:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def _field(part: str) -> str:
    return part.partition("=")[0].strip().replace("-", "_")


def _check(field: str, wanted: str) -> None:
    """Raise BadInput for a value that the field never has: no prediction could meet it."""
    if field in _FLAGS:
        for flag in flags_in(wanted):
            if flag not in ("none", "undecided") and not any(fnmatchcase(known, flag_of(flag)) for known in FLAGS):
                raise BadInput(f"--expect {field}: '{flag}' is no flag", hint=f"flags are: {', '.join(sorted(FLAGS))}")
    if field not in _CLOSED:
        return
    known = (*_CLOSED[field], "undecided")
    if field in ("status", "mtls") and wanted in ("", "-"):
        return
    if field == "status":
        known = (*known, *_STATUSES, wanted if _STATUS.fullmatch(wanted) else "")
    if not any(fnmatchcase(value, wanted) for value in known):
        more = "a status such as 503, a class such as 5xx, grpc-14, " if field == "status" else ""
        raise BadInput(
            f"--expect {field}: it is never '{wanted}'", hint=f"it is {more}{', '.join((*_CLOSED[field], 'undecided'))}"
        )


def _fits(field: str, wanted: str, value: str) -> bool:
    if value == "undecided":
        return wanted == value
    if value == "none" and wanted in ("-", ""):
        return True
    if field == "status" and value == "application":
        return wanted in ("200", "2xx", "application", "*")
    if field == "status" and len(wanted) == 3 and wanted[1:] == "xx":
        return value[:1] == wanted[:1] and len(value) == 3
    if field in _FLAGS and "," in wanted:
        return _same_flags(flags_in(wanted), flags_in(value))
    if field in _FLAGS:
        wanted = flag_of(wanted)
    if field == "pod" and "/" not in wanted:
        value = value.rpartition("/")[2]
    return fnmatchcase(value, wanted)


def _same_flags(wanted: tuple[str, ...], flags: tuple[str, ...]) -> bool:
    """Whether each flag is wanted, and each that is wanted is there; their order says nothing."""
    asked = [flag_of(flag) for flag in wanted]
    return all(any(fnmatchcase(flag, one) for one in asked) for flag in flags) and all(
        any(fnmatchcase(flag, one) for flag in flags) for one in asked
    )


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
            if end.status is not None and not end.delivered:
                return [str(end.status)]
            return ["application" if end.delivered else end.broken or "none"]
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
            return [e.pod for share in outcome.clusters for e in share.endpoints if e.pod] or ["none"]
