"""The capture that the istio-cni plugin makes of a sidecar pod: by its annotations, not by istio-init's arguments."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshctl.netfilter.capture import Capture, Setting, go_bool, validate
from meshctl.netfilter.capture_flags import FLAGS
from meshctl.netfilter.release import Release

_CNI_ANNOTATIONS: tuple[tuple[str, str, str], ...] = (
    ("sidecar.istio.io/interceptionMode", "mode", "REDIRECT"),
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", "include_outbound_ranges", "*"),
    ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "exclude_outbound_ranges", ""),
    ("traffic.sidecar.istio.io/includeInboundPorts", "include_inbound_ports", "*"),
    ("traffic.sidecar.istio.io/excludeInboundPorts", "exclude_inbound_ports", "15020"),
    ("traffic.sidecar.istio.io/includeOutboundPorts", "include_outbound_ports", ""),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "exclude_outbound_ports", "15020"),
    ("traffic.sidecar.istio.io/excludeInterfaces", "exclude_interfaces", ""),
)

_CNI_VARIABLES = (
    ("ISTIO_META_DNS_CAPTURE", "dns", 12),
    ("INVALID_DROP", "drop_invalid", 13),
    ("ISTIO_DUAL_STACK", "dual_stack", 17),
)

_FLAG_OF = {flag.field: flag.shown for flag in FLAGS if flag.field}


def of_annotations(
    annotations: Mapping[str, str],
    env: Mapping[str, str],
    release: Release,
    *,
    uid: int | None = None,
    gid: int | None = None,
    native_nftables: bool = False,
) -> Capture:
    """The capture that the istio-cni plugin makes of a sidecar pod (``cni/pkg/plugin/sidecar_redirect.go``).

    `env` is that of the container istio-proxy, `uid` and `gid` its security context's. Ports are fixed, DNS capture
    takes every resolver, owner groups and the loopback range are not honoured.
    """
    texts: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    for key, name, default in _CNI_ANNOTATIONS:
        value = annotations.get(key)
        texts[name] = default if value is None else value
        source = f"annotation {key}" if value is not None else "default of the istio-cni plugin"
        settings[name] = Setting(_FLAG_OF[name], texts[name], source)
    _cni_inbound_exclusions(texts, settings)
    _cni_reroute(annotations, texts, settings)
    for name, number in (("proxy_uids", uid), ("proxy_gids", gid)):
        texts[name] = str(number) if number else "1337"
        settings[name] = Setting(_FLAG_OF[name], texts[name], "security context of istio-proxy")
    flags: dict[str, Any] = {}
    for variable, name, since in _CNI_VARIABLES:
        if release.since(since) and go_bool(env.get(variable, "")):
            flags[name] = True
            settings[name] = Setting(_FLAG_OF[name], "true", f"environment variable {variable} of istio-proxy")
    capture = Capture(
        writer="istio-cni",
        settings=settings,
        native_nftables=native_nftables,
        capture_all_dns=flags.get("dns", False),
        **texts,
        **flags,
    )
    validate(capture, release)
    return capture


def _cni_inbound_exclusions(texts: dict[str, str], settings: dict[str, Setting]) -> None:
    """The plugin always adds the agent's ports, after the user's, each port once."""
    ports = texts["exclude_inbound_ports"].strip()
    joined = f"{ports}{'' if not ports or ports.endswith(',') else ','}15020,15021,15090"
    texts["exclude_inbound_ports"] = ",".join(dict.fromkeys(joined.split(",")))
    previous = settings["exclude_inbound_ports"]
    settings["exclude_inbound_ports"] = replace(
        previous,
        value=texts["exclude_inbound_ports"],
        source=f"{previous.source}, with 15020,15021,15090 that the istio-cni plugin adds",
    )


def _cni_reroute(annotations: Mapping[str, str], texts: dict[str, str], settings: dict[str, Setting]) -> None:
    texts["reroute_interfaces"] = ""
    for key in ("istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/kubevirtInterfaces"):
        if key in annotations:
            texts["reroute_interfaces"] = annotations[key]
            settings["reroute_interfaces"] = Setting("-k", annotations[key], f"annotation {key}")
            return
