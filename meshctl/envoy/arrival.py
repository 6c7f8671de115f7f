"""How a connection arrives: its listener, what is found out about it, its filter chain, and the end of its TLS."""

from meshctl.envoy import client, filter_chain, headers, ip, listener, matcher_tree, release, tls
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.journal import Journal
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.listeners import FilterChain, Listener
from meshctl.envoy.query import Query
from meshctl.envoy.request import Request


def listener_of(walk: Journal) -> Listener:
    """Choose the listener."""
    query = walk.query
    found, because, entry = _listener(walk.dump, query)
    walk.note(entry=entry)
    rejected = next(
        (one for one in walk.dump.rejected() if listener.at((one,), query.address, query.port)[0] is not None), None
    )
    if found is None and not walk.dump.has("Listeners"):
        raise walk.give_up("listener", "the dump has no listeners")
    if found is None:
        if rejected is not None and rejected.status.failure is not None:
            why = f"Envoy rejected {rejected.name}: {rejected.status.failure.details}"
            raise walk.fail("config-rejected", "listener", why, rejected.origin)
        raise walk.fail("no-listener", "listener", because)
    if rejected is not None and rejected.status.failure is not None and found is entry:
        because += f"; Envoy rejected {rejected.name}, which was meant for it: {rejected.status.failure.details}"
    elif found.status.failure is not None:
        because += f"; this is an older version, since Envoy rejected a newer one: {found.status.failure.details}"
    walk.step("listener", found.name, because, found.origin)
    walk.note(listener=found)
    return found


def inspected(walk: Journal, where: Listener) -> filter_chain.Connection:
    """What the listener filters find out before a chain is chosen."""
    query = walk.query
    looks = listener.inspectors(where, query.port)
    entry = walk.found.get("entry")
    if entry is not None and entry is not where:
        looks = listener.both(listener.inspectors(entry, query.port), looks)
    for unknown in looks.unknown:
        walk.undecided(f"the listener filter {unknown} is not modelled")
    transport, name, protocols, because = client.inspected(query, looks, release.any_method(walk.dump.build()))
    if looks.tls or looks.http or looks.tls is None or looks.http is None:
        shown = " ".join(filter(None, (transport or "unknown", name, ",".join(protocols or ()))))
        if query.protocol == "tcp" and query.tls == "plaintext" and (looks.tls or looks.http):
            because += f"; a client that lets the server speak first {_waits(where)}"
        walk.step("listener filters", shown, because, where.origin)
    return filter_chain.Connection(
        address=query.address,
        port=query.port,
        server_name=name,
        transport=transport,
        protocols=protocols,
        source=query.source,
        source_port=query.source_port,
    )


def _waits(where: Listener) -> str:
    """What the inspectors do to a connection on which nothing comes (listener.proto, ``listener_filters_timeout``)."""
    if not where.filters_timeout_s:
        return "waits here for good (listener_filters_timeout is 0)"
    then = "goes on unrecognised" if where.continue_on_timeout else "is closed"
    return f"waits here {where.filters_timeout_s:g} s, then {then} (listener_filters_timeout)"


def chain_of(walk: Journal, where: Listener, connection: filter_chain.Connection) -> FilterChain:
    """Choose the filter chain."""
    choice = _chain(where, connection)
    if choice.undecided:
        raise walk.give_up("filter chain", choice.undecided, where.origin)
    if choice.rejected:
        raise walk.fail("config-rejected", "filter chain", choice.because, where.origin)
    if choice.chain is None:
        raise walk.fail("no-filter-chain", "filter chain", choice.because, where.origin, flags="NR")
    chosen = choice.chain
    shown = chosen.name or ("(the default chain)" if chosen.default else "(unnamed)")
    walk.step("filter chain", shown, choice.because, chosen.origin)
    walk.note(filter_chain=chosen)
    return chosen


