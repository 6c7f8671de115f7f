"""What the routing tables of a network namespace say: ``ip rule``, ``ip route show table all``, addresses.

Read from the JSON that iproute2 prints (``ip -j``). Where nothing was recorded, `assume` builds what a pod has: the
local addresses, the default rules, and a default route over its first interface; `Network.assumed` says so.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import Prefix, address_number, address_text, prefix

Version: TypeAlias = Literal[4, 6]

Kind: TypeAlias = Literal["local", "unicast", "broadcast", "multicast", "blackhole", "unreachable", "prohibit", "none"]


@dataclass(frozen=True, slots=True)
class Address:
    """An interface's address."""

    interface: str
    version: Version
    number: int
    length: int

    def __str__(self) -> str:
        return address_text(self.version, self.number)


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `source` is the address that it prefers (``prefsrc``)."""

    version: Version
    table: str
    kind: Kind
    network: Prefix
    device: str = ""
    source: int | None = None
    metric: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A line of ``ip rule``; `words` are selectors that meshctl does not judge."""

    priority: int
    table: str
    mark: int | None = None
    mask: int = 0xFFFFFFFF
    source: Prefix | None = None
    destination: Prefix | None = None
    in_interface: str = ""
    out_interface: str = ""
    negated: bool = False
    action: str = "lookup"
    words: tuple[str, ...] = ()


DEFAULT_RULES = (PolicyRule(0, "local"), PolicyRule(32766, "main"), PolicyRule(32767, "default"))


@dataclass(frozen=True, slots=True)
class Network:
    """A namespace's addresses and routing; rules by IP version. `complete`: the addresses are all there are."""

    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules4: tuple[PolicyRule, ...] = DEFAULT_RULES
    rules6: tuple[PolicyRule, ...] = DEFAULT_RULES
    complete: bool = False
    assumed: tuple[str, ...] = ()

    def primary(self, version: int, interface: str) -> Address | None:
        """The first address of an interface that is not link-local."""
        found = [one for one in self.addresses if one.version == version and one.interface == interface]
        return next((one for one in found if not _link_local(one)), found[0] if found else None)

    def knows_interface(self, name: str) -> bool:
        """Whether any address of the interface is known."""
        return any(one.interface == name for one in self.addresses)

    def owner(self, version: int, number: int) -> str | None:
        """The interface that has this address."""
        return next((one.interface for one in self.addresses if one.version == version and one.number == number), None)


def _link_local(address: Address) -> bool:
    return address.version == 6 and address.number >> 118 == 0xFE80 >> 6


@dataclass(frozen=True, slots=True)
class Way:
    """What a lookup found; kind ``none`` where no table has a route. `unsure` names a selector not judged."""

    kind: Kind
    device: str = ""
    source: int | None = None
    table: str = ""
    unsure: str = ""


_LOOPBACK4 = prefix("127.0.0.0/8")

MULTICAST = {4: prefix("224.0.0.0/4"), 6: prefix("ff00::/8")}


def lookup(
    network: Network,
    version: Version,
    destination: int,
    *,
    source: int | None = None,
    mark: int = 0,
    in_interface: str = "lo",
) -> Way:
    """Route a packet as fib_lookup does: the rules in order, each table by longest prefix, then lowest metric.

    `in_interface` is ``lo`` for packets that this machine sends. IPv6 wants a packet to ::1 or a link-local address
    to stay on the interface that it came in on (net/ipv6/route.c, rt6_need_strict).
    """
    strict = in_interface if version == 6 and in_interface != "lo" and _needs_strict(destination) else ""
    for rule in network.rules4 if version == 4 else network.rules6:
        applies = _selects(rule, version, destination, source, mark, in_interface)
        if applies is False:
            continue
        if rule.words:
            return Way("none", unsure=f"ip rule {rule.priority}: {' '.join(rule.words)}")
        if rule.action != "lookup":
            return Way(_ACTIONS.get(rule.action, "none"), table=rule.action)
        way = _in_table(network, version, rule.table, destination, strict)
        if way is not None:
            return way
    return Way("none")


_ACTIONS: dict[str, Kind] = {"blackhole": "blackhole", "unreachable": "unreachable", "prohibit": "prohibit"}


def _selects(
    rule: PolicyRule, version: Version, destination: int, source: int | None, mark: int, in_interface: str
) -> bool:
    met = (
        (rule.mark is None or mark & rule.mask == rule.mark & rule.mask)
        and (rule.source is None or (source is not None and rule.source.contains(version, source)))
        and (rule.destination is None or rule.destination.contains(version, destination))
        and rule.in_interface in ("", in_interface)
        and not rule.out_interface
    )
    return met != rule.negated


def _needs_strict(destination: int) -> bool:
    return destination == 1 or destination >> 118 == 0xFE80 >> 6 or destination >> 120 == 0xFF


def _in_table(network: Network, version: Version, table: str, destination: int, device: str = "") -> Way | None:
    best: Route | None = None
    for route in network.routes:
        if device and route.device != device:
            continue
        if route.version != version or route.table != table or not route.network.contains(version, destination):
            continue
        if best is None or _better(route, best):
            best = route
    if best is None:
        return None
    return Way(best.kind, best.device, best.source, table)


