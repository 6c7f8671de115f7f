"""The running pod and its place in the mesh: sockets, certificates, refusals, policies, routes, gateways."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Span, Table, Text
from meshctl.checks.evidence import Evidence
from meshctl.injection.ambient import Ambient
from meshctl.injection.catalog_pod import PORTS, ZTUNNEL_PORTS
from meshctl.injection.exposure import Exposure
from meshctl.injection.routes_here import RouteHere
from meshctl.injection.standing import Standing
from meshctl.injection.state import Certificate, Listener, State
from meshctl.istio.destination_rule import TrafficPolicy
from meshctl.netfilter.capture import Capture
from meshctl.words import counted


def blocks(it: Evidence) -> Iterator[Block]:
    """The sections on the running pod; one without a source is left out."""
    if it.ambient is not None:
        yield from _ambient(it.ambient)
    if it.state is not None:
        yield from _proxy(it, it.state)
        yield from _sockets(it, it.state)
    if it.standing is not None:
        yield from _security(it, it.standing)
        yield from _routes(it.standing)


def _ambient(ambient: Ambient) -> Iterator[Block]:
    yield Heading("How its connections are carried")
    yield Text(
        "In ambient mode the node's agent (istio-cni) writes rules into the pod's network namespace which send its "
        "connections to ztunnel, the node's proxy; between nodes they travel in HBONE, a tunnel with mutual TLS."
    )
    redirected: Line = Span("yes", "good") if ambient.redirected else Span("no", "warn")
    rows: list[tuple[str, Line]] = [("asked by", ambient.asked_by or "nobody (any more)"), ("redirected", redirected)]
    if ambient.ztunnel:
        words = {True: "carries it", False: "does not carry it", None: "what it knows was not recorded"}
        rows.append(("ztunnel", f"{ambient.ztunnel} {words[ambient.taken_over]}"))
    if ambient.protocol:
        rows.append(("others reach it by", ambient.protocol))
    said = ", ".join(f"{name} ({by})" for name, by in ambient.waypoints)
    rows.append(("waypoint", said or "none: only identities are checked, not HTTP"))
    yield Facts(tuple(rows), 2)


def _proxy(it: Evidence, state: State) -> Iterator[Block]:
    rows: list[tuple[str, Line]] = []
    if state.server_state:
        good = state.server_state == "LIVE" and not state.refused
        rows.append(("Envoy", (Span(state.server_state, "good" if good else "warn"), f": {_server_words(state)}")))
    own = [c for c in state.certificates or () if c.name == "default"]
    rows += [("certificate", _certificate(c, it.description.subject.now)) for c in own]
    if state.refused:
        rows.append(("refused", Span(f"{counted(len(state.refused), 'piece')} of configuration", "bad")))
    elif state.refused is not None:
        rows.append(("refused", "nothing of what istiod sent"))
    if rows:
        yield Heading("The proxy now")
        yield Facts(tuple(rows))


def _server_words(state: State) -> str:
    if state.server_state != "LIVE":
        return "it waits for its first configuration or is stopping"
    return "it runs, but without what it refused" if state.refused else "it has its configuration and works"


def _certificate(certificate: Certificate, now: datetime | None) -> Line:
    name = certificate.identity or "no name in it"
    if certificate.not_after is None or now is None:
        return name
    hours = (certificate.not_after - now).total_seconds() / 3600
    if hours <= 0:
        return (name, Span(f", expired {-hours:.1f} hours before this was recorded", "bad"))
    return f"{name}, valid for {hours:.1f} more hours"


def _sockets(it: Evidence, state: State) -> Iterator[Block]:
    if state.listeners is None or it.pod.host_network:
        return
    declared = {p.number: c.name for c in it.pod.containers for p in c.ports}
    yield Heading("Who listens")
    listening = {o.port for o in state.listeners}
    unheard = sorted(set(declared) - listening)
    rows: list[tuple[Line, ...]] = [_socket_row(it, group, declared) for group in _by_port(state.listeners)]
    rows += [(str(p), "-", Span("nobody", "warn"), f"declared by {declared[p]}") for p in unheard]
    yield Table((Column("port", right=True), Column("program"), Column("on"), Column("what for")), tuple(rows))


def _socket_row(it: Evidence, group: Sequence[Listener], declared: dict[int, str]) -> tuple[Line, ...]:
    first = group[0]
    addresses = ", ".join(dict.fromkeys(_address(o) for o in group))
    where: Line = addresses
    if all(o.local_only for o in group):
        where = (addresses, Span(" (this pod only)", "dim"))
    ours = first.program in ("envoy", "pilot-agent", "ztunnel") or (
        first.user == it.description.injection.proxy_user and it.description.injection.proxy is not None
    )
    ports = ZTUNNEL_PORTS if first.program == "ztunnel" else PORTS
    usual = _usual_port(it, first.port)
    meaning = ports[usual].meaning if ours and usual in ports else ""
    if first.program == "envoy" and _opens_ports(it) and str(first.port) not in _OWN:
        meaning = "the proxy, for the services with this port"
    said = meaning or (f"declared by {declared[first.port]}" if first.port in declared else "not declared")
    return (str(first.port), first.program or f"user {first.user}", where, said)


def _usual_port(it: Evidence, port: int) -> str:
    """The number that the mesh's port has by default, where this pod's capture gives it another."""
    capture, usual = it.description.capture, Capture()
    if capture is not None:
        for field in ("outbound_port", "inbound_port", "tunnel_port"):
            if getattr(capture, field) == str(port):
                return str(getattr(usual, field))
    return str(port)


_OWN = frozenset(("15000", "15004", "15020", "15021", "15053", "15090"))


def _address(listener: Listener) -> str:
    return "all addresses" if listener.address in ("0.0.0.0", "::", "*") else listener.address


def _by_port(listeners: Sequence[Listener]) -> list[list[Listener]]:
    found: dict[int, list[Listener]] = {}
    for listener in listeners:
        found.setdefault(listener.port, []).append(listener)
    return list(found.values())


def _security(it: Evidence, standing: Standing) -> Iterator[Block]:
    if standing.security:
        yield Heading("What callers must bring")
        yield Text("Mutual TLS means that both proxies show certificates, so each knows who the other is.")
        rows: list[tuple[Line, ...]] = []
        for s in standing.security:
            caught = captured(it, s.port)
            said = s.words if caught else "what the policy asks for; but the port is not captured, so nobody checks it"
            by = str(s.decided_by) if s.decided_by else "the mesh's default"
            rows.append((str(s.port), Span(s.mode, "strong" if caught else "dim"), said, by))
        columns = (Column("port", right=True), Column("mode"), Column("meaning"), Column("decided by", keep=3))
        yield Table(columns, tuple(rows))
        if broken_rules(it):
            yield Note("The rules are not as they should be (MC301), so this may not be checked.", "warn")
    if standing.policies:
        yield Heading("Policies that apply")
        yield Facts(tuple((str(p.meta), p.words) for p in standing.policies))


def captured(it: Evidence, port: int) -> bool:
    """Whether connections to a port of the pod reach its proxy first, as far as the arguments tell."""
    capture = it.description.capture
    if _opens_ports(it):
        return False
    if capture is None:
        return True
    excluded = {p.strip() for p in capture.exclude_inbound_ports.split(",")}
    if capture.include_inbound_ports.strip() == "*":
        return str(port) not in excluded
    return str(port) in {p.strip() for p in capture.include_inbound_ports.split(",")}


def _opens_ports(it: Evidence) -> bool:
    """Whether nothing is captured, and the proxy opens the services' ports itself."""
    proxy = it.description.injection.proxy
    return proxy is not None and proxy.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE"


