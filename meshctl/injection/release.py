"""Which Istio release injected a pod: from the image's tag, else a range from the shape of what was added.

The shapes come from comparing the injection templates of the ``.0`` tags of 1.12 to 1.30.
"""

from collections.abc import Callable, Iterator

from meshctl.frozen import dataclass
from meshctl.injection.catalog import NEWEST, OLDEST, minor
from meshctl.kube.containers import Container, Exec
from meshctl.kube.pods import Pod


@dataclass(frozen=True, slots=True)
class Release:
    """A release, or a range of minor ones: `text` is ``1.30.3``, ``1.12-1.13`` or empty; `evidence` says from what."""

    text: str
    low: tuple[int, int]
    high: tuple[int, int]
    exact: bool
    evidence: tuple[str, ...] = ()

    def has(self, since: str, until: str) -> bool | None:
        """Whether something with these bounds exists in this release; None where only a part of the range has it."""
        first = minor(since) if since else OLDEST
        last = minor(until) if until else (99, 0)
        if first is None or last is None:
            return None
        if self.low >= first and self.high <= last:
            return True
        return False if self.high < first or self.low > last else None


UNKNOWN = Release("", OLDEST, NEWEST, exact=False)


def tag_of(image: str) -> str:
    """The tag of an image reference without its digest; empty where there is none."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def of_image(image: str) -> str:
    """The release in an image's tag (``1.30.3`` of ``proxyv2:1.30.3-distroless``); empty where it has none."""
    tag = tag_of(image).removeprefix("v")
    head = tag.partition("-")[0]
    return head if minor(tag) and all(part.isdigit() for part in head.split(".")) else ""


@dataclass(frozen=True, slots=True)
class _Parts:
    pod: Pod
    proxy: Container
    init: Container | None
    volumes: frozenset[str]
    env: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Present: `since` and `until` bound the release; absent: `after` and `without` (the last one that lacks it) do."""

    what: str
    found: Callable[[_Parts], bool]
    since: str = ""
    until: str = ""
    without: str = ""
    after: str = ""


def _init_has(*flags: str) -> Callable[[_Parts], bool]:
    return lambda p: p.init is not None and any(a.partition("=")[0] in flags for a in p.init.args)


def _drains(parts: _Parts) -> bool:
    hook = parts.proxy.hook("preStop")
    return hook is not None and isinstance(hook.action, Exec) and "drain" in hook.action.command


_SIDECAR_MARKS = (
    _Mark("volume workload-socket", lambda p: "workload-socket" in p.volumes, "1.14", "", "1.13"),
    _Mark("volume credential-socket", lambda p: "credential-socket" in p.volumes, "1.16", "", "1.15"),
    _Mark("volume istio-ca-crl", lambda p: "istio-ca-crl" in p.volumes, "1.27", "", "1.26"),
    _Mark("variable ISTIO_CPU_LIMIT", lambda p: "ISTIO_CPU_LIMIT" in p.env, "1.18", "", "1.17"),
    _Mark("variable GOMEMLIMIT", lambda p: "GOMEMLIMIT" in p.env, "1.19", "", "1.18"),
    _Mark("variable JWT_POLICY", lambda p: "JWT_POLICY" in p.env, "", "1.21", "", "1.22"),
    _Mark("variable OTEL_RESOURCE_ATTRIBUTES", lambda p: "OTEL_RESOURCE_ATTRIBUTES" in p.env, "1.30"),
    _Mark("argument --concurrency", lambda p: "--concurrency" in p.proxy.args, "", "1.17"),
    _Mark("startup probe", lambda p: p.proxy.probe("startup") is not None, "1.19"),
    _Mark("drain before stopping", lambda p: p.proxy.kind == "sidecar" and _drains(p), "1.21"),
    _Mark("argument --force-apply", _init_has("--force-apply"), "1.24"),
    _Mark("argument --native-nftables", _init_has("--native-nftables"), "1.27"),
    _Mark("container enable-core-dump", lambda p: p.pod.container("enable-core-dump") is not None, "", "1.23"),
    _Mark("fsGroup 1337", lambda p: p.pod.security.fs_group == 1337, "", "1.18"),
)


_OTHER_MARKS = tuple(m for m in _SIDECAR_MARKS if m.what in ("volume workload-socket", "variable JWT_POLICY"))
"""What the gateway and grpc-agent templates share with the sidecar template."""


def of_pod(pod: Pod, proxy: Container | None, init: Container | None, *, sidecar: bool) -> Release:
    """The release that made the pod's proxy; a range where the image's tag does not tell.

    `sidecar` False means another template of the webhook, which tells less.
    """
    for container in (proxy, init):
        text = of_image(container.image) if container else ""
        number = minor(text)
        if container and number:
            return Release(text, number, number, exact=True, evidence=(f"image {container.image}",))
    if proxy is None or not (sidecar or "sidecar.istio.io/status" in pod.annotations):
        return UNKNOWN
    marks = _SIDECAR_MARKS if sidecar else _OTHER_MARKS
    # What the user wrote for the proxy's container says nothing of the injector.
    theirs = pod.annotations.get("proxy.istio.io/overrides", "")
    return _by_shape(pod, proxy, init, tuple(m for m in marks if f'"{m.what.rpartition(" ")[2]}"' not in theirs))


def _by_shape(pod: Pod, proxy: Container, init: Container | None, marks: tuple[_Mark, ...]) -> Release:
    parts = _Parts(pod, proxy, init, frozenset(v.name for v in pod.volumes), frozenset(e.name for e in proxy.env))
    low, high = OLDEST, NEWEST
    evidence = []
    for since, until, why in _bounds(parts, marks):
        first, last = minor(since), minor(until)
        if first and first > low:
            low = first
            evidence.append(why)
        if last and last < high:
            high = last
            evidence.append(why)
    if low > high:
        return Release("", OLDEST, NEWEST, exact=False, evidence=("the parts do not fit one release", *evidence))
    text = f"{low[0]}.{low[1]}-{high[0]}.{high[1]}" if low != high else f"{low[0]}.{low[1]}"
    return Release(text, low, high, exact=False, evidence=tuple(evidence))


def _bounds(parts: _Parts, marks: tuple[_Mark, ...]) -> Iterator[tuple[str, str, str]]:
    for mark in marks:
        if mark.found(parts):
            yield mark.since, mark.until, f"has {mark.what}"
        elif mark.without or mark.after:
            yield mark.after, mark.without, f"lacks {mark.what}"
