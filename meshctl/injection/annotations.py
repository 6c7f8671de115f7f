"""What is wrong with the annotations that a user wrote: names, values, places, and pairs that cancel each other.

Values are checked as ``pkg/kube/inject/validate.go`` does (a bad one makes the API server reject the pod), names
against the catalog.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.injection.catalog_metadata import LABELS, SETTINGS, WRITTEN_ANNOTATIONS, Setting, is_istio_key
from meshctl.netfilter.writable import may_be_interface
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
            yield Slip(setting.key, value, text, rejects=_is_validated(setting), better=_expanded(bad[0]))


def _expanded(text: str) -> str:
    first, _, last = text.replace(":", "-").partition("-")
    if first.strip().isdigit() and last.strip().isdigit() and 0 <= int(last) - int(first) <= 20:
        return "list the ports: " + ",".join(str(n) for n in range(int(first), int(last) + 1))
    return "list the ports one by one"


_VALIDATED = frozenset(
    (
        "sidecar.istio.io/interceptionMode",
        "status.sidecar.istio.io/port",
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        "readiness.status.sidecar.istio.io/periodSeconds",
        "readiness.status.sidecar.istio.io/failureThreshold",
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        "traffic.sidecar.istio.io/includeInboundPorts",
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        "prometheus.istio.io/merge-metrics",
    )
)
"""What ``AnnotationValidation`` in ``validate.go`` lists; of others a bad value is ignored, or fails later."""


def _is_validated(setting: Setting) -> bool:
    # A quantity is not in the list: the proxy's container that is made with it cannot be read (istio#33254).
    return setting.key in _VALIDATED or setting.kind == "quantity"


def values(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Values that cannot be read: the API server rejects the pod with them."""
    for key, value in annotations.items():
        setting = SETTINGS.get(key)
        if setting is None:
            continue
        problem = _problem(setting, value)
        if problem:
            yield Slip(key, value, f"{key}: {problem}", rejects=_is_validated(setting))


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
            fine = text.isascii() and text.isdigit()
            if fine and setting.key == "status.sidecar.istio.io/port" and int(text) > 65535:
                return f"{value} is no port"
            return "" if fine else f"'{value}' is not a whole number"
        case "ports" | "ports-or-star":
            return "" if setting.kind == "ports-or-star" and text == "*" else _ports_problem(text)
        case "ranges" | "ranges-or-star":
            return "" if setting.kind == "ranges-or-star" and text == "*" else _ranges_problem(value)
        case "quantity":
            return "" if _QUANTITY.fullmatch(text) else f"'{value}' is no quantity (like 100m or 128Mi)"
        case "interfaces":
            wrong = [p for p in _parts(text) if not may_be_interface(p)]
            return f"no network interface can be called {', '.join(map(repr, wrong))}" if wrong else ""
        case "json":
            return _json_problem(value)
        case _:
            return ""


_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", re.ASCII)
"""``resource.ParseQuantity`` of Kubernetes (``k8s.io/apimachinery``)."""


def _ports_problem(text: str) -> str:
    if not text:
        return ""
    parts = [p.strip() for p in text.split(",")]
    if "" in parts:
        return f"'{text}' has an empty place between its commas"
    wrong = [p for p in parts if not (p.isascii() and p.isdigit() and int(p) < 65536) and "-" not in p and ":" not in p]
    return f"{', '.join(wrong)} is no port" if wrong else ""


def _ranges_problem(value: str) -> str:
    """Unlike ports, ranges are read as they stand: a space beside a comma is one too many."""
    if not value:
        return ""
    parts = value.split(",")
    wrong = [p for p in parts if not _is_range(p)]
    if wrong and all(_is_range(p.strip()) for p in wrong):
        return f"'{value}' has spaces, which Istio does not take out of ranges"
    if wrong and not any(p.strip() for p in wrong):
        return f"'{value}' has an empty place between its commas"
    return f"{', '.join(p.strip() for p in wrong)} is no address range (like 10.0.0.0/8)" if wrong else ""


def _json_problem(value: str) -> str:
    try:
        json_text.loads(value)
    except ValueError as error:
        return f"not valid JSON: {error}"
    return ""


def _is_range(text: str) -> bool:
    address, slash, bits = text.partition("/")
    try:
        size = ipaddress.ip_address(address).max_prefixlen
    except ValueError:
        return False
    return bool(slash) and "%" not in address and bits.isascii() and bits.isdigit() and int(bits) <= size


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


def _unreadable(annotations: Mapping[str, str], *names: str) -> bool:
    """Whether one of the values cannot be read, which is said of it elsewhere: what it would do is beside the point."""
    given = {key: annotations[key] for name in names if (key := _PREFIX + name) in annotations}
    return any((*values(given), *ranges(given)))


def cancelling(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """Pairs where the same value is included and excluded, or where one has no effect beside the other."""
    for include, exclude, what in _PAIRS:
        wanted, unwanted = annotations.get(_PREFIX + include), annotations.get(_PREFIX + exclude)
        if wanted is None or not unwanted or _unreadable(annotations, include, exclude):
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
    if _unreadable(annotations, "includeOutboundPorts", "includeOutboundIPRanges"):
        return
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