def broken_rules(it: Evidence) -> bool:
    """Whether the rules differ from what is asked for in a way that matters."""
    return any(f.id == "MC301" and f.severity != "info" for f in it.foreign)


def _routes(standing: Standing) -> Iterator[Block]:
    if standing.routes:
        yield Heading("Routes to its services")
        rows = tuple(map(_route_row, standing.routes))
        columns = (Column("from", keep=6), Column("route"), Column("when"), Column("to"), Column("share", right=True))
        yield Table((*columns, Column("to this pod")), rows)
        if not any(r.leads_here and r.share for r in standing.routes):
            yield Note("None of these routes leads to this pod: it gets no request through them.", "warn")
    if standing.subsets:
        yield Heading("Subsets of its services")
        subset_rows = tuple(
            (
                str(s.meta),
                Span(s.subset.name, "name"),
                ", ".join(f"{k}={v}" for k, v in s.subset.labels) or "all",
                "yes" if s.here else "no",
                str(s.pods),
            )
            for s in standing.subsets
        )
        titles = (Column("from", keep=3), Column("subset", keep=8), Column("labels"), Column("this pod"))
        yield Table((*titles, Column("pods", right=True)), subset_rows)
    if standing.rules:
        yield Heading("How callers connect to its services")
        yield Text(
            "A DestinationRule tells the callers' proxies how to connect; what it does not say, the mesh decides."
        )
        rows = tuple((str(r.meta), r.subset or "all", _policy_words(r.policy)) for r in standing.rules)
        yield Table((Column("from", keep=3), Column("subset"), Column("says")), rows)
    if standing.exposures:
        yield Heading("Reachable from outside")
        for e in standing.exposures:
            yield Note(_exposure_line(e), "info" if e.reach is None or e.reach.pods else "warn")


def _policy_words(policy: TrafficPolicy) -> str:
    said = [f"tls {policy.tls}"] if policy.tls else []
    said += [f"load balancing {policy.load_balancer}"] if policy.load_balancer else []
    said += [f"port {number}: tls {mode}" for number, mode in policy.ports]
    return ", ".join([*said, *policy.also]) or "nothing but the subsets"


def _exposure_line(e: Exposure) -> str:
    scheme = "https" if e.server.protocol in ("HTTPS", "TLS") else e.server.protocol.lower() or "tcp"
    hosts = ", ".join("any host" if h == "*" else f"{scheme}://{h}" for h in e.hosts)
    text = f"{hosts} through {e.gateway}, port {e.server.port} ({e.server.protocol}), by {e.by}"
    if not e.certain:
        text += ", if the gateway admits the route's namespace (its selector was not judged)"
    if e.reach is None:
        return text
    if not e.reach.pods:
        return f"{text}; but no pod of that gateway is here"
    where = ", ".join(e.reach.addresses)
    if e.reach.node_port:
        where += f"{' or ' if where else ''}port {e.reach.node_port} of each node"
    return f"{text}; at {where}" if where else f"{text}; its Service has no address outside of the cluster"


def _route_row(route: RouteHere) -> tuple[Line, ...]:
    words: dict[bool | None, Line] = {
        True: Span("yes", "good"),
        False: "no, to other pods",
        None: Span("unknown subset", "warn"),
    }
    to = f"{route.host} subset {route.subset}" if route.subset else route.host
    when = "; ".join((route.when, *route.also))
    return (str(route.meta), route.name, when, to, f"{route.share}%", words[route.leads_here])
