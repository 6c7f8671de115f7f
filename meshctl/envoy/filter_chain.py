"""Filter chains: read them, and choose the one for a connection in Envoy's order.

Source: Envoy, ``source/common/listener_manager/filter_chain_manager_impl.cc``. Each step keeps the chains that fit most
narrowly and forgets the others for good: a chain for the exact port wins over one for any port even where, later on,
none of its siblings fits.
"""

from collections.abc import Callable, Iterable, Sequence

from meshctl.envoy import ip, network_filters, tls
from meshctl.envoy.metadata import istio_config
from meshctl.envoy.model.listeners import ChainMatch, FilterChain
from meshctl.envoy.reading import Deferred, Json
from meshctl.frozen import dataclass

_KNOWN = {
    "destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols",
    "direct_source_prefix_ranges", "source_type", "source_prefix_ranges", "source_ports",
}  # fmt: skip
_UNSUPPORTED = ("address_suffix", "suffix_len")


def chain(message: Json) -> FilterChain:
    """Read a ``FilterChain``; filters and the transport socket are parsed when they are asked for."""
    return FilterChain(
        name=message.text("name"),
        match=chain_match(message.below("filter_chain_match")),
        filters=Deferred(lambda: tuple(network_filters.network_filter(f) for f in message.each("filters"))),
        transport_socket=Deferred(lambda: tls.transport_socket(message.below("transport_socket"))),
        istio=istio_config(message.below("metadata")),
        origin=message.origin,
    )


def default_chain(message: Json) -> FilterChain | None:
    """Read the chain for connections that no other fits; None where there is none."""
    if not message:
        return None
    found = chain(message)
    return FilterChain(
        name=found.name,
        match=ChainMatch(),
        filters=found.filters,
        transport_socket=found.transport_socket,
        istio=found.istio,
        default=True,
        origin=found.origin,
    )


def chain_match(message: Json) -> ChainMatch:
    """Read a ``FilterChainMatch``."""
    if not message:
        return ChainMatch()
    kinds = ("ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL")
    source_type = message.choice("source_type", "ANY", *kinds)
    port = message.number("destination_port")
    return ChainMatch(
        destination_port=None if port is None else int(port),
        prefixes=_prefixes(message, "prefix_ranges"),
        server_names=tuple(name.lower() for name in message.texts("server_names")),
        transport_protocol=message.text("transport_protocol"),
        application_protocols=message.texts("application_protocols"),
        direct_source_prefixes=_prefixes(message, "direct_source_prefix_ranges"),
        source_type=source_type if source_type in kinds else "ANY",  # type: ignore[arg-type]
        source_prefixes=_prefixes(message, "source_prefix_ranges"),
        source_ports=tuple(int(p) for p in message.values("source_ports") if isinstance(p, int)),
        unsupported=tuple(key for key in _UNSUPPORTED if message.has(key)),
    )


