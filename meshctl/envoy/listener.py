"""Listeners: read them, and choose the one that gets a connection."""

from collections.abc import Iterable, Iterator, Sequence

from meshctl.envoy import addresses, filter_chain, matcher_tree
from meshctl.envoy.ip import canonical, wildcard
from meshctl.envoy.metadata import istio_config
from meshctl.envoy.model.basics import Address, Direction, Opaque, Status
from meshctl.envoy.model.listeners import AllOf, Always, AnyOf, Disabled, Listener, ListenerFilter, Not, PortsDisabled
from meshctl.envoy.reading import Deferred, Json, type_name
from meshctl.frozen import dataclass

ORIGINAL_DST = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
HTTP_INSPECTOR = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
_BY_NAME = {
    "envoy.filters.listener.original_dst": ORIGINAL_DST,
    "envoy.listener.original_dst": ORIGINAL_DST,
    "envoy.filters.listener.tls_inspector": TLS_INSPECTOR,
    "envoy.listener.tls_inspector": TLS_INSPECTOR,
    "envoy.filters.listener.http_inspector": HTTP_INSPECTOR,
    "envoy.listener.http_inspector": HTTP_INSPECTOR,
}
_DIRECTIONS: dict[str, Direction] = {"INBOUND": "inbound", "OUTBOUND": "outbound"}


def listener(message: Json, status: Status) -> Listener:
    """Read a ``Listener``; its filter chains are parsed when they are asked for."""
    first = addresses.address(message.below("address"))
    more = (addresses.address(extra.below("address")) for extra in message.each("additional_addresses"))
    deprecated = message.at("deprecated_v1").value("bind_to_port")
    timeout = message.seconds("listener_filters_timeout")
    matcher = message.below("filter_chain_matcher")
    return Listener(
        name=message.text("name"),
        addresses=tuple(a for a in (first, *more, *_mapped(message)) if a is not None),
        direction=_DIRECTIONS.get(message.choice("traffic_direction", "", "", "INBOUND", "OUTBOUND"), "unspecified"),
        bind=message.flag("bind_to_port", deprecated is not False) and not message.has("internal_listener"),
        hands_over=message.flag("use_original_dst"),
        transparent=message.flag("transparent"),
        filters=tuple(_listener_filter(f) for f in message.each("listener_filters")),
        filters_timeout_s=15.0 if timeout is None else timeout,
        continue_on_timeout=message.flag("continue_on_listener_filters_timeout"),
        chains=Deferred(lambda: tuple(filter_chain.chain(c) for c in message.each("filter_chains"))),
        default_chain=Deferred(lambda: filter_chain.default_chain(message.below("default_filter_chain"))),
        matcher=matcher_tree.parse(matcher) if matcher else None,
        status=status,
        istio=istio_config(message.below("metadata")),
        origin=message.origin,
    )


def _mapped(message: Json) -> Iterator[Address]:
    """The IPv4 wildcard of listeners that take both families on ``::`` (``ipv4_compat``)."""
    for each in (message, *message.each("additional_addresses")):
        place = each.below("address").below("socket_address")
        if place.flag("ipv4_compat") and canonical(place.text("address")) == "::":
            yield Address("0.0.0.0", place.whole("port_value"))


def _listener_filter(message: Json) -> ListenerFilter:
    name = message.text("name")
    kind = type_name(message.below("typed_config")) or _BY_NAME.get(name, "")
    disabled = _disabled(message.below("filter_disabled")) if message.has("filter_disabled") else None
    return ListenerFilter(name, kind, disabled, message.origin)


