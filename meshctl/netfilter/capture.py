"""What a pod's traffic capture asks for, whoever was told: `istio-iptables`, the istio-cni plugin or ambient's."""

from collections.abc import Mapping
from dataclasses import field
from ipaddress import AddressValueError, IPv4Interface, NetmaskValueError
from typing import Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.release import Release

Writer: TypeAlias = Literal["istio-init", "istio-cni", "ambient"]
"""Who wrote the rules: the init container, the istio-cni plugin for a sidecar, or istio-cni's agent for ambient."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one value comes from: `flag` as Istio's users know it, and the argument, variable or annotation."""

    flag: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The settings that decide the rules. Lists are kept as Istio gets them: comma-separated text, ``*`` for all.

    Empty `include_inbound_ports` captures nothing inbound, empty `include_outbound_ranges` nothing outbound.
    `settings` says where each value comes from, keyed by field name; it does not take part in comparing.
    """

    writer: Writer = "istio-init"
    mode: str = "REDIRECT"
    outbound_port: str = "15001"
    inbound_port: str = "15006"
    tunnel_port: str = "15008"
    proxy_uids: str = "1337"
    proxy_gids: str = "1337"
    include_inbound_ports: str = ""
    exclude_inbound_ports: str = ""
    include_outbound_ranges: str = ""
    exclude_outbound_ranges: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    exclude_interfaces: str = ""
    reroute_interfaces: str = ""
    owner_groups: str = "*"
    owner_groups_exclude: str = ""
    loopback_cidr: str = "127.0.0.1/32"
    tproxy_mark: str = "1337"
    tproxy_route_table: str = "133"
    dns: bool = False
    capture_all_dns: bool = False
    drop_invalid: bool = False
    dual_stack: bool = False
    trace_logging: bool = False
    native_nftables: bool = False
    writes_rules: bool = True
    bypass_inbound: bool = False
    probe_address: str = "169.254.7.127"
    probe_address_v6: str = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"
    settings: Mapping[str, Setting] = field(default_factory=dict, compare=False, hash=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def tproxy(self) -> bool:
        """Whether inbound traffic is taken with TPROXY instead of REDIRECT."""
        return self.mode == "TPROXY"

    def setting(self, name: str) -> Setting | None:
        """Where the value of a field comes from; None for a default that nobody set."""
        return self.settings.get(name)


@dataclass(frozen=True, slots=True)
class Network:
    """What `istio-iptables` looks up where it runs: the namespace's addresses in interface order, the nameservers of
    ``/etc/resolv.conf`` (None: not known) and group names with their numbers.
    """

    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] | None = None
    groups: tuple[tuple[str, int], ...] = ()


def split(text: str) -> tuple[str, ...]:
    """A comma-separated list without its empty entries (``config.Split``)."""
    return tuple(entry for entry in text.split(",") if entry)


def go_bool(text: str) -> bool | None:
    """What Go's ``strconv.ParseBool`` reads; None for what it refuses."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None


def validate(capture: Capture, release: Release) -> None:
    """``Config.Validate`` and the checks at the start of ``Run``: what makes the real one end with an error."""
    if capture.exclude_outbound_ranges == "*":
        raise BadInput("istio-iptables: invalid value for OUTBOUND_IP_RANGES_EXCLUDE: -x does not take '*'")
    if capture.owner_groups != "*" and len(split(capture.owner_groups)) > 64:
        raise BadInput("istio-iptables: ISTIO_OUTBOUND_OWNER_GROUPS names more than 64 groups")
    if release.since(21):
        _validate_loopback(capture.loopback_cidr)


def _validate_loopback(cidr: str) -> None:
    try:
        interface = IPv4Interface(cidr)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise BadInput(f"istio-iptables: ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR={cidr} is no IPv4 range") from None
    if "/" not in cidr or not interface.ip.is_loopback or interface.network.prefixlen < 8:
        raise BadInput(f"istio-iptables: ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR={cidr} is no loopback range of /8 to /32")
