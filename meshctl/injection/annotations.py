"""What is wrong with the annotations that a user wrote: names, values, places, and pairs that cancel each other.

Values are checked as ``pkg/kube/inject/validate.go`` does (a bad one makes the API server reject the pod), names
against the catalog.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.injection.catalog_metadata import LABELS, SETTINGS, WRITTEN_ANNOTATIONS, Setting, is_istio_key
from meshctl.refs import near_misses

_MODES = ("REDIRECT", "TPROXY", "NONE")
_BOOLS = frozenset(("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"))
_INJECT_WORDS = frozenset(("y", "yes", "true", "on", "n", "no", "false", "off", ""))


@dataclass(frozen=True, slots=True)
class Slip:
    """Something wrong with one annotation; `rejects` where the API server refuses the pod for it."""

    key: str
    value: str
    text: str
    rejects: bool = False
    better: str = ""


def unknown(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Keys of Istio that no release from 1.12 to 1.30 reads, with the nearest one that is read."""
    known = tuple({**SETTINGS, **WRITTEN_ANNOTATIONS})
    for key, value in annotations.items():
        if not is_istio_key(key) or key in SETTINGS or key in WRITTEN_ANNOTATIONS:
            continue
        if key in LABELS:
            text = f"{key} only counts as a label, and it is an annotation here"
            yield Slip(key, value, text, better=f"make it a label: {key}: {value}")
            continue
        better = nearest(key, known)
        text = f"no Istio release from 1.12 to 1.30 reads the annotation {key}"
        yield Slip(key, value, text, better=f"did you mean {better}?" if better else "")


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that is most like a misspelt one: by its name first, since prefixes are mixed up often."""
    known = tuple(known)
    name = key.partition("/")[2].lower()
    same = [k for k in known if k.partition("/")[2].lower() == name]
    if same:
        return same[0]
    by_name = {k.partition("/")[2]: k for k in known}
    close = near_misses(key.partition("/")[2], tuple(by_name))
    if close:
        return by_name[close[0]]
    whole = near_misses(key, known)
    return whole[0] if whole else ""


def ranges(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Ports given as a range (``8000-8010``): Istio reads single ports only (istio#45810)."""
    for setting, value in _of_kind(annotations, "ports", "ports-or-star"):
        bad = [p for p in _parts(value) if "-" in p.strip("-") or ":" in p]
        if bad:
            text = f"{setting.key}: {', '.join(bad)} is a range, and Istio takes single ports only"
            yield Slip(
                setting.key, value, text, rejects=_is_validated(setting), better=f"list the ports: {_expanded(bad[0])}"
            )


def _expanded(text: str) -> str:
    first, _, last = text.replace(":", "-").partition("-")
    if first.strip().isdigit() and last.strip().isdigit() and 0 <= int(last) - int(first) <= 20:
        return ",".join(str(n) for n in range(int(first), int(last) + 1))
    return "8000,8001,8002"


def _is_validated(setting: Setting) -> bool:
    return setting.flag != "istio-outbound-ports"  # the one that validate.go leaves out