def _disabled(message: Json) -> Disabled:
    """Read a ``ListenerFilterChainMatchPredicate``."""
    if message.has("destination_port_range"):
        ports = message.below("destination_port_range")
        return PortsDisabled(ports.whole("start"), ports.whole("end"))
    if message.has("or_match"):
        return AnyOf(tuple(_disabled(rule) for rule in message.below("or_match").each("rules")))
    if message.has("and_match"):
        return AllOf(tuple(_disabled(rule) for rule in message.below("and_match").each("rules")))
    if message.has("not_match"):
        return Not(_disabled(message.below("not_match")))
    if message.has("any_match"):
        return Always() if message.flag("any_match") else Not(Always())
    return Opaque(", ".join(sorted(message.raw)) or "an empty predicate", message.origin)


def disabled_on(predicate: Disabled, port: int) -> bool | None:
    """Whether a listener filter is skipped for this destination port; None where it cannot be told."""
    match predicate:
        case PortsDisabled(start, end):
            return start <= port < end
        case AnyOf(parts):
            found = [disabled_on(part, port) for part in parts]
            return True if True in found else None if None in found else False
        case AllOf(parts):
            found = [disabled_on(part, port) for part in parts]
            return False if False in found else None if None in found else True
        case Not(part):
            inner = disabled_on(part, port)
            return None if inner is None else not inner
        case Always():
            return True
        case Opaque():
            return None


@dataclass(frozen=True, slots=True)
class Inspectors:
    """Which listener filters look at a connection to a port; None where that cannot be told."""

    tls: bool | None
    http: bool | None
    unknown: tuple[str, ...] = ()


def inspectors(found: Listener, port: int) -> Inspectors:
    """The inspectors that run for connections to this original port."""
    runs: dict[str, bool | None] = {}
    unknown = []
    for each in found.filters:
        off = False if each.disabled is None else disabled_on(each.disabled, port)
        runs[each.type] = None if off is None else runs.get(each.type) or not off
        known = each.type in (ORIGINAL_DST, TLS_INSPECTOR, HTTP_INSPECTOR) or "original_src" in each.type
        if not known and off is not True:
            unknown.append(each.type or each.name)
    return Inspectors(runs.get(TLS_INSPECTOR, False), runs.get(HTTP_INSPECTOR, False), tuple(unknown))


def both(first: Inspectors, then: Inspectors) -> Inspectors:
    """What two listeners find out, one that hands a connection over and the one that gets it."""

    def either(one: bool | None, other: bool | None) -> bool | None:
        return True if True in (one, other) else None if None in (one, other) else False

    unknown = dict.fromkeys((*first.unknown, *then.unknown))
    return Inspectors(either(first.tls, then.tls), either(first.http, then.http), tuple(unknown))


def restores_destination(found: Listener) -> bool:
    """Whether a redirected connection gets its original destination back here."""
    return found.hands_over or any(f.type == ORIGINAL_DST for f in found.filters)


def at(listeners: Iterable[Listener], host: str, port: int) -> tuple[Listener | None, str]:
    """The listener for a destination: its exact address first, then the wildcard of the same family.

    Source: Envoy, ``ConnectionHandlerImpl::getBalancedHandlerByAddress``: there is no wildcard for ports.
    """
    exact, any_address = Address(canonical(host), port), Address(wildcard(host), port)
    found: Listener | None = None
    for each in listeners:
        for place in each.addresses:
            if place.kind != "socket" or place.port != port or place.protocol != "TCP":
                continue
            if place.host == exact.host:
                return each, f"it listens on {exact}, exactly this destination"
            if place.host == any_address.host and found is None:
                found = each
    if found is not None:
        return found, f"it listens on {any_address}, and no listener is for {exact} itself"
    return None, f"no listener is for {exact}, nor for {any_address}"


ENTRIES: dict[Direction, str] = {"outbound": "virtualOutbound", "inbound": "virtualInbound"}
"""What Istio names the listeners that redirected connections reach (pilot/pkg/model, 1.12 to 1.30)."""


def entry(listeners: Sequence[Listener], direction: Direction) -> Listener | None:
    """The listener that redirected connections of a direction reach, where it has another name."""
    for each in listeners:
        if each.direction == direction and (each.hands_over if direction == "outbound" else restores_destination(each)):
            return each
    return None
