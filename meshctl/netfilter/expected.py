"""The exact rules that a capture asks for: predicted, then read back with the same parsers as found rules.

`predict` is cached: pods of one workload ask for the same rules. What it cannot know (nameservers, group numbers,
addresses) it takes from `Network`, and what was assumed instead is said in `Expected.notes`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter import iptables_save, spell_nft, spell_nft_text, spell_save
from meshctl.netfilter.capture import Capture, Network, split
from meshctl.netfilter.capture_ambient import AMBIENT_NFTABLES_SINCE, AMBIENT_SINCE
from meshctl.netfilter.draft import Draft
from meshctl.netfilter.expected_ambient import ambient, node
from meshctl.netfilter.expected_sidecar import IpVersion, Plan, Shape, sidecar
from meshctl.netfilter.model import Family, Ruleset
from meshctl.netfilter.release import Release, is_verified, nearest_recorded
from meshctl.netfilter.writable import may_be_interface, writable

ANY_GROUP = 0xFFFFFF00
"""Group numbers from here on stand for names whose number is not known: they match any number."""

_DEBIAN_GROUPS = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mail": 8, "news": 9,
    "uucp": 10, "man": 12, "proxy": 13, "kmem": 15, "dialout": 20, "fax": 21, "voice": 22, "cdrom": 24, "floppy": 25,
    "tape": 26, "sudo": 27, "audio": 29, "dip": 30, "www-data": 33, "backup": 34, "operator": 37, "list": 38,
    "irc": 39, "src": 40, "shadow": 42, "utmp": 43, "video": 44, "sasl": 45, "plugdev": 46, "staff": 50,
    "games": 60, "users": 100, "nogroup": 65534, "istio-proxy": 1337,
}  # fmt: skip
"""Groups of Debian's base-passwd, which every proxy image with a name database has, and Istio's own."""

_DNS_NEEDS_SERVER_SINCE = 25
"""From this minor on DNS capture turns itself off where ``/etc/resolv.conf`` names no server."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Predicted rules: `texts` are pairs of file name and content, `rulesets` the same, parsed.

    `unresolved` are group names with the placeholder number (`ANY_GROUP` and up) that stands for each.
    """

    release: Release
    rulesets: tuple[Ruleset, ...]
    texts: tuple[tuple[str, str], ...]
    verified: bool
    notes: tuple[str, ...] = ()
    unresolved: tuple[tuple[str, int], ...] = ()

    @property
    def native(self) -> bool:
        """Whether these are native nftables rules."""
        return any(ruleset.family == "inet" for ruleset in self.rulesets)

    def text(self, name: str) -> str:
        """One file's content (``iptables-save.txt``, ``ip6tables-save.txt``, ``nft.txt``), else empty."""
        return dict(self.texts).get(name, "")