def handshake(walk: Journal, chain: FilterChain) -> bool:
    """Whether the chain ends the client's TLS; stops where the handshake fails."""
    socket = chain.transport_socket.get()
    if socket.tls is None and socket.opaque is None:
        if walk.query.tls != "plaintext":
            walk.step("tls", "passed on", "the chain does not end TLS: it sees encrypted bytes", chain.origin)
        return False
    fits, because = tls.client_fits(socket, walk.query.tls)
    if fits is None:
        raise walk.give_up("tls", because, chain.origin)
    if not fits:
        raise walk.fail("tls-mismatch", "tls", because, chain.origin)
    if socket.tls is not None and (name := tls.awaited(socket.tls, walk.dump.secrets())):
        because = f"the proxy still waits for secret {name}: until SDS supplies it, every handshake fails"
        raise walk.fail("tls-mismatch", "tls", because, chain.origin)
    certificate = ", ".join(socket.tls.certificates) if socket.tls is not None else ""
    walk.step("tls", f"ended here with {certificate or 'a certificate'}", because, chain.origin)
    return True


def request_of(walk: Journal, connection: filter_chain.Connection, chain: FilterChain, terminated: bool) -> Request:
    """The request as filters see it, its host and path not yet normalised."""
    query = walk.query
    socket = chain.transport_socket.get().tls
    presented = terminated and query.tls == "mtls" and socket is not None and socket.asks_for_certificate
    principal = query.principal if presented else ""
    return Request(
        address=query.address,
        port=query.port,
        source=query.source,
        remote=query.source,
        server_name=connection.server_name,
        tls=query.tls,
        terminated=terminated,
        presented=presented,
        principal=principal,
        http=False,
        method=query.method,
        host=query.host or "",
        path=query.path,
        headers=headers.by_name(query.headers),
        unsettled=dict.fromkeys(query.unsure),
        each_value=release.each_value(walk.dump.build()),
        each_value_in_policies=release.each_value_in_policies(walk.dump.build()),
    )


def _listener(dump: ConfigDump, query: Query) -> tuple[Listener | None, str, Listener | None]:
    """The listener for a query, why, and the one through which a redirected connection came in."""
    serving = dump.serving(query.port)
    if query.direction == "gateway":
        found, because = listener.at((one for one in serving if one.bind), query.address, query.port)
        return found, because, None
    entry = dump.entry(query.direction)
    if entry is None:
        found, because = listener.at((one for one in serving if one.bind), query.address, query.port)
        return found, f"no listener takes redirected connections; {because}", None
    reachable = any(a.host == ip.wildcard(query.address) for a in entry.addresses) or query.direction == "inbound"
    if query.direction == "inbound":
        return entry, "redirected inbound connections come in here, and it keeps them", entry
    found, because = listener.at(serving, query.address, query.port)
    if found is not None:
        return found, f"{because} ({entry.name} hands it over by its original destination)", entry
    if not reachable:
        return None, f"{because}, and {entry.name} does not listen on {ip.wildcard(query.address)}", entry
    return entry, f"{because}, so {entry.name} keeps it", entry


def _chain(where: Listener, connection: filter_chain.Connection) -> filter_chain.Choice:
    """The filter chain by the listener's matcher tree, where it has one, else by what the chains say themselves."""
    chains, default = where.chains.get(), where.default_chain.get()
    if where.matcher is None:
        return filter_chain.choose(chains, default, connection)
    named = matcher_tree.evaluate(where.matcher, connection)
    if isinstance(named, Opaque):
        return filter_chain.Choice(None, "", undecided=f"the filter_chain_matcher depends on {named.text}")
    found = next((c for c in chains if named is not None and c.name == named), None)
    if found is not None:
        return filter_chain.Choice(found, "the filter_chain_matcher names it")
    because = f"the filter_chain_matcher names {named or 'no chain'}"
    if named is not None:
        return filter_chain.Choice(None, f"{because}, and there is no chain of that name")
    if default is not None:
        return filter_chain.Choice(default, f"{because}, so the default chain takes it")
    return filter_chain.Choice(None, because)
