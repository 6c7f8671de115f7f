"""The capture that `istio-iptables` makes of its arguments and environment, read as it reads them.

`istio-iptables` parses its arguments with pflag (github.com/spf13/pflag: long flags ``--name=value`` and
``--name value``, short ones ``-p 15001``, ``-p15001``, ``-p=15001``; a flag that wants a value takes the next word
whatever it is, so an empty ``-x`` that was lost swallows the flag after it). Flags by release:
``tools/istio-iptables/pkg/cmd/root.go`` of 1.12.1 and 1.30.3. Up to 1.19 the environment is read through viper
(every flag has a variable, an empty one counts as absent); from 1.20 a variable sets its flag before the arguments do.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.capture import Capture, Setting, go_bool, validate
from meshctl.netfilter.release import Release


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
    validate(capture, release)
    return capture


_BOOLEANS = frozenset(flag.field for flag in FLAGS if flag.boolean and flag.field)
