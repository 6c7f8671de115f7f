"""What a pod's traffic capture asks for: the arguments and the environment of `istio-iptables`, read as it reads them.

`istio-iptables` parses its arguments with pflag (github.com/spf13/pflag: long flags ``--name=value`` and
``--name value``, short ones ``-p 15001``, ``-p15001``, ``-p=15001``; a flag that wants a value takes the next word
whatever it is, so an empty ``-x`` that was lost swallows the flag after it). Flags by release:
``tools/istio-iptables/pkg/cmd/root.go`` of 1.12.1 and 1.30.3. Up to 1.19 the environment is read through viper
(every flag has a variable, an empty one counts as absent); from 1.20 a variable sets its flag before the arguments do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Interface, NetmaskValueError, ip_address
from typing import Any, Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.release import LATEST, Release

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


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: `field` of Capture that it sets (empty: no rule depends on it), and the releases that know it."""

    name: str
    short: str = ""
    field: str = ""
    boolean: bool = False
    since: int = 12
    until: int = 99
    short_since: int = 12
    variables: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The flag as the injector writes it."""
        return f"-{self.short}" if self.short else f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable of the same name."""
        return self.name.upper().replace("-", "_")


FLAGS: tuple[Flag, ...] = (
    Flag("envoy-port", "p", "outbound_port"),
    Flag("inbound-capture-port", "z", "inbound_port"),
    Flag("inbound-tunnel-port", "e", "tunnel_port"),
    Flag("proxy-uid", "u", "proxy_uids"),
    Flag("proxy-gid", "g", "proxy_gids"),
    Flag("istio-inbound-interception-mode", "m", "mode"),
    Flag("istio-inbound-ports", "b", "include_inbound_ports"),
    Flag("istio-local-exclude-ports", "d", "exclude_inbound_ports"),
    Flag("istio-exclude-interfaces", "c", "exclude_interfaces", short_since=15),
    Flag("istio-service-cidr", "i", "include_outbound_ranges"),
    Flag("istio-service-exclude-cidr", "x", "exclude_outbound_ranges"),
    Flag("istio-outbound-ports", "q", "include_outbound_ports"),
    Flag("istio-local-outbound-ports-exclude", "o", "exclude_outbound_ports"),
    Flag("kube-virt-interfaces", "k", "reroute_interfaces"),
    Flag("istio-inbound-tproxy-mark", "t", "tproxy_mark"),
    Flag("istio-inbound-tproxy-route-table", "r", "tproxy_route_table"),
    Flag("dry-run", "n", "dry_run", boolean=True),
    Flag("iptables-probe-port"),
    Flag("probe-timeout"),
    Flag("skip-rule-apply", field="skip_rule_apply", boolean=True),
    Flag("run-validation", boolean=True),
    Flag("redirect-dns", field="dns", boolean=True, variables=("ISTIO_META_DNS_CAPTURE",)),
    Flag("capture-all-dns", field="capture_all_dns", boolean=True),
    Flag("network-namespace"),
    Flag("cni-mode", boolean=True),
    Flag("host-nsenter-exec", boolean=True, until=23),
    Flag("restore-format", "f", boolean=True, until=23),
    Flag("output-paths", until=17),
    Flag("iptables-trace-logging", field="trace_logging", boolean=True, until=25),
    Flag("drop-invalid", field="drop_invalid", boolean=True, since=13, variables=("INVALID_DROP",)),
    Flag("dual-stack", field="dual_stack", boolean=True, since=17, variables=("ISTIO_DUAL_STACK",)),
    Flag("reconcile", boolean=True, since=24),
    Flag("cleanup-only", field="cleanup_only", boolean=True, since=24),
    Flag("force-apply", boolean=True, since=24),
    Flag("native-nftables", field="native_nftables", boolean=True, since=27),
    Flag("force-iptables-binary", since=28),
    Flag("log_as_json", boolean=True),
    Flag("log_caller"),
    Flag("log_output_level"),
    Flag("log_rotate"),
    Flag("log_rotate_max_age"),
    Flag("log_rotate_max_backups"),
    Flag("log_rotate_max_size"),
    Flag("log_stacktrace_level"),
    Flag("log_target"),
    Flag("vklog", "v"),
)

