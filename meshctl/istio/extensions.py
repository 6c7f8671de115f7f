"""EnvoyFilter and WasmPlugin: what users put into proxies beside the mesh's own model. Whose proxies it is, not what.

Fields: ``networking/v1alpha3/envoy_filter.proto`` and ``extensions/v1alpha1/wasm.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.resource import Labels, Meta, labels_of, read
from meshctl.istio.security import TargetRef, target_refs
from meshctl.kube.fields import Fields

_OBSERVING = frozenset(
    (
        "istio.stats",
        "istio.metadata_exchange",
        "istio.metadata_exchange_upstream",
        "envoy.filters.network.upstream.metadata_exchange",
        "envoy.filters.network.metadata_exchange",
        "istio.stackdriver",
    )
)
"""Filters that count and tell, and let all pass: Istio before 1.18 installs EnvoyFilters with these for all proxies."""

_WORDS_ONLY = frozenset(
    (
        *("@type", "access_log", "accessLog", "access_log_options", "tracing", "stat_prefix", "statPrefix"),
        *("server_name", "serverName", "generate_request_id", "request_id_extension", "stats_config", "stats_sinks"),
        *("server_header_transformation", "proxy_status_config", "stats_flush_interval", "name", "typed_config"),
    )
)
"""Fields of connection managers, listeners and the bootstrap that change what is written down, not what is done."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of proxies' configuration: `context` as the proto names it, `port` None for any of them.

    `version` is a regular expression for the proxy's release; empty for all.
    """

    context: str
    port: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """A resource whose `patches` may change what becomes of requests; those that only observe are left out."""

    meta: Meta
    selector: Labels
    patches: tuple[Patch, ...]
    targets: tuple[TargetRef, ...] = ()

    @property
    def targeted(self) -> bool:
        """Whether it has targetRefs."""
        return bool(self.targets)


def parse_filter(raw: Mapping[str, Any], source: str, index: int) -> Extension:
    """Read one EnvoyFilter."""
    meta, spec = read(raw, "EnvoyFilter", source, index)
    patches = tuple(_patch(entry) for entry in spec.each("configPatches") if not _observes(entry))
    return Extension(meta, labels_of(spec.below("workloadSelector")), patches, target_refs(spec))


def parse_plugin(raw: Mapping[str, Any], source: str, index: int) -> Extension:
    """Read one WasmPlugin; one for statistics refuses nothing."""
    meta, spec = read(raw, "WasmPlugin", source, index)
    patches = () if spec.text("phase") == "STATS" else tuple(dict.fromkeys(_of_plugin(spec)))
    return Extension(meta, labels_of(spec.below("selector")), patches, target_refs(spec))


def _of_plugin(spec: Fields) -> Iterator[Patch]:
    """Where it runs; at gateways it runs whatever the mode is."""
    chosen = tuple(spec.each("match"))
    modes = [entry.text("mode") or "CLIENT_AND_SERVER" for entry in chosen] or ["CLIENT_AND_SERVER"]
    yield Patch("GATEWAY")
    for mode in modes:
        if "CLIENT" in mode or mode == "UNDEFINED":
            yield Patch("SIDECAR_OUTBOUND")
        if "SERVER" in mode or mode == "UNDEFINED":
            yield Patch("SIDECAR_INBOUND")


def _patch(entry: Fields) -> Patch:
    match = entry.below("match")
    places = (match.below(name).number("portNumber") for name in ("listener", "routeConfiguration", "cluster"))
    version = match.below("proxy").text("proxyVersion")
    return Patch(match.text("context") or "ANY", next((port for port in places if port), None), version)


def _observes(entry: Fields) -> bool:
    """Whether a patch changes only what proxies count, log and tell."""
    patch = entry.below("patch")
    value = patch.below("value")
    if patch.text("operation") == "REMOVE":
        return False
    if value.text("name") in _OBSERVING:
        return True
    filters = tuple(value.each("filters"))
    if filters and set(value.raw) == {"filters"}:
        return all(one.text("name") in _OBSERVING for one in filters)
    written = {*value.raw, *value.below("typed_config").raw}
    return patch.text("operation") == "MERGE" and bool(written) and written <= _WORDS_ONLY
