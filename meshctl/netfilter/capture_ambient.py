"""The capture that istio-cni's agent makes of an ambient pod: by its annotations and the agent's own variables."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from meshctl.errors import BadInput
from meshctl.netfilter.capture import Capture, Setting, go_bool
from meshctl.netfilter.release import LATEST, Release

_AMBIENT_DNS_SINCE = 25

AMBIENT_SINCE, AMBIENT_TPROXY_UNTIL, AMBIENT_NFTABLES_SINCE = 21, 23, 28
"""Minor releases: the first with rules in the pod, the last that took inbound traffic with TPROXY unless it was told
not to (1.24 knows both), the first with native nftables (``cni/pkg/nftables``)."""

_BYPASS = "ambient.istio.io/bypass-inbound-capture"

_DNS_CAPTURE = "ambient.istio.io/dns-capture"

_REROUTE = "istio.io/reroute-virtual-interfaces"

_AMBIENT_ANNOTATIONS = {_BYPASS: 24, _REROUTE: 25, _DNS_CAPTURE: 25}
"""The pod's annotations that vary ambient rules, with the minor release that first reads each."""

_PROBE_VARIABLES = (("HOST_PROBE_SNAT_IP", "probe_address"), ("HOST_PROBE_SNAT_IPV6", "probe_address_v6"))


def of_ambient(
    annotations: Mapping[str, str],
    release: Release = LATEST,
    env: Mapping[str, str] | None = None,
    *,
    tproxy: bool = False,
    native_nftables: bool = False,
) -> Capture:
    """The capture that istio-cni's agent makes of an ambient pod (``cni/pkg/iptables``).

    The pod's annotations vary it, and what was set for the agent: its variables are `env` (DNS capture, IPv6 and the
    probes' addresses). `tproxy` is the agent's ``AMBIENT_TPROXY_REDIRECTION``, which 1.24 alone knows. Raises BadInput
    for an address that is none.
    """
    given: Mapping[str, str] = env or {}
    notes: list[str] = []
    settings: dict[str, Setting] = {}
    told = _heard(annotations, release, notes)
    texts: dict[str, Any] = {}
    if told.get(_REROUTE):
        texts["reroute_interfaces"] = ",".join(filter(None, (name.strip() for name in told[_REROUTE].split(","))))
        settings["reroute_interfaces"] = Setting(_REROUTE, told[_REROUTE], f"annotation {_REROUTE}")
    for variable, name in _PROBE_VARIABLES:
        if given.get(variable):
            texts[name] = _address(variable, given[variable])
            settings[name] = Setting(variable, given[variable], f"environment variable {variable} of istio-cni")
    takes_tproxy = _takes_tproxy(release, tproxy or go_bool(given.get("AMBIENT_TPROXY_REDIRECTION", "")) is True)
    bypass = go_bool(told.get(_BYPASS, "")) is True
    if bypass and takes_tproxy:
        notes.append(f"annotation {_BYPASS} has no effect with AMBIENT_TPROXY_REDIRECTION")
        bypass = False
    if bypass:
        settings["bypass_inbound"] = Setting("bypass-inbound-capture", "true", f"annotation {_BYPASS}")
    dns = _ambient_dns(told, given, release, settings)
    return Capture(
        writer="ambient",
        mode="TPROXY" if takes_tproxy else "REDIRECT",
        include_inbound_ports="*",
        include_outbound_ranges="*",
        dns=dns,
        capture_all_dns=True,
        bypass_inbound=bypass,
        dual_stack=go_bool(given.get("AMBIENT_IPV6", "")) is not False,
        native_nftables=native_nftables,
        settings=settings,
        notes=tuple(notes),
        **texts,
    )


def _heard(annotations: Mapping[str, str], release: Release, notes: list[str]) -> dict[str, str]:
    """The pod's annotations that the release reads; the others are noted."""
    told = {}
    for key, since in _AMBIENT_ANNOTATIONS.items():
        if key in annotations and release.since(since):
            told[key] = annotations[key]
        elif key in annotations:
            notes.append(f"annotation {key} has no effect in Istio {release}: istio-cni reads it from 1.{since} on")
    return told


def _takes_tproxy(release: Release, asked: bool) -> bool:
    return release.minor <= AMBIENT_TPROXY_UNTIL or (release.minor == AMBIENT_TPROXY_UNTIL + 1 and asked)


def _address(variable: str, text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise BadInput(f"istio-cni: {variable}={text} is no IP address") from None


def _ambient_dns(
    told: Mapping[str, str], given: Mapping[str, str], release: Release, settings: dict[str, Setting]
) -> bool:
    """The pod's annotation, else the agent's variable, else its default: on from 1.25."""
    asked = go_bool(told.get(_DNS_CAPTURE, ""))
    if asked is not None:
        settings["dns"] = Setting("dns-capture", str(asked).lower(), f"annotation {_DNS_CAPTURE}")
        return asked
    of_agent = go_bool(given.get("AMBIENT_DNS_CAPTURE", ""))
    if of_agent is not None:
        source = "environment variable AMBIENT_DNS_CAPTURE of istio-cni"
        settings["dns"] = Setting("AMBIENT_DNS_CAPTURE", str(of_agent).lower(), source)
        return of_agent
    return release.since(_AMBIENT_DNS_SINCE)