def _better(route: Route, best: Route) -> bool:
    longer = route.network.mask.bit_count() - best.network.mask.bit_count()
    return longer > 0 or (longer == 0 and route.metric < best.metric)


def address_kind(network: Network, version: Version, number: int, *, table_only: str = "") -> Kind | None:
    """What the routing tables call an address (``addrtype``, ``fib type``): None where that is not known."""
    if MULTICAST[version].contains(version, number):
        return "multicast"
    if version == 4 and number == 0xFFFFFFFF:
        return "broadcast"
    if network.owner(version, number) is not None:
        return "local"
    way = lookup(network, version, number)
    if way.kind == "none":
        return "unreachable" if network.complete else None
    if way.kind == "unicast" and not network.complete and way.table != table_only:
        return "unicast"
    return way.kind


def given_addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Addresses as a user gives them: ``172.17.0.7``, ``172.17.0.7/24``, ``eth1=10.0.0.1``.

    Where no interface is named, loopback addresses are lo's and all others eth0's.
    """
    found: list[Address] = []
    for text in texts:
        interface, equals, rest = text.rpartition("=")
        try:
            network = prefix(rest)
            version, number = address_number(rest.partition("/")[0])
        except ValueError:
            raise BadInput(f"{text!r} is not an address", hint="as in --address 172.17.0.7 or eth1=10.0.0.1") from None
        length = network.mask.bit_count() if "/" in rest else 32 if version == 4 else 128
        if not equals:
            interface = "lo" if _is_loopback(version, number) else "eth0"
        found.append(Address(interface, version, number, length))
    return tuple(found)


def _is_loopback(version: int, number: int) -> bool:
    return number >> 24 == 127 if version == 4 else number == 1


_LOOPBACK = (Address("lo", 4, 0x7F000001, 8), Address("lo", 6, 1, 128))


def assemble(
    addresses: Sequence[Address] = (),
    routes: Sequence[Route] | None = None,
    rules4: Sequence[PolicyRule] | None = None,
    rules6: Sequence[PolicyRule] | None = None,
    *,
    complete: bool = False,
) -> Network:
    """A network from what was recorded; the rest is what a pod has by default, and is said in `assumed`.

    Without IPv6 rules those of IPv4 are taken that look up a table which has IPv6 routes: istio-iptables and
    istio-cni write both families' rules alike (tools/common/tproxy/run_linux.go, 1.30.3).
    """
    assumed: list[str] = []
    known = tuple(dict.fromkeys((*addresses, *_from_routes(routes or ()))))
    if not any(one.interface == "lo" for one in known):
        known = (*_LOOPBACK, *known)
    every = tuple(dict.fromkeys((*(routes or ()), *_local_routes(known))))
    if routes is None:
        every = (*every, *_default_routes(known))
        assumed.append("routes were not recorded: a default route over the pod's interface is assumed")
    if rules4 is None:
        assumed.append("ip rules were not recorded: no policy routing is assumed")
    first = tuple(rules4) if rules4 is not None else DEFAULT_RULES
    if rules6 is None:
        tables = {route.table for route in every if route.version == 6}
        second = tuple(rule for rule in first if rule.table in tables or rule in DEFAULT_RULES)
        second = tuple(sorted({*second, *DEFAULT_RULES}, key=lambda rule: rule.priority))
    else:
        second = tuple(rules6)
    return Network(known, every, first, second, complete, tuple(assumed))


def _from_routes(routes: Iterable[Route]) -> tuple[Address, ...]:
    """The addresses that the local table implies."""
    return tuple(
        Address(route.device, route.version, route.network.address, 32 if route.version == 4 else 128)
        for route in routes
        if route.table == "local" and route.kind == "local" and route.network.is_host
    )


def _local_routes(addresses: Iterable[Address]) -> tuple[Route, ...]:
    found = [Route(4, "local", "local", _LOOPBACK4, "lo")]
    for one in addresses:
        host = Prefix(one.version, one.number, (1 << (32 if one.version == 4 else 128)) - 1)
        found.append(Route(one.version, "local", "local", host, one.interface))
    return tuple(found)


def _default_routes(addresses: Sequence[Address]) -> tuple[Route, ...]:
    found: list[Route] = []
    for version, everything in ((4, "0.0.0.0/0"), (6, "::/0")):
        first = next((one for one in addresses if one.version == version and one.interface != "lo"), None)
        if first is not None:
            found.append(Route(first.version, "main", "unicast", prefix(everything), first.interface, first.number))
        width = 32 if version == 4 else 128
        for one in addresses:
            if one.version == version and one.interface != "lo" and one.length < width:
                mask = ((1 << one.length) - 1) << (width - one.length)
                near = Prefix(one.version, one.number & mask, mask)
                found.append(Route(one.version, "main", "unicast", near, one.interface, one.number))
    return tuple(found)