_ONLY_VARIABLES = (
    ("ISTIO_OUTBOUND_OWNER_GROUPS", "owner_groups", 14),
    ("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "owner_groups_exclude", 14),
    ("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "loopback_cidr", 21),
)

_COMMANDS = ("pilot-agent", "istio-iptables", "istio-clean-iptables")
_LIVES_IN_FLAGS_SINCE = 20
"""From this minor on a variable sets its flag (``flag.BindEnv``); before, viper looked it up."""


def split(text: str) -> tuple[str, ...]:
    """A comma-separated list without its empty entries (``config.Split``)."""
    return tuple(entry for entry in text.split(",") if entry)


def go_bool(text: str) -> bool | None:
    """What Go's ``strconv.ParseBool`` reads; None for what it refuses."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None


def words(args: Sequence[str]) -> tuple[str, ...]:
    """The arguments after the command's own name (``istio-iptables``, with or without ``pilot-agent`` and a path)."""
    rest = list(args)
    while rest and rest[0].rpartition("/")[2] in _COMMANDS:
        del rest[0]
    return tuple(rest)


def of_arguments(args: Sequence[str], env: Mapping[str, str], release: Release) -> Capture:
    """The capture that `istio-iptables` of a release makes of its arguments and environment.

    Raises BadInput where the real one ends with an error: an unknown flag, a flag without its value, a value that is
    no boolean.
    """
    return _of_arguments(tuple(args), tuple(sorted(env.items())), release)


@lru_cache(maxsize=4096)
def _of_arguments(args: tuple[str, ...], variables: tuple[tuple[str, str], ...], release: Release) -> Capture:
    env = dict(variables)
    known = {flag.name: flag for flag in FLAGS if flag.since <= release.minor <= flag.until or release.major != 1}
    shorts = {flag.short: flag for flag in known.values() if flag.short and release.since(flag.short_since)}
    given, notes = _parse(words(args), known, shorts, release)
    settings: dict[str, Setting] = {}
    for flag in known.values():
        setting = _setting(flag, given.get(flag.name), env, release)
        if setting is not None and flag.field:
            settings[flag.field] = setting
    for variable, name, since in _ONLY_VARIABLES:
        if release.since(since) and variable in env and (env[variable] or release.since(_LIVES_IN_FLAGS_SINCE)):
            settings[name] = Setting(variable, env[variable], f"environment variable {variable}")
    notes += _ignored(env, release)
    return _capture(settings, notes, release, env)


def _ignored(env: Mapping[str, str], release: Release) -> list[str]:
    """Variables that a later release reads and this one does not: set, and without effect."""
    later = [(variable, flag.since) for flag in FLAGS for variable in flag.variables]
    later += [(variable, since) for variable, _, since in _ONLY_VARIABLES]
    return [
        f"{variable} has no effect in Istio {release}: istio-iptables reads it from 1.{since} on"
        for variable, since in later
        if variable in env and not release.since(since)
    ]


def _parse(
    args: tuple[str, ...], known: Mapping[str, Flag], shorts: Mapping[str, Flag], release: Release
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """pflag's ``parseArgs``: the last value of each flag with the spelling that set it, and what looks like a slip."""
    given: dict[str, tuple[str, str]] = {}
    notes: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            flag, value, taken = _long(word, rest, known, release)
            pairs = [(flag, value, taken, word.partition("=")[0])]
        elif word.startswith("-") and len(word) > 1:
            pairs = _short(word[1:], rest, shorts, release)
        else:
            notes.append(f"'{word}' is no flag and is ignored")
            continue
        for flag, value, taken, spelling in pairs:
            if flag.boolean and go_bool(value) is None:
                raise BadInput(f"istio-iptables: invalid argument '{value}' for {spelling}: it wants true or false")
            if taken and value.startswith("-") and len(value) > 1 and not flag.boolean:
                notes.append(f"{spelling} takes '{value}' as its value, so that is no flag any more")
            given[flag.name] = (value, spelling)
    return given, notes


def _long(word: str, rest: list[str], known: Mapping[str, Flag], release: Release) -> tuple[Flag, str, bool]:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise BadInput(f"istio-iptables: bad flag syntax: {word}")
    flag = known.get(name)
    if flag is None:
        raise BadInput(f"istio-iptables of Istio {release}: unknown flag: --{name}", hint=_hint(name, release))
    if equals:
        return flag, value, False
    if flag.boolean:
        return flag, "true", False
    if not rest:
        raise BadInput(f"istio-iptables: flag needs an argument: --{name}")
    return flag, rest.pop(0), True


def _short(
    cluster: str, rest: list[str], shorts: Mapping[str, Flag], release: Release
) -> list[tuple[Flag, str, bool, str]]:
    """``parseSingleShortArg`` until the cluster is used up: ``-p=1``, ``-p1``, ``-p 1``, booleans may share a dash."""
    found: list[tuple[Flag, str, bool, str]] = []
    while cluster:
        flag = shorts.get(cluster[0])
        spelling = f"-{cluster[0]}"
        if flag is None:
            raise BadInput(
                f"istio-iptables of Istio {release}: unknown shorthand flag: '{cluster[0]}' in -{cluster}",
                hint=_hint(cluster[0], release),
            )
        if len(cluster) > 2 and cluster[1] == "=":
            return [*found, (flag, cluster[2:], False, spelling)]
        if flag.boolean:
            found.append((flag, "true", False, spelling))
            cluster = cluster[1:]
        elif len(cluster) > 1:
            return [*found, (flag, cluster[1:], False, spelling)]
        elif rest:
            return [*found, (flag, rest.pop(0), True, spelling)]
        else:
            raise BadInput(f"istio-iptables: flag needs an argument: '{cluster[0]}' in -{cluster}")
    return found


def _hint(name: str, release: Release) -> str | None:
    flag = next((flag for flag in FLAGS if name in (flag.name, flag.short)), None)
    if flag is None:
        return None
    since = max(flag.since, flag.short_since if name == flag.short else flag.since)
    if release.minor < since:
        return f"it came with Istio 1.{since}"
    return f"it went after Istio 1.{flag.until}"


def _setting(flag: Flag, given: tuple[str, str] | None, env: Mapping[str, str], release: Release) -> Setting | None:
    """The winner for one flag: the argument, else the variables, else nothing (the default holds)."""
    if given is not None:
        value, spelling = given
        return Setting(flag.shown, value, f"argument {spelling}")
    in_flags = release.since(_LIVES_IN_FLAGS_SINCE)
    own = () if in_flags and flag.name == "envoy-port" else (flag.variable,)
    # The later one wins in flags (AdditionalEnv comes second); viper prefers the flag's own name over its default.
    order = (*flag.variables, *own) if in_flags else (*own, *flag.variables)
    for variable in order:
        value = env.get(variable, "")
        if variable not in env or (not value and not in_flags):
            continue
        if flag.boolean and go_bool(value) is None:
            if in_flags or variable in flag.variables:
                continue
            value = "false"
        return Setting(flag.shown, value, f"environment variable {variable}")
    return None


def _capture(settings: Mapping[str, Setting], notes: list[str], release: Release, env: Mapping[str, str]) -> Capture:
    texts: dict[str, Any] = {name: setting.value for name, setting in settings.items()}
    flags: dict[str, Any] = {name: go_bool(texts.pop(name)) is True for name in list(texts) if name in _BOOLEANS}
    applies = not (flags.pop("dry_run", False) | flags.pop("skip_rule_apply", False) | flags.pop("cleanup_only", False))
    if not texts.get("proxy_uids"):
        # `istio-iptables` looks up the user istio-proxy; in Istio's images, and where it is missing, that is 1337.
        texts["proxy_uids"] = "1337"
        if env.get("ENVOY_USER", "istio-proxy") != "istio-proxy":
            notes.append(f"the uid of ENVOY_USER={env['ENVOY_USER']} is not known here; 1337 is assumed")
    if not texts.get("proxy_gids"):
        texts["proxy_gids"] = texts["proxy_uids"]
    capture = Capture(settings=dict(settings), notes=tuple(notes), writes_rules=applies, **texts, **flags)
    _validate(capture, release)
    return capture


_BOOLEANS = frozenset(flag.field for flag in FLAGS if flag.boolean and flag.field)


def _validate(capture: Capture, release: Release) -> None:
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
    _validate(capture, release)
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
    given, notes = env or {}, []
    settings: dict[str, Setting] = {}
    told = {}
    for key, since in _AMBIENT_ANNOTATIONS.items():
        if key in annotations and release.since(since):
            told[key] = annotations[key]
        elif key in annotations:
            notes.append(f"annotation {key} has no effect in Istio {release}: istio-cni reads it from 1.{since} on")
    texts: dict[str, Any] = {}
    if told.get(_REROUTE):
        texts["reroute_interfaces"] = ",".join(filter(None, (name.strip() for name in told[_REROUTE].split(","))))
        settings["reroute_interfaces"] = Setting(_REROUTE, told[_REROUTE], f"annotation {_REROUTE}")
    for variable, name in _PROBE_VARIABLES:
        if given.get(variable):
            texts[name] = _address(variable, given[variable])
            settings[name] = Setting(variable, given[variable], f"environment variable {variable} of istio-cni")
    takes_tproxy = release.minor <= AMBIENT_TPROXY_UNTIL or (
        release.minor == AMBIENT_TPROXY_UNTIL + 1
        and (tproxy or go_bool(given.get("AMBIENT_TPROXY_REDIRECTION", "")) is True)
    )
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