def values(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Values that cannot be read: the API server rejects the pod with them."""
    for key, value in annotations.items():
        setting = SETTINGS.get(key)
        if setting is None:
            continue
        problem = _problem(setting, value)
        if problem:
            yield Slip(key, value, f"{key}: {problem}", rejects=setting.kind not in ("json", "yaml"))


def _problem(setting: Setting, value: str) -> str:
    text = value.strip()
    match setting.kind:
        case "mode":
            return "" if text in _MODES else f"'{value}' is not one of {', '.join(_MODES)}"
        case "bool":
            if setting.key == "sidecar.istio.io/inject":
                return "" if text.lower() in _INJECT_WORDS else f"'{value}' is neither true nor false"
            return "" if text in _BOOLS else f"'{value}' is neither true nor false"
        case "number":
            return "" if text.isdigit() else f"'{value}' is not a whole number"
        case "ports" | "ports-or-star":
            if setting.kind == "ports-or-star" and text == "*":
                return ""
            wrong = [p for p in _parts(text) if not (p.isdigit() and int(p) < 65536) and "-" not in p and ":" not in p]
            return f"{', '.join(wrong)} is no port" if wrong else ""
        case "ranges" | "ranges-or-star":
            if setting.kind == "ranges-or-star" and text == "*":
                return ""
            wrong = [p for p in _parts(text) if not _is_range(p)]
            return f"{', '.join(wrong)} is no address range (like 10.0.0.0/8)" if wrong else ""
        case "json":
            return _json_problem(value)
        case _:
            return ""


def _json_problem(value: str) -> str:
    try:
        json_text.loads(value)
    except ValueError as error:
        return f"not valid JSON: {error}"
    return ""


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _of_kind(annotations: Mapping[str, str], *kinds: str) -> Iterator[tuple[Setting, str]]:
    for key, value in annotations.items():
        setting = SETTINGS.get(key)
        if setting is not None and setting.kind in kinds:
            yield setting, value


def _parts(value: str) -> list[str]:
    return [p.strip() for p in value.split(",") if p.strip()]


_PREFIX = "traffic.sidecar.istio.io/"
_PAIRS = (
    ("includeInboundPorts", "excludeInboundPorts", "incoming port"),
    ("includeOutboundIPRanges", "excludeOutboundIPRanges", "address range"),
    ("includeOutboundPorts", "excludeOutboundPorts", "outgoing port"),
)


def cancelling(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Pairs where the same value is included and excluded, or where one has no effect beside the other."""
    for include, exclude, what in _PAIRS:
        wanted, unwanted = annotations.get(_PREFIX + include), annotations.get(_PREFIX + exclude)
        if wanted is None or not unwanted:
            continue
        both = [p for p in _parts(wanted) if p in _parts(unwanted) and p != "*"]
        key = _PREFIX + exclude
        if both and include == "includeInboundPorts":
            text = f"{what} {', '.join(both)} is in {include} and {exclude}, which only counts when all are included"
            yield Slip(key, unwanted, text, better=f"take it out of one of the two (here {include} wins)")
        elif both:
            text = f"{what} {', '.join(both)} is in {include} and in {exclude}: the exclusion wins"
            yield Slip(key, unwanted, text, better="take it out of one of the two")
        elif include == "includeInboundPorts" and wanted.strip() != "*":
            text = f"{exclude} has no effect beside {include}: {wanted!r}: only listed ports are captured anyway"
            yield Slip(key, unwanted, text, better=f"remove {key}")
        elif include == "includeOutboundIPRanges" and not wanted.strip():
            text = f"{exclude} has no effect: {include} is empty, so no address is captured anyway"
            yield Slip(key, unwanted, text, better=f"remove {key}")


def useless(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """includeOutboundPorts beside ``*``: it adds to what is captured, and all is (istio#32677)."""
    ports = annotations.get(_PREFIX + "includeOutboundPorts")
    if ports and annotations.get(_PREFIX + "includeOutboundIPRanges", "*").strip() == "*":
        key = _PREFIX + "includeOutboundPorts"
        text = f"includeOutboundPorts: {ports} changes nothing: it adds ports, and all addresses are captured already"
        better = 'to capture only these ports, also set traffic.sidecar.istio.io/includeOutboundIPRanges: ""'
        yield Slip(key, ports, text, better=better)


_EMPTY = {
    _PREFIX + "includeInboundPorts": "nothing incoming is captured",
    _PREFIX + "includeOutboundIPRanges": "nothing outgoing is captured",
}


def empty(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Empty values that turn a whole direction off."""
    for key, effect in _EMPTY.items():
        if key in annotations and not annotations[key].strip():
            text = f"{key} is empty, which does not mean the default: {effect}"
            yield Slip(key, "", text, better="if the default is meant, remove the annotation or write '*'")
