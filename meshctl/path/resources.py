"""Decisions from the mesh's resources alone, for proxies whose configuration was not recorded; all marked assumed.

What istiod makes of a VirtualService, DestinationRule, Sidecar and the policies is followed for the usual cases
(``pilot/pkg/networking/core``, 1.30); a match that is not modelled makes the decision undecided, never a guess.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from meshctl.envoy.match import Step
from meshctl.envoy.model import RetryPolicy
from meshctl.istio.destination_rule import DestinationRule, rule_for
from meshctl.istio.entries import ServiceEntry, Sidecar, imports, sidecar_for
from meshctl.istio.mesh import entry_for, virtual_services_for
from meshctl.istio.resource import exported, selects
from meshctl.istio.security import AuthorizationPolicy, PolicyRule, Term, authorization_for, peer_mode
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, StringMatch, VirtualService
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path.decision import NO_LISTENER, Decision, Injected, Option, Refusal
from meshctl.path.hosts import ANYWHERE, Host, Picked
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station
from meshctl.path.target import protocol_of
from meshctl.path.wire import Connection

DEFAULT_RETRY = RetryPolicy(
    on=("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"),
    attempts=2,
    host_predicates=("previous_hosts",),
)
"""Istio's retry policy where a VirtualService says nothing (``retry.DefaultPolicy``)."""

_HTTP = ("http", "http2", "grpc", "grpc-web")


_ROUTING = frozenset({"virtualservices", "destinationrules", "serviceentries", "sidecars"})
_POLICIES = frozenset({"peerauthentications", "authorizationpolicies", "requestauthentications"})


def outbound(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    request: Request,
) -> Decision:
    """What the sending proxy is likely to have been told."""
    return _with_unread(scene, _ROUTING, _outbound(scene, station, direction, address, port, request))


def _outbound(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    request: Request,
) -> Decision:
    namespace = station.pod.namespace
    host, service, entry = _host_of(scene, namespace, address, request)
    if direction == "gateway":
        return _at_gateway(scene, station, port, request)
    if not host:
        return _unknown_host(scene, station, address, port, request)
    entry_port = service.port(port) if service else None
    declared = protocol_of(entry_port) if service else _entry_protocol(entry, port)
    step = _step(
        "host", host, f"the mesh knows {host}", service.origin if service else entry.meta.origin if entry else None
    )
    if service is not None and entry_port is None:
        return replace(_unknown_host(scene, station, address, port, request), steps=(step,))
    home = service.namespace if service else entry.meta.namespace if entry else ""
    if (sidecar := _sidecar(scene, station)) is not None and not imports(sidecar, home, host):
        because = f"{sidecar.meta} does not tell this proxy of {host}"
        decided = _unknown_host(scene, station, address, port, request)
        return replace(decided, steps=(_step("host", host, because, sidecar.meta.origin), *decided.steps))
    if declared in _HTTP or (not declared and request.protocol != "tcp" and not request.tls):
        return _http(virtual_services_for(scene.mesh, host, namespace), station, host, port, request, step)
    return _tcp(virtual_services_for(scene.mesh, host, namespace), host, port, request, step)


