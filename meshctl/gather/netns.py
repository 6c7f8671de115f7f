"""What is in a network namespace: its rules, addresses and routes, from a pod's or node's parts or from bare files."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TypeVar

from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.netfilter import iproute, iptables_save, nft_json, routing, rulefile
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Backend, Family, Ruleset
from meshctl.netfilter.routing import Address, Network, PolicyRule, Route
from meshctl.sources.world import Part, World

DUMPS: Mapping[str, tuple[Family, Backend]] = {
    "netns/iptables-save.txt": ("ipv4", "nft"),
    "netns/ip6tables-save.txt": ("ipv6", "nft"),
    "netns/iptables-legacy-save.txt": ("ipv4", "legacy"),
    "netns/ip6tables-legacy-save.txt": ("ipv6", "legacy"),
}
"""The dumps of iptables' rules, with the family and (where a header does not say it) the backend of each."""

LISTING = "netns/nft.json"
_ROUTING = ("netns/ip-address.json", "netns/ip-route.json", "netns/ip-rule.json", "netns/ip6-rule.json")
PARTS = (*DUMPS, LISTING, *_ROUTING)


@dataclass(frozen=True, slots=True)
class Netns:
    """Rules without repetitions, the routing beside them, and what could not be looked at.

    `unread` are the parts that are there but broken, each with what is wrong; `gaps` has those that are not there, too.
    `seen` are the families whose rules could be looked at.
    """

    rulesets: tuple[Ruleset, ...]
    network: Network
    gaps: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[Family] = frozenset()


def of_pod(world: World, namespace: str, pod: str, addresses: Sequence[str] = ()) -> Netns:
    """A pod's network namespace; `addresses` are those of its status, for a recording without ``ip-address``."""
    return of_parts(world.parts(namespace, pod, PARTS), addresses)


def of_node(world: World, node: str) -> Netns:
    """A node's own network namespace."""
    return of_parts({name: world.node_part(node, name) for name in PARTS}, ())


def of_parts(parts: Mapping[str, Part], addresses: Sequence[str] = (), *, whole: bool = True) -> Netns:
    """Parse what was fetched; a part that cannot be read is a gap, as one that is missing.

    So is a dump that breaks off: its lost end may be what matters. To show it as far as it goes, say `whole` False;
    its ruleset's remarks tell where it ends.
    """
    rulesets: list[Ruleset] = []
    gaps: list[str] = []
    unread: dict[str, str] = {}
    for name, (family, backend) in DUMPS.items():
        part = parts.get(name)
        if part is None or part.content is None:
            gaps.append(f"{name}: {part.gap if part and part.gap else 'not recorded'}")
            continue
        said = iptables_save.header(_text(part))[1]
        try:
            rulesets.append(iptables_save.parse(_text(part), part.source, family, said or backend, strict=whole))
        except BadInput as error:
            unread[name] = str(error)
    listing = parts.get(LISTING)
    if listing is not None and listing.content is not None:
        try:
            rulesets += nft_json.parse(_text(listing), listing.source)
        except BadInput as error:
            unread[LISTING] = str(error)
    else:
        gaps.append(f"{LISTING}: {listing.gap if listing and listing.gap else 'not recorded'}")
    network = _network(parts, addresses, unread)
    return Netns(merge(rulesets), network, (*unread.values(), *gaps), unread, _seen(parts, unread))


def _seen(parts: Mapping[str, Part], unread: Mapping[str, str]) -> frozenset[Family]:
    there = {name: part.content for name, part in parts.items() if part.content is not None and name not in unread}
    return seen(there, unread)


def seen(there: Mapping[str, bytes], unread: Container[str]) -> frozenset[Family]:
    """The families whose rules are known from the parts that could be read.

    An empty legacy dump alone proves nothing: where it is taken beside the other, the other has the rules.
    """
    if LISTING in there:
        return frozenset(("ipv4", "ipv6", "inet"))
    found: set[Family] = set()
    for name, (family, backend) in DUMPS.items():
        other = name.replace("-legacy", "")
        if name in there and (backend == "nft" or (other not in unread and b"-A " in there[name])):
            found.add(family)
    return frozenset(found)


_Read = TypeVar("_Read")


def _network(parts: Mapping[str, Part], addresses: Sequence[str], unread: dict[str, str]) -> Network:
    def read(name: str, parse: Callable[[str, str], tuple[_Read, ...]]) -> tuple[_Read, ...] | None:
        part = parts.get(name)
        if part is None or part.content is None:
            return None
        try:
            return parse(_text(part), part.source)
        except BadInput as error:
            unread[name] = str(error)
            return None

    of_addresses, of_routes, of_rules, of_rules6 = _ROUTING
    found = read(of_addresses, iproute.parse_addresses)
    return routing.assemble(
        found if found is not None else routing.given_addresses(addresses),
        read(of_routes, iproute.parse_routes),
        read(of_rules, iproute.parse_rules),
        read(of_rules6, iproute.parse_rules),
        complete=found is not None,
    )


def _text(part: Part) -> str:
    return (part.content or b"").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class RoutingFiles:
    """The files and addresses that stand beside bare rule files; None and empty where not given."""

    addresses: Sequence[str] = ()
    ip_rule: Sequence[Path] = ()
    ip_route: Sequence[Path] = ()
    ip_address: Path | None = None


def of_files(paths: Iterable[Path], family: Family | None = None, beside: RoutingFiles | None = None) -> Netns:
    """The rules of bare files; NotFound and BadInput name the file."""
    rulesets: list[Ruleset] = []
    for path in paths:
        rulesets += rulefile.read(file_text(path), str(path), family)
    return Netns(merge(rulesets), _network_of(beside or RoutingFiles()))


def file_text(path: Path) -> str:
    """A file's text (``-`` is stdin); NotFound and BadInput where it cannot be read."""
    if str(path) == "-":
        import sys

        return sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def _network_of(beside: RoutingFiles) -> Network:
    addresses: list[Address] = list(routing.given_addresses(beside.addresses))
    if beside.ip_address is not None:
        addresses += iproute.parse_addresses(file_text(beside.ip_address), str(beside.ip_address))
    routes: list[Route] | None = None
    for path in beside.ip_route:
        routes = [*(routes or ()), *iproute.parse_routes(file_text(path), str(path))]
    rules4, rules6 = _policy(beside.ip_rule)
    return routing.assemble(addresses, routes, rules4, rules6, complete=beside.ip_address is not None)


def _policy(paths: Sequence[Path]) -> tuple[tuple[PolicyRule, ...] | None, tuple[PolicyRule, ...] | None]:
    """The policy rules by family: a file named as IPv6's, or the second one, is IPv6's."""
    four: tuple[PolicyRule, ...] | None = None
    six: tuple[PolicyRule, ...] | None = None
    for path in paths:
        rules = iproute.parse_rules(file_text(path), str(path))
        if "6" in path.name or (four is not None and six is None):
            six = rules
        else:
            four = rules
    return four, six