def _prefixes(message: Json, key: str) -> tuple[str, ...]:
    return tuple(f"{r.text('address_prefix')}/{r.whole('prefix_len')}" for r in message.each(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the listener filters found out about a connection; None is not known."""

    address: str
    port: int
    server_name: str = ""
    transport: str | None = "raw_buffer"
    protocols: tuple[str, ...] | None = ()
    source: str | None = None
    source_port: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The chain that fits, why, and what was not known where that decided (then there is no chain)."""

    chain: FilterChain | None
    because: str
    rejected: bool = False
    undecided: str = ""


def choose(chains: Sequence[FilterChain], default: FilterChain | None, connection: Connection) -> Choice:
    """The filter chain for a connection; `rejected` where two are the same to Envoy, which refuses such a listener."""
    if twins := _twins(chains):
        names = " and ".join(c.name or "(unnamed)" for c in twins)
        return Choice(None, f"the chains {names} match the same connections: Envoy rejects the listener", True)
    left: Sequence[FilterChain] = chains
    reasons: list[str] = []
    for step, restricts in _STEPS:
        outcome = step(left, connection)
        if isinstance(outcome, str):
            return Choice(None, "", undecided=outcome)
        kept, why = outcome
        if not kept:
            return _fall_back(default, why)
        if len(kept) < len(left) or any(restricts(c.match) for c in kept):
            reasons.append(why)
        left = kept
    if len(left) > 1:
        return Choice(None, "", undecided=f"the chains {', '.join(c.name for c in left)} fit equally")
    because = ", ".join(dict.fromkeys(r for r in reasons if r)) or "it matches every connection"
    return Choice(left[0], because)


def _fall_back(default: FilterChain | None, why: str) -> Choice:
    if default is None:
        return Choice(None, f"no chain fits: {why}; and there is no default chain")
    return Choice(default, f"no other chain fits ({why}), so the default chain takes it")


_Outcome = tuple[Sequence[FilterChain], str] | str
_Step = Callable[[Sequence[FilterChain], Connection], _Outcome]


def _by_port(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    exact = [c for c in chains if c.match.destination_port == connection.port]
    if exact:
        return exact, f"port {connection.port}"
    return [c for c in chains if c.match.destination_port is None], f"no chain is for port {connection.port} alone"


def _by_address(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    return _longest(chains, connection.address, lambda c: c.match.prefixes, f"address {connection.address}")


def _longest(
    chains: Sequence[FilterChain], address: str | None, prefixes: Callable[[FilterChain], tuple[str, ...]], what: str
) -> _Outcome:
    lengths = [(ip.longest(address, prefixes(c)), c) for c in chains]
    best = max((length for length, _ in lengths if length is not None), default=None)
    kept = [c for length, c in lengths if length is not None and length == best]
    if best == 0 and len({bool(prefixes(c)) for c in kept}) > 1:
        return "some chains name the prefix 0.0.0.0/0 and others none: Envoy keeps one kind, and which is not defined"
    return kept, what


def _by_server_name(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    name = connection.server_name
    shown = f"server name {name}" if name else "no server name"
    exact = [c for c in chains if name in c.match.server_names] if name else []
    if exact:
        return exact, shown
    dot = name.find(".", 1)
    while 0 < dot < len(name) - 1:
        fits = [c for c in chains if f"*{name[dot:]}" in c.match.server_names]
        if fits:
            return fits, f"{shown} (*{name[dot:]})"
        dot = name.find(".", dot + 1)
    return [c for c in chains if not c.match.server_names or "*" in c.match.server_names], shown


def _by_transport(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    wanted = connection.transport
    shown = {"raw_buffer": "plain text (raw_buffer)", "tls": "TLS"}.get(wanted or "", f"transport {wanted}")
    if wanted is None:
        if any(c.match.transport_protocol for c in chains):
            return "whether the TLS inspector runs for this port cannot be told"
        return chains, ""
    exact = [c for c in chains if c.match.transport_protocol == wanted]
    return exact or [c for c in chains if not c.match.transport_protocol], shown


def _by_protocol(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    offered = connection.protocols
    if offered is None:
        if any(c.match.application_protocols for c in chains):
            return "which application protocol the inspectors find cannot be told"
        return chains, ""
    for protocol in offered:
        exact = [c for c in chains if protocol in c.match.application_protocols]
        if exact:
            return exact, f"application protocol {protocol}"
    shown = ", ".join(offered) or "none detected"
    return [c for c in chains if not c.match.application_protocols], f"application protocol {shown}"


def _by_direct_source(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    return _by_client(chains, connection, lambda c: c.match.direct_source_prefixes)


def _by_source(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    return _by_client(chains, connection, lambda c: c.match.source_prefixes)


def _by_client(
    chains: Sequence[FilterChain], connection: Connection, prefixes: Callable[[FilterChain], tuple[str, ...]]
) -> _Outcome:
    if connection.source is None and any(prefixes(c) for c in chains):
        return "the chain depends on the client's address, which is not given"
    return _longest(chains, connection.source, prefixes, f"source {connection.source}")


def _by_source_type(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    if all(c.match.source_type == "ANY" for c in chains):
        return chains, ""
    local = _is_local(connection)
    if local is None:
        return "the chain depends on whether the client is local, and its address is not given"
    kind = "SAME_IP_OR_LOOPBACK" if local else "EXTERNAL"
    exact = [c for c in chains if c.match.source_type == kind]
    return exact or [c for c in chains if c.match.source_type == "ANY"], f"source type {kind}"


def _is_local(connection: Connection) -> bool | None:
    """Whether the client is this host: Envoy knows one loopback address of each family (``isLoopbackAddress``)."""
    source = ip.parsed(connection.source) if connection.source else None
    if source is None:
        return None
    return source in (ip.parsed("127.0.0.1"), ip.parsed("::1"), ip.parsed(connection.address))


def _by_source_port(chains: Sequence[FilterChain], connection: Connection) -> _Outcome:
    if not any(c.match.source_ports for c in chains):
        return chains, ""
    if connection.source_port is None:
        return "the chain depends on the client's port, which is not given"
    exact = [c for c in chains if connection.source_port in c.match.source_ports]
    return exact or [c for c in chains if not c.match.source_ports], f"source port {connection.source_port}"


_STEPS: tuple[tuple[_Step, Callable[[ChainMatch], object]], ...] = (
    (_by_port, lambda match: match.destination_port is not None),
    (_by_address, lambda match: match.prefixes),
    (_by_server_name, lambda match: match.server_names),
    (_by_transport, lambda match: match.transport_protocol),
    (_by_protocol, lambda match: match.application_protocols),
    (_by_direct_source, lambda match: match.direct_source_prefixes),
    (_by_source_type, lambda match: match.source_type != "ANY"),
    (_by_source, lambda match: match.source_prefixes),
    (_by_source_port, lambda match: match.source_ports),
)


def _twins(chains: Sequence[FilterChain]) -> tuple[FilterChain, FilterChain] | None:
    """Two chains that share one combination of all criteria."""
    seen: dict[tuple[object, ...], FilterChain] = {}
    for each in chains:
        for key in _keys(each.match):
            if key in seen and seen[key] is not each:
                return seen[key], each
            seen[key] = each
    return None


def _keys(match: ChainMatch) -> Iterable[tuple[object, ...]]:
    """Every combination of the values that a chain lists, as Envoy's nested maps hold them."""
    for prefix in match.prefixes or ("",):
        for name in match.server_names or ("",):
            for protocol in match.application_protocols or ("",):
                for direct in match.direct_source_prefixes or ("",):
                    for source in match.source_prefixes or ("",):
                        for port in match.source_ports or (0,):
                            yield (
                                match.destination_port, prefix, name, match.transport_protocol, protocol, direct,
                                match.source_type, source, port,
                            )  # fmt: skip
