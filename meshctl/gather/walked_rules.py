"""The packet rules that a path walks: those that were seen, else those that the pod's arguments ask for."""

import re
from collections.abc import Mapping

from meshctl.errors import MeshctlError
from meshctl.frozen import dataclass
from meshctl.gather import netns as namespaces
from meshctl.gather.parts import optional, text_of
from meshctl.injection.mode import Injection
from meshctl.kube.pods import Pod
from meshctl.netfilter import expected, iproute, iptables_save, nft_json, routing
from meshctl.netfilter import release as releases
from meshctl.netfilter.capture import Capture, Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_cni import of_annotations
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Ruleset
from meshctl.path.scene import RulesFrom
from meshctl.sources.world import Part

RULE_FILES = (
    ("netns/iptables-save.txt", "ipv4", "nft"),
    ("netns/iptables-legacy-save.txt", "ipv4", "legacy"),
    ("netns/ip6tables-save.txt", "ipv6", "nft"),
    ("netns/ip6tables-legacy-save.txt", "ipv6", "legacy"),
)


@dataclass(frozen=True, slots=True)
class _Found:
    """The rules of a pod's dumps: `seen` are the families that are known, `named` whether by name only in part."""

    rulesets: tuple[Ruleset, ...]
    seen: frozenset[str]
    named: bool = False


def _rules(parts: Mapping[str, Part], gaps: dict[str, str]) -> _Found:
    """The rules that were seen: a dump that is broken counts as none, for its end may be what matters."""
    found: list[Ruleset] = []
    there: dict[str, bytes] = {}
    for name, family, backend in RULE_FILES:
        text = text_of(parts, name)
        if text is None:
            continue
        try:
            found.append(iptables_save.parse(text[0], text[1], family, backend))  # type: ignore[arg-type]
            there[name] = parts[name].content or b""
        except MeshctlError as error:
            gaps[name] = str(error)
    listing = text_of(parts, namespaces.LISTING)
    whole = namespaces.seen(there, gaps) >= {"ipv4", "ipv6"}
    if listing is not None and (not whole or _has_native_tables(listing[0])):
        try:
            found += nft_json.parse(*listing)
            there[namespaces.LISTING] = b""
        except MeshctlError as error:
            gaps[namespaces.LISTING] = str(error)
            if whole:  # native tables are there, and they cannot be read
                return _Found((), frozenset())
    try:
        merged = merge(found)
    except MeshctlError as error:
        gaps["netns/iptables-save.txt"] = str(error)
        return _Found((), frozenset())
    return _Found(merged, namespaces.seen(there, gaps), any(r.through_nft and not r.empty for r in merged))


def _families(pod: Pod) -> frozenset[str]:
    """The families that the pod has addresses of."""
    told = frozenset("ipv6" if ":" in ip else "ipv4" for ip in pod.ips or (pod.ip,) if ip)
    return told or frozenset(("ipv4",))


def rules_of(
    parts: Mapping[str, Part], pod: Pod, injection: Injection, gaps: dict[str, str]
) -> tuple[tuple[Ruleset, ...], RulesFrom]:
    """The rules that were seen, else those that the pod's arguments ask for.

    nft knows some of iptables' matches by name only: where such a listing shows no difference from what the arguments
    ask for, these are taken, since they can be walked.
    """
    found = _rules(parts, gaps)
    known = found.seen >= _families(pod)
    if pod.host_network or (known and not found.named):
        return found.rulesets, "seen" if known else "none"
    wanted = _assumed(pod, injection, gaps)
    if wanted is None and not known and _uncaptured(injection):
        return (), "assumed"
    if wanted is None:
        return (found.rulesets, "seen") if known else ((), "none")
    from meshctl.netfilter.drift import compare  # seldom needed, and costs start-up time

    if known and not compare(wanted, found.rulesets, recorded=found.seen).in_sync:  # type: ignore[arg-type]
        return found.rulesets, "seen"
    return wanted.rulesets, "assumed"


def _uncaptured(injection: Injection) -> bool:
    """Whether nothing writes rules for the pod: interception mode NONE has neither istio-init nor the CNI plugin."""
    proxy = injection.proxy
    return injection.init is None and proxy is not None and proxy.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE"


_TABLE = re.compile(r'"table":\s*\{[^{}]*"family":\s*"(\w+)"[^{}]*"name":\s*"([^"]+)"')

_OF_IPTABLES = frozenset(("nat", "mangle", "raw", "filter", "security"))


def _has_native_tables(text: str) -> bool:
    """Whether a listing holds more than what iptables-save shows as well: reading it costs as much as all the rest."""
    return any(family not in ("ip", "ip6") or name not in _OF_IPTABLES for family, name in _TABLE.findall(text))


def network_of(parts: Mapping[str, Part], pod: Pod, gaps: dict[str, str]) -> routing.Network:
    """The pod's addresses and routes; those of its status where they were not looked at."""
    addresses = optional(parts, "netns/ip-address.json", iproute.parse_addresses, gaps)
    routes = optional(parts, "netns/ip-route.json", iproute.parse_routes, gaps)
    rules = optional(parts, "netns/ip-rule.json", iproute.parse_rules, gaps)
    known = addresses if addresses is not None else routing.given_addresses(ip for ip in pod.ips or (pod.ip,) if ip)
    return routing.assemble(known, routes, rules, complete=addresses is not None and routes is not None)


def _assumed(pod: Pod, injection: Injection, gaps: dict[str, str]) -> expected.Expected | None:
    """The rules that the pod's arguments (or annotations) ask for; None for none, or where that cannot be told."""
    wanted = _capture(pod, injection)
    if wanted is None:
        return None
    capture, release = wanted
    addresses = tuple(ip for ip in pod.ips or (pod.ip,) if ip)
    try:
        return expected.predict(capture, release, Network(addresses=addresses))
    except MeshctlError as error:
        gaps["netns/iptables-save.txt"] = f"{gaps.get('netns/iptables-save.txt', '')}; {error}".lstrip("; ")
        return None


def _capture(pod: Pod, injection: Injection) -> tuple[Capture, releases.Release] | None:
    release = releases.tell(image=injection.proxy.image if injection.proxy else "", revision=injection.revision).release
    env = {e.name: e.value or "" for e in (injection.init.env if injection.init else ())}
    try:
        if injection.init is not None and injection.init.name == "istio-init":
            return of_arguments(injection.init.args, env, release), release
        if injection.cni and injection.proxy is not None:
            proxy_env = {e.name: e.value or "" for e in injection.proxy.env}
            security = injection.proxy.security
            return (
                of_annotations(pod.annotations, proxy_env, release, uid=security.user, gid=security.group),
                release,
            )
        if injection.mode == "ambient":
            return of_ambient(pod.annotations), release
    except MeshctlError:
        return None
    return None