def usable(address: str) -> str | None:
    """An address without its prefix length, None for what ``getLocalIP`` skips: loopback and link-local."""
    try:
        parsed = ip_address(address.partition("/")[0].partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    local_multicast = parsed.is_multicast and str(parsed).startswith(("224.0.0.", "ff02:", "ff12:"))
    return None if parsed.is_loopback or parsed.is_link_local or local_multicast else str(parsed)


def uses_ipv6(addresses: tuple[str, ...], *, dual_stack: bool) -> bool:
    """Whether IPv6 rules are written (``getLocalIP``): the first usable address decides, with dual stack any IPv6.

    The kernel lists all IPv4 addresses before the first IPv6 one (rtnl_dump_all), whatever the interfaces' order.
    """
    found = [usable(address) for address in addresses]
    versions = sorted(ip_address(address).version for address in found if address is not None)
    return 6 in (versions if dual_stack else versions[:1])


@lru_cache(maxsize=4096)
def predict(capture: Capture, release: Release, network: Network = Network()) -> Expected:  # noqa: B008
    """The rules that `capture` asks a release for. Raises BadInput where the real tool would end with an error."""
    notes = list(capture.notes)
    by_agent = capture.writer == "ambient"
    verified = _verified(release, notes, ambient=by_agent)
    _refuse_ambient(capture, release)
    if not capture.writes_rules:
        notes.append("the arguments ask for no rules (--skip-rule-apply, --dry-run or --cleanup-only)")
        return Expected(release, (), (), verified, tuple(notes))
    capture = _with_user_numbers(capture, notes)
    capture, unresolved = _with_group_numbers(capture, network, notes)
    ipv6 = _ipv6(capture, network, notes)
    resolvers, dns = _resolvers(capture, release, network, notes)
    plans = [
        Plan(capture, Shape(release, native=capture.native_nftables), versions, resolvers, dns)
        for versions in _families(native=capture.native_nftables, ipv6=ipv6)
    ]
    writer = ambient if by_agent else sidecar
    native = capture.native_nftables
    drafts = [tuple(writable(rule, native=native) for rule in writer(plan)) for plan in plans]
    notes += _unmatched(capture)
    rulesets, texts = _spelled(drafts, plans, capture)
    texts = tuple((name, _with_names(text, unresolved)) for name, text in texts)
    return Expected(release, rulesets, texts, verified, tuple(notes), unresolved)


def _unmatched(capture: Capture) -> Iterator[str]:
    """What iptables takes with a warning only: a name that no interface can have."""
    for name in dict.fromkeys((*split(capture.exclude_interfaces), *split(capture.reroute_interfaces))):
        if not may_be_interface(name.strip()):
            yield f"no network interface can be called '{name.strip()}': its rules are written, and no packet fits them"


def _verified(release: Release, notes: list[str], *, ambient: bool) -> bool:
    verified = is_verified(release, ambient=ambient)
    if not verified:
        nearest = nearest_recorded(release, ambient=ambient)
        notes.append(f"the prediction for Istio {release} is unverified; nearest verified: {nearest}")
    return verified


def _with_names(text: str, unresolved: tuple[tuple[str, int], ...]) -> str:
    for name, placeholder in unresolved:
        text = text.replace(str(placeholder), name)
    return text


def _families(*, native: bool, ipv6: bool) -> tuple[tuple[IpVersion, ...], ...]:
    if native:
        return ((4, 6),) if ipv6 else ((4,),)
    return ((4,), (6,)) if ipv6 else ((4,),)


def predict_node(capture: Capture, release: Release) -> Expected:
    """The rules that the ambient agent writes into its node's own namespace, for the settings of `capture`.

    Raises BadInput for a capture of another writer, and where the release writes no such rules.
    """
    if capture.writer != "ambient":
        raise BadInput("only ambient has rules of its own on the node: a sidecar's are all in its pod")
    _refuse_ambient(capture, release)
    notes = ["the sets that these rules name hold the addresses of the node's ambient pods; they are not predicted"]
    verified = _verified(release, notes, ambient=True)
    plans = [
        Plan(capture, Shape(release, native=capture.native_nftables), versions, (), dns=False)
        for versions in _families(native=capture.native_nftables, ipv6=capture.dual_stack)
    ]
    rulesets, texts = _spelled([tuple(node(plan)) for plan in plans], plans, capture)
    return Expected(release, rulesets, texts, verified, tuple(notes))


def _refuse_ambient(capture: Capture, release: Release) -> None:
    if capture.writer != "ambient" or release.major != 1:
        return
    if not release.since(AMBIENT_SINCE):
        raise BadInput(f"Istio {release} writes no ambient rules into pods: they came with 1.{AMBIENT_SINCE}")
    if capture.native_nftables and not release.since(AMBIENT_NFTABLES_SINCE):
        since = f"they came with 1.{AMBIENT_NFTABLES_SINCE}"
        raise BadInput(f"Istio {release} writes no native nftables rules for ambient: {since}")


def _spelled(
    drafts: list[tuple[Draft, ...]], plans: list[Plan], capture: Capture
) -> tuple[tuple[Ruleset, ...], tuple[tuple[str, str], ...]]:
    if capture.native_nftables:
        import json

        from meshctl.netfilter import nft_json

        listing = spell_nft.nft_json(drafts[0], "istio-ambient" if capture.writer == "ambient" else "istio-proxy")
        text = spell_nft_text.nft_text(listing)
        return nft_json.parse(json.dumps(listing), "expected"), (("nft.txt", text),)
    rulesets: list[Ruleset] = []
    texts: list[tuple[str, str]] = []
    for plan, rules in zip(plans, drafts, strict=True):
        version = plan.versions[0]
        text = spell_save.save_text(rules, version)
        texts.append(("iptables-save.txt" if version == 4 else "ip6tables-save.txt", text))
        family: Family = "ipv4" if version == 4 else "ipv6"
        rulesets.append(iptables_save.parse(text, source="expected", family=family, backend="nft"))
    return tuple(rulesets), tuple(texts)


_USERS = {"root": "0", "nobody": "65534", "istio-proxy": "1337"}


def _with_user_numbers(capture: Capture, notes: list[str]) -> Capture:
    """The proxy's users and groups as numbers where they are given by name (``-u istio-proxy``)."""

    def numbered(text: str) -> str:
        for name in split(text):
            if not name.isdigit() and name in _USERS:
                notes.append(f"{name} is {_USERS[name]}, as in Istio's images")
            elif not name.isdigit():
                raise BadInput(
                    f"the number of the proxy's user or group '{name}' is not known", hint="give -u a number"
                )
        return ",".join(_USERS.get(name, name) for name in split(text))

    if all(name.isdigit() for name in (*split(capture.proxy_uids), *split(capture.proxy_gids))):
        return capture
    return replace(capture, proxy_uids=numbered(capture.proxy_uids), proxy_gids=numbered(capture.proxy_gids))


def _with_group_numbers(
    capture: Capture, network: Network, notes: list[str]
) -> tuple[Capture, tuple[tuple[str, int], ...]]:
    """Group names as numbers, as iptables does; a name without a known number gets a placeholder that matches any."""
    names = [name for text in (capture.owner_groups, capture.owner_groups_exclude) for name in split(text)]
    names = [name for name in dict.fromkeys(names) if name != "*" and not name.isdigit()]
    if not names:
        return capture, ()
    given = dict(network.groups)
    numbers: dict[str, int] = {}
    unresolved: list[tuple[str, int]] = []
    for name in names:
        if name in given:
            numbers[name] = given[name]
        elif name in _DEBIAN_GROUPS:
            numbers[name] = _DEBIAN_GROUPS[name]
            notes.append(
                f"group {name} is gid {numbers[name]}, as in every Debian image (--group {name}=GID says otherwise)"
            )
        else:
            numbers[name] = ANY_GROUP + len(unresolved)
            unresolved.append((name, numbers[name]))
            notes.append(f"the gid of group {name} is not known: any gid counts as it (--group {name}=GID names it)")

    def numbered(text: str) -> str:
        return ",".join(str(numbers.get(name, name)) for name in split(text)) if text != "*" else text

    changed = replace(
        capture,
        owner_groups=numbered(capture.owner_groups),
        owner_groups_exclude=numbered(capture.owner_groups_exclude),
    )
    return changed, tuple(unresolved)


def _ipv6(capture: Capture, network: Network, notes: list[str]) -> bool:
    if capture.writer == "ambient":
        return capture.dual_stack
    if not any(usable(address) for address in network.addresses):
        notes.append("the pod's addresses are not known: IPv4 alone is assumed (--address IP names them)")
        return False
    return uses_ipv6(network.addresses, dual_stack=capture.dual_stack)


def _resolvers(capture: Capture, release: Release, network: Network, notes: list[str]) -> tuple[tuple[str, ...], bool]:
    if not capture.dns or capture.capture_all_dns:
        return (), capture.dns
    if network.resolvers is None:
        notes.append(
            "the nameservers are not known: the rules for each of them are left out (--resolver IP names them)"
        )
        return (), True
    servers = tuple(server for server in network.resolvers if _is_address(server))
    if not servers and release.since(_DNS_NEEDS_SERVER_SINCE):
        notes.append("no nameserver is known to the pod, so istio-iptables leaves DNS capture off")
        return (), False
    return servers, True


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