def _host_of(
    scene: Scene, namespace: str, address: str, request: Request
) -> tuple[str, Service | None, ServiceEntry | None]:
    service = scene.services.at(address) if address else None
    if service is not None and service.kind != "ExternalName":
        return service.full_name, service, None
    name = request.host.rsplit(":", 1)[0] if request.host.count(":") == 1 else request.host
    parts = name.split(".")
    found = scene.services.named(parts[0], parts[1] if len(parts) > 1 else namespace)
    if found is not None and not _is_address(name):
        return found.full_name, found, None
    entry = entry_for(scene.mesh, name, namespace)
    for other in scene.mesh.service_entries:
        if entry is None and address and address in other.addresses:
            return other.hosts[0] if other.hosts else address, None, other
    return (name, None, entry) if entry else ("", None, None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _entry_protocol(entry: ServiceEntry | None, port: int) -> str:
    found = next((p for p in entry.ports if p.number == port), None) if entry else None
    return {"HTTP": "http", "HTTP2": "http2", "GRPC": "grpc", "HTTPS": "https", "TLS": "tls"}.get(
        found.protocol if found else "", "tcp"
    )


def _step(what: str, chosen: str, because: str, origin: object = None) -> Step:
    from meshctl.origin import Origin

    return Step(what, chosen, because, origin if isinstance(origin, Origin) else None)


def _sidecar(scene: Scene, station: Station) -> Sidecar | None:
    pod = station.pod
    return sidecar_for(scene.mesh.sidecars, pod.namespace, pod.labels, scene.mesh.config.root_namespace)


def _speaks_http(scene: Scene, station: Station, sidecar: Sidecar | None, port: int) -> bool:
    """Whether the proxy has an HTTP listener for all addresses on a port: a known host has that port for HTTP.

    Else the connection goes through as TCP (``buildSidecarOutboundListener`` in pilot/pkg/networking/core, 1.30).
    """
    if any(
        (found := service.port(port)) is not None
        and protocol_of(found) in _HTTP
        and (sidecar is None or imports(sidecar, service.namespace, service.full_name))
        for service in scene.services.services
    ):
        return True
    return any(
        p.number == port and p.protocol in ("HTTP", "HTTP2", "GRPC")
        for entry in scene.mesh.service_entries
        if exported(entry.export_to, entry.meta.namespace, station.pod.namespace)
        if sidecar is None or any(imports(sidecar, entry.meta.namespace, host) for host in entry.hosts)
        for p in entry.ports
    )


def _unknown_host(scene: Scene, station: Station, address: str, port: int, request: Request) -> Decision:
    """A destination that the mesh does not know: passed through, or refused with REGISTRY_ONLY."""
    sidecar = _sidecar(scene, station)
    mode = (sidecar.outbound_mode if sidecar else "") or scene.mesh.config.outbound_mode
    tcp = request.protocol == "tcp" or request.tls or not _speaks_http(scene, station, sidecar, port)
    if mode == "REGISTRY_ONLY":
        origin = sidecar.meta.origin if sidecar and sidecar.outbound_mode else None
        step = _step(
            "route", "block_all", "outboundTrafficPolicy is REGISTRY_ONLY and the mesh does not know it", origin
        )
        if tcp:
            return Decision(tcp=True, options=(Option("BlackHoleCluster", 1, 1.0),), steps=(step,), assumed=True)
        refusal = Refusal(502, "", "direct_response", step.because)
        return Decision(refusal=refusal, route="block_all", steps=(step,), assumed=True)
    step = _step(
        "route", "allow_any", f"the mesh does not know {address or request.host}:{port}, so it is passed through"
    )
    option = (Option("PassthroughCluster", 1, 1.0),)
    return Decision(
        tcp=tcp, options=option, route=None if tcp else "allow_any", steps=(step,), assumed=True, forwarded=request
    )


# --- HTTP ------------------------------------------------------------------------------------------------------------


def _http(
    services: list[VirtualService],
    station: Station,
    host: str,
    port: int,
    request: Request,
    step: Step,
    gateways: tuple[str, ...] = ("mesh",),
) -> Decision:
    for service in services:
        if not service.http:
            continue
        for rule in service.http:
            fits = _rule_fits(rule, request, port, station, gateways)
            if fits is None:
                reason = f"{service.meta}: a match of {rule.path} is not modelled without the proxy's configuration"
                return Decision(undecided=(reason,), steps=(step,), assumed=True)
            if fits:
                return _of_rule(service, rule, port, request, step)
        because = f"no rule of {service.meta} fits {request.method} {request.path}"
        refusal = Refusal(404, "NR", "route_not_found", because)
        return Decision(refusal=refusal, steps=(step, _step("route", "", because, service.meta.origin)), assumed=True)
    cluster = f"outbound|{port}||{host}"
    return Decision(
        options=(Option(cluster, 1, 1.0),),
        route="default",
        retry=DEFAULT_RETRY,
        forwarded=request,
        steps=(step, _step("route", "default", "no VirtualService is about this host")),
        assumed=True,
    )


def _of_rule(service: VirtualService, rule: HttpRule, port: int, request: Request, step: Step) -> Decision:
    chosen = _step("route", rule.name, f"{service.meta} {rule.path}", service.meta.origin)
    base = Decision(route=rule.name or None, steps=(step, chosen), assumed=True, forwarded=_rewritten(rule, request))
    if rule.redirect_code is not None:
        return replace(base, refusal=Refusal(rule.redirect_code, "", "direct_response", f"{service.meta} redirects"))
    if rule.direct_status is not None:
        return replace(
            base, refusal=Refusal(rule.direct_status, "", "direct_response", f"{service.meta} answers itself")
        )
    retry = DEFAULT_RETRY if rule.attempts is None else None
    if rule.attempts:
        on = tuple(rule.retry_on.split(",")) if rule.retry_on else DEFAULT_RETRY.on
        retry = RetryPolicy(on=on, attempts=rule.attempts, host_predicates=("previous_hosts",))
    return replace(
        base,
        options=tuple(_options(rule.destinations, port)),
        injected=tuple(_faults(rule)),
        retry=retry,
        timeout_s=_seconds(rule.timeout),
        mirrors=tuple(f"{_cluster(m, port)} {m.weight}%" for m in rule.mirrors),
    )


def _options(destinations: tuple[Destination, ...], port: int) -> Iterator[Option]:
    total = sum(d.weight for d in destinations)
    for destination in destinations:
        weight = destination.weight if total else 1
        share = weight / (total or len(destinations))
        if share > 0:
            yield Option(_cluster(destination, port), weight, share)


def _cluster(destination: Destination, port: int) -> str:
    return f"outbound|{destination.port or port}|{destination.subset}|{destination.host}"


def _faults(rule: HttpRule) -> Iterator[Injected]:
    fault = rule.fault
    if fault is None:
        return
    if fault.delay_percent > 0 and fault.delay:
        why = f"the VirtualService delays by {fault.delay}"
        yield Injected(fault.delay_percent / 100, None, "DI", _seconds(fault.delay), why)
    if fault.abort_percent > 0 and fault.abort_status:
        why = f"the VirtualService aborts with {fault.abort_status}"
        yield Injected(fault.abort_percent / 100, fault.abort_status, "FI", None, why)


def _seconds(text: str) -> float | None:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit in ("ms", "s", "m", "h"):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * units[unit]
            except ValueError:
                continue
    return None


def _rewritten(rule: HttpRule, request: Request) -> Request:
    if not rule.rewrite:
        return request
    path, mark, query = request.path.partition("?")
    prefix = next(
        (m.uri.value for m in rule.matches if m.uri and m.uri.how == "prefix" and path.startswith(m.uri.value)), ""
    )
    exact = any(m.uri and m.uri.how == "exact" and m.uri.value == path for m in rule.matches)
    changed = rule.rewrite if exact or not prefix else rule.rewrite + path[len(prefix) :]
    return replace(request, path=f"{changed}{mark}{query}")


def _rule_fits(rule: HttpRule, request: Request, port: int, station: Station, gateways: tuple[str, ...]) -> bool | None:
    verdicts = [_match_fits(match, request, port, station, gateways) for match in rule.matches]
    if not verdicts or any(verdicts):
        return True
    return None if None in verdicts else False


def _match_fits(
    match: HttpMatch, request: Request, port: int, station: Station, gateways: tuple[str, ...]
) -> bool | None:
    headers = {name.lower(): value for name, value in request.headers}
    path, _, query = request.path.partition("?")
    asked = dict(part.partition("=")[::2] for part in query.split("&") if part)
    tests: list[bool | None] = [
        match.uri is None or _holds(match.uri, path),
        match.method is None or _holds(match.method, request.method),
        match.authority is None or _holds(match.authority, request.host),
        match.scheme is None or _holds(match.scheme, "https" if request.tls else "http"),
        match.port is None or match.port == port,
        not match.source_namespace or match.source_namespace == station.pod.namespace,
        selects(match.source_labels, station.pod.labels),
        not match.gateways or any(gateway in gateways for gateway in match.gateways),
        *(_holds(wanted, headers.get(name)) for name, wanted in match.headers),
        *(_not(_holds(wanted, headers.get(name))) for name, wanted in match.without_headers),
        *(_holds(wanted, asked.get(name)) for name, wanted in match.query),
        None if match.other else True,
    ]
    if any(test is False for test in tests):
        return False
    return None if None in tests else True


def _not(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


def _holds(wanted: StringMatch, value: str | None) -> bool | None:
    if value is None:
        return False
    left, right = (value.lower(), wanted.value.lower()) if wanted.ignore_case else (value, wanted.value)
    match wanted.how:
        case "present":
            return True
        case "exact":
            return left == right
        case "prefix":
            return left.startswith(right)
        case "regex":
            return _regex(wanted.value, value, wanted.ignore_case)


def _regex(pattern: str, value: str, ignore_case: bool) -> bool | None:
    import re2

    try:
        return re2.fullmatch(f"(?i){pattern}" if ignore_case else pattern, value) is not None
    except re2.error:
        return None


# --- TCP, gateways ---------------------------------------------------------------------------------------------------


def _tcp(services: list[VirtualService], host: str, port: int, request: Request, step: Step) -> Decision:
    sni = request.host.rsplit(":", 1)[0] if request.host.count(":") == 1 else request.host
    for service in services:
        for rule in (*service.tls, *service.tcp):
            if (rule.ports and port not in rule.ports) or (rule.sni and sni not in rule.sni):
                continue
            chosen = _step("route", "", f"{service.meta} {rule.path}", service.meta.origin)
            options = tuple(_options(rule.destinations, port))
            return Decision(tcp=True, options=options, steps=(step, chosen), assumed=True, forwarded=request)
    options = (Option(f"outbound|{port}||{host}", 1, 1.0),)
    return Decision(tcp=True, options=options, steps=(step,), assumed=True, forwarded=request)


def _at_gateway(scene: Scene, station: Station, port: int, request: Request) -> Decision:
    host = request.host.rsplit(":", 1)[0] if request.host.count(":") == 1 else request.host
    named = [
        (gateway, server)
        for gateway in scene.mesh.gateways
        if selects(gateway.selector, station.pod.labels)
        for server in gateway.servers
        if _server_port(scene, station, server.port, port)
    ]
    if not named:
        why = f"no Gateway opens port {port} on {station.pod.name}"
        return Decision(
            refusal=Refusal(None, "", NO_LISTENER, why, "connection"), steps=(_step("listener", "", why),), assumed=True
        )
    keys = tuple(f"{g.meta.namespace}/{g.meta.name}" for g, _ in named)
    services = [s for key in keys for s in virtual_services_for(scene.mesh, host, station.pod.namespace, key)]
    step = _step("listener", keys[0], f"{named[0][0].meta} opens port {port}", named[0][0].meta.origin)
    if not services:
        because = f"no VirtualService of {', '.join(keys)} is about host {host}"
        return Decision(refusal=Refusal(404, "NR", "route_not_found", because), steps=(step,), assumed=True)
    return _http(services, station, host, port, request, step, (*keys, *(key.partition("/")[2] for key in keys)))


def _server_port(scene: Scene, station: Station, written: int, port: int) -> bool:
    if written == port:
        return True
    for service in scene.services.services:
        if service.namespace == station.pod.namespace and service.selects(station.pod.labels):
            for entry in service.ports:
                if entry.number == written and entry.target == str(port):
                    return True
    return False


# --- hosts and wire --------------------------------------------------------------------------------------------------


def hosts(scene: Scene, station: Station, cluster: str, address: str, port: int) -> Picked:
    """The hosts of a cluster by Istio's name for it, from EndpointSlices and ServiceEntries."""
    if cluster == "PassthroughCluster":
        if address in ("", ANYWHERE):
            return Picked(undecided="the address that the name resolves to is not recorded")
        pod = scene.pod_at(address)
        one = Host(address=address, port=port, pod=_key(pod), health="not checked", probability=1.0)
        return Picked(all=(one,), chosen=(one,), policy="the connection's original destination")
    if cluster == "BlackHoleCluster":
        return Picked(why="BlackHoleCluster has no endpoints on purpose: this destination is not allowed")
    _, number, subset, host = cluster.split("|", 3)
    rule = _destination_rule(scene, station, host)
    if subset and (rule is None or rule.subset(subset) is None):
        return Picked(why=f"no DestinationRule defines subset {subset} of {host}", flag="NC")
    labels = found.labels if rule and subset and (found := rule.subset(subset)) else ()
    parts = host.split(".")
    service = scene.services.named(parts[0], parts[1] if len(parts) > 1 else station.pod.namespace)
    if service is None or not host.startswith(f"{service.name}.{service.namespace}"):
        return _entry_hosts(scene, station, host, int(number))
    entry = service.port(int(number))
    found_hosts = [
        Host(address=e.address, port=target, pod=e.pod, health="healthy" if e.ready else "not ready")
        for e in scene.services.endpoints(service)
        if entry is not None and (target := e.port(entry.name)) is not None and _has_labels(scene, e.pod, labels)
    ]
    if not found_hosts and scene.endpoints_gap:
        return Picked(undecided=f"the endpoints of {host} are not known: {scene.endpoints_gap}")
    good = [h for h in found_hosts if h.health == "healthy"]
    chosen = tuple(replace(h, probability=1 / len(good)) for h in good)
    why = "" if chosen else f"{host} has no ready endpoints{f' with the labels of subset {subset}' if subset else ''}"
    return Picked(all=tuple(found_hosts), chosen=chosen, why=why, policy="the EndpointSlices")


def _key(pod: Pod | None) -> str:
    return f"{pod.namespace}/{pod.name}" if pod is not None else ""


def _has_labels(scene: Scene, key: str, labels: tuple[tuple[str, str], ...]) -> bool:
    pod = scene.pod_named(key)
    return not labels or (pod is not None and selects(labels, pod.labels))


def _entry_hosts(scene: Scene, station: Station, host: str, port: int) -> Picked:
    entry = entry_for(scene.mesh, host, station.pod.namespace)
    if entry is None:
        return Picked(why=f"the mesh does not know {host}")
    target = next((p.target for p in entry.ports if p.number == port), port)
    if entry.resolution == "STATIC" and entry.endpoints:
        found = [Host(address=e.address, port=target, pod="", health="healthy") for e in entry.endpoints]
        share = 1 / len(found)
        return Picked(all=tuple(found), chosen=tuple(replace(h, probability=share) for h in found), policy="STATIC")
    return Picked(undecided=f"what {host} resolves to is not recorded", through_server=False)


def _destination_rule(scene: Scene, station: Station, host: str) -> DestinationRule | None:
    parts = host.split(".")
    home = parts[1] if len(parts) > 2 and parts[2] == "svc" else station.pod.namespace
    return rule_for(scene.mesh.destination_rules, host, station.pod.namespace, home, scene.mesh.config.root_namespace)


def opened(scene: Scene, station: Station, cluster: str, host: Host, request: Request, depth: int) -> Connection:
    """The connection that the sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""
    layer: Literal["plaintext", "tls", "mtls"] = "tls" if request.tls else "plaintext"
    sni = ""
    if cluster.count("|") == 3:
        _, number, subset, name = cluster.split("|")
        rule = _destination_rule(scene, station, name)
        part = rule.subset(subset) if rule and subset else None
        asked = (part.policy.tls_on(int(number)) if part and part.policy else "") or (
            rule.policy.tls_on(int(number)) if rule else ""
        )
        mutual = asked == "ISTIO_MUTUAL" or (not asked and scene.mesh.config.auto_mtls and _takes_mtls(scene, host))
        if mutual:
            layer, sni = "mtls", f"outbound_.{number}_.{subset}_.{name}"
        elif asked in ("SIMPLE", "MUTUAL"):
            layer = "tls"
    return Connection(
        source=station.pod.ip or None,
        sender=station,
        layer=layer,
        request=request,
        sni=sni,
        alpn=("istio",) if layer == "mtls" else (),
        principal=scene.principal(station) if layer == "mtls" else None,
        by_proxy=True,
        depth=depth,
    )


def _takes_mtls(scene: Scene, host: Host) -> bool:
    pod = scene.pod_named(host.pod)
    if pod is None or pod.labels.get("security.istio.io/tlsMode") != "istio":
        return False
    root = scene.mesh.config.root_namespace
    return peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, host.port, root).mode != "DISABLE"


# --- the callee's proxy ----------------------------------------------------------------------------------------------


def inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    """What the callee's proxy is likely to do: PeerAuthentication, then AuthorizationPolicy."""
    return _with_unread(scene, _POLICIES, _inbound(scene, station, port, conn))


def _with_unread(scene: Scene, kinds: frozenset[str], decision: Decision) -> Decision:
    """A decision that rests on resources which could not be read is none."""
    unread = ", ".join(sorted(scene.unread & kinds))
    if not unread:
        return decision
    return replace(decision, undecided=(*decision.undecided, f"{unread} could not be read, and may decide otherwise"))


def _inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    pod, mesh = station.pod, scene.mesh
    mode = peer_mode(mesh.peer_authentications, pod.namespace, pod.labels, port, mesh.config.root_namespace)
    said = f"{mode.mode} by {mode.decided_by}" if mode.decided_by else "PERMISSIVE by default"
    step = _step(
        "filter chain", mode.mode, f"mutual TLS is {said}", mode.decided_by.origin if mode.decided_by else None
    )
    if mode.mode == "STRICT" and conn.layer != "mtls":
        why = f"the callee accepts mutual TLS only ({said}), and this comes without"
        return Decision(
            refusal=Refusal(None, "NR", "filter_chain_not_found", why, "connection"), steps=(step,), assumed=True
        )
    tcp = conn.request.protocol == "tcp"
    policies = authorization_for(mesh.authorization_policies, pod.namespace, pod.labels, mesh.config.root_namespace)
    cluster = (Option(f"inbound|{port}||", 1, 1.0),)
    base = Decision(
        tcp=tcp, options=cluster, route=None if tcp else "default", retry=DEFAULT_RETRY, steps=(step,), assumed=True
    )
    if any(
        r
        for r in mesh.request_authentications
        if r.meta.namespace in (pod.namespace, mesh.config.root_namespace) and selects(r.selector, pod.labels)
    ) and any(name == "authorization" for name, _ in conn.request.headers):
        return replace(base, undecided=("a RequestAuthentication checks the token: not modelled without the proxy",))
    return _authorized(base, policies, conn, port, tcp)


def _authorized(
    base: Decision, policies: tuple[AuthorizationPolicy, ...], conn: Connection, port: int, tcp: bool
) -> Decision:
    verdict, why = allows(policies, conn, port)
    if verdict is None:
        return replace(base, undecided=(why,))
    if verdict:
        return base
    about = next((p.meta for p in policies if str(p.meta) in why), None)
    step = _step("policy", str(about or ""), why, about.origin if about else None)
    refusal = Refusal(None if tcp else 403, "", "rbac_access_denied", why, "connection" if tcp else "filter")
    return replace(base, refusal=refusal, steps=(*base.steps, step))


def allows(policies: tuple[AuthorizationPolicy, ...], conn: Connection, port: int) -> tuple[bool | None, str]:
    """What the AuthorizationPolicies of a workload say: CUSTOM first, then DENY, then ALLOW (Istio's order)."""
    if any(policy.action == "CUSTOM" for policy in policies):
        return None, "an AuthorizationPolicy with action CUSTOM asks an external service"
    denied = [(p, rule, _policy_fits(rule, conn, port)) for p in policies if p.action == "DENY" for rule in p.rules]
    allowed = [(p, rule, _policy_fits(rule, conn, port)) for p in policies if p.action == "ALLOW" for rule in p.rules]
    for policy, rule, fits in denied:
        if fits:
            return False, f"{policy.meta} denies it ({rule.path})"
    for policy, _, fits in denied:
        if fits is None:
            return None, f"{policy.meta} cannot be judged without the proxy's configuration"
    wants_allow = [p for p in policies if p.action == "ALLOW"]
    if not wants_allow:
        return True, "no ALLOW policy is about it"
    for policy, rule, fits in allowed:
        if fits:
            return True, f"{policy.meta} allows it ({rule.path})"
    for policy, _, fits in allowed:
        if fits is None:
            return None, f"{policy.meta} cannot be judged without the proxy's configuration"
    return False, f"no rule of {', '.join(str(p.meta) for p in wants_allow)} allows it"


def _policy_fits(rule: PolicyRule, conn: Connection, port: int) -> bool | None:
    facts = _facts(conn, port)
    parts = [
        _any(_all(_term(t, facts) for t in terms) for terms in rule.sources),
        _any(_all(_term(t, facts) for t in terms) for terms in rule.operations),
        _all(_term(t, facts) for t in rule.conditions),
    ]
    return _all(parts)


def _any(verdicts: Iterator[bool | None]) -> bool | None:
    found = list(verdicts)
    if not found or any(found):
        return True
    return None if None in found else False


def _all(verdicts: Iterator[bool | None] | list[bool | None]) -> bool | None:
    found = list(verdicts)
    if any(verdict is False for verdict in found):
        return False
    return None if None in found else True


def _facts(conn: Connection, port: int) -> Mapping[str, str | None]:
    request = conn.request
    principal = conn.principal.removeprefix("spiffe://") if conn.principal else ""
    namespace = principal.split("/")[2] if principal.count("/") >= 4 else ""
    facts: dict[str, str | None] = {
        "principals": principal,
        "source.principal": principal,
        "namespaces": namespace,
        "source.namespace": namespace,
        "ports": str(port),
        "destination.port": str(port),
        "ipBlocks": conn.source,
        "source.ip": conn.source,
        "connection.sni": conn.sni,
    }
    if request.protocol != "tcp":
        facts |= {"methods": request.method, "paths": request.path.partition("?")[0], "hosts": request.host}
        facts |= {f"request.headers[{name}]": value for name, value in request.headers}
    else:
        facts |= {"methods": None, "paths": None, "hosts": None}
    return facts


def _term(term: Term, facts: Mapping[str, str | None]) -> bool | None:
    if term.field not in facts:
        if term.field.startswith("request.headers["):
            return term.negated
        return None
    value = facts[term.field]
    if value is None:
        return False if term.field in ("methods", "paths", "hosts") else None
    fits = any(_value(term.field, pattern, value) for pattern in term.values)
    return fits is not term.negated


def _value(field: str, pattern: str, value: str) -> bool:
    if field in ("ipBlocks", "source.ip"):
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    if field == "hosts":
        pattern, value = pattern.lower(), value.lower()
    if pattern == "*":
        return bool(value)
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern
