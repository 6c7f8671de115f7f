"""What a gateway was told, from Gateways and VirtualServices alone, where its configuration was not recorded.

Followed is ``pilot/pkg/networking/core/gateway.go`` (1.30): servers by port, filter chains by the name in TLS, the
policies, then the VirtualServices that name the Gateway. What a client shows in its handshake beyond the name is not
known here.
"""

from dataclasses import replace

from meshctl.envoy.match import Step
from meshctl.istio.resource import host_fits
from meshctl.istio.virtual_service import L4Rule, VirtualService
from meshctl.kube import ingresses
from meshctl.path import gateway_passthrough, retries, route_rules, unrecorded
from meshctl.path.assumed import REFUSED_PATH, normalised, only_port, step, unparsed, with_doubts
from meshctl.path.decision import NO_LISTENER, Decision, Refusal
from meshctl.path.gateway_chains import Chain, fitting, of_servers, plain_tcp
from meshctl.path.gateway_hosts import routes_of
from meshctl.path.gateway_policies import KINDS, as_seen, guarded
from meshctl.path.gateway_servers import Served, on_port
from meshctl.path.hosts import ANYWHERE, is_address
from meshctl.path.model import Request
from meshctl.path.netns import listens
from meshctl.path.resources import OWN_LISTENERS
from meshctl.path.rule_fits import Setting, each_value
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection, bare

_TOLD = frozenset({"gateways", "virtualservices", "destinationrules", "serviceentries"}) | KINDS


def decide(scene: Scene, station: Station, port: int, conn: Connection, address: str = "") -> Decision:
    """What a gateway does with a connection to one of its ports, at an address of its pod."""
    decided = with_doubts(scene, station, _TOLD, "GATEWAY", port, _decide(scene, station, port, conn, address))
    by_ingress = _by_ingress(scene, station, bare(conn.request.host) or conn.sni)
    return replace(decided, undecided=(*decided.undecided, by_ingress)) if by_ingress else decided


def _by_ingress(scene: Scene, station: Station, host: str) -> str:
    """That an Ingress has rules for a host, which istiod adds to those of the Gateways; empty where none has."""
    told = scene.settings(station).ingresses
    if station.pod.labels.get("istio") != told.selector or told.mode == "OFF":
        return ""
    listed = scene.ingresses()
    if listed is None:
        return "ingresses could not be read, and may decide otherwise"
    name = next(ingresses.about(listed, told.class_name, host, unclassed=told.mode == "DEFAULT"), "")
    return f"Ingress {name} has rules for this host, not modelled without the gateway's configuration" if name else ""


def _decide(scene: Scene, station: Station, port: int, conn: Connection, address: str) -> Decision:
    found = on_port(scene, station, port, address)
    served = found.served
    if found.undecided:
        return Decision(undecided=(found.undecided,), assumed=True)
    if not served:
        why = found.closed or f"no Gateway opens port {port} on {station.pod.name}"
        own = "its proxy has a listener of its own there" if port in OWN_LISTENERS else ""
        if other := own or unrecorded.of_mesh(scene) or _listening(station, port, address):
            return Decision(undecided=(f"{why}, but {other}",), assumed=True)
        return _refused(Refusal(None, "", NO_LISTENER, why, "connection"), "", why)
    first = str(served[0].gateway.meta)
    if served[0].secure:
        return _with_tls(scene, station, port, conn, served)
    if not served[0].speaks_http:
        chain = plain_tcp(scene, station, served[0])
        return _tcp(scene, station, port, conn, chain, served[0])
    if conn.layer != "plaintext":
        why = f"port {port} of the gateway takes plain HTTP, and this is TLS"
        return _refused(Refusal(None, "DPE", "", why, "connection"), first, why)
    return _http(scene, station, port, conn, served)


def _listening(station: Station, port: int, address: str) -> str:
    """That a proxy has a listener that no Gateway asks for; empty where its sockets do not say so."""
    at = address if is_address(address) and address not in ANYWHERE else station.pod.ip
    found = listens(station.sockets, at, port) if station.sockets is not None else None
    return "its proxy listens there" if found is not None and found.program in ("envoy", "") else ""


def _refused(refusal: Refusal, chosen: str, why: str) -> Decision:
    return Decision(refusal=refusal, steps=(step("listener", chosen, why),) if why else (), assumed=True)


# --- TLS -------------------------------------------------------------------------------------------------------------


def _with_tls(scene: Scene, station: Station, port: int, conn: Connection, served: tuple[Served, ...]) -> Decision:
    meta = str(served[0].gateway.meta)
    if conn.layer == "plaintext":
        why = f"port {port} of the gateway takes TLS only ({meta}), and this is plain text"
        return _refused(_no_chain(why), meta, why)
    sni = conn.sni.lower()
    automatic = gateway_passthrough.chain_for(scene, station, served, sni)
    if automatic is not None:
        return _automatic(port, conn, automatic)
    found = fitting(of_servers(scene, station, served), sni)
    if not found:
        why = f"no server of the gateway's port {port} has the name {sni or '(none: the client sends no name)'}"
        if any(one.server.tls == "AUTO_PASSTHROUGH" for one in served):
            why = f"{why}; {meta} passes on what is sent to the clusters of the mesh only (AUTO_PASSTHROUGH)"
        if elsewhere := unrecorded.of_mesh(scene):
            return Decision(undecided=(f"{why}, but {elsewhere}",), assumed=True)
        return _refused(_no_chain(why), "", why)
    chain = found[0]
    if len(found) > 1:
        others = ", ".join(dict.fromkeys(str(one.served.gateway.meta) for one in found))
        why = f"several filter chains are for the name {sni} ({others}): a proxy takes no listener with such"
        return Decision(undecided=(why,), assumed=True)
    if chain.passes_on:
        return _tcp(scene, station, port, conn, chain, chain.served)
    ended = _ends(conn, chain, port)
    if ended is not None:
        return ended
    inner = replace(conn, layer="plaintext", request=_inside(conn))
    if chain.rule is not None:
        decision = _tcp(scene, station, port, inner, chain, chain.served)
    else:
        decision = _http(scene, station, port, inner, (chain.served,), secure=True)
    sent = decision.forwarded or inner.request
    return replace(decision, forwarded=sent, terminated=True)


def _automatic(port: int, conn: Connection, found: gateway_passthrough.Automatic) -> Decision:
    """A connection by the name of a cluster: the mesh's own TLS is passed on to that, and no other (by its ALPN)."""
    meta = found.served.gateway.meta
    if found.unknown:
        return Decision(undecided=(found.unknown,), assumed=True)
    if conn.layer == "mtls":
        why = f"{meta} passes the sender's mutual TLS on to {found.cluster}: where that ends is not modelled"
        return Decision(undecided=(why,), assumed=True)
    why = f"{meta} passes on the mesh's mutual TLS only on port {port} (AUTO_PASSTHROUGH), and this is other TLS"
    return _refused(_no_chain(why), str(meta), why)


def _no_chain(why: str) -> Refusal:
    return Refusal(None, "NR", "filter_chain_not_found", why, "connection", "no-route")


def _inside(conn: Connection) -> Request:
    """What is inside the TLS that the gateway ends: of the application's own nothing is left, in a proxy's it stays."""
    return conn.request if conn.layer == "mtls" else replace(conn.request, tls=False)


def _ends(conn: Connection, chain: Chain, port: int) -> Decision | None:
    """Why the gateway does not end the sender's TLS, or that this cannot be told; None where it does."""
    meta, mode = chain.served.gateway.meta, chain.served.server.tls
    match mode:
        case "SIMPLE" | "OPTIONAL_MUTUAL" if conn.layer == "tls":
            return None
        case "SIMPLE" | "OPTIONAL_MUTUAL":
            why = f"the sender asks for a certificate of the mesh: whether {meta} shows one on port {port} is not known"
        case "ISTIO_MUTUAL" if conn.layer == "mtls":
            return None
        case "ISTIO_MUTUAL" | "MUTUAL" if conn.layer == "tls" and conn.tls is not None and conn.tls.certificates:
            shown = ", ".join(conn.tls.certificates)
            why = f"{meta} asks for a certificate on port {port}: whether it trusts who signed {shown} is not recorded"
        case "ISTIO_MUTUAL" if conn.layer == "tls":
            why = f"{meta} takes the mesh's mutual TLS only on port {port}"
            why += ", and this TLS shows no certificate of the mesh"
            return _refused(Refusal(None, "", "", why, "handshake", "strict", late=True), str(meta), why)
        case "MUTUAL" if conn.layer == "tls":
            why = f"{meta} asks for a certificate of the client on port {port} (MUTUAL), and this TLS shows none"
            return _refused(Refusal(None, "", "", why, "handshake", late=True), str(meta), why)
        case "MUTUAL":
            why = f"{meta} asks for a certificate on port {port}: whether it trusts who signed the mesh's is not known"
        case _:
            why = f"{meta} has TLS mode {mode} on port {port}: what it asks of its clients is not known"
    return Decision(undecided=(why,), assumed=True)


# --- rules -----------------------------------------------------------------------------------------------------------


def _http(
    scene: Scene, station: Station, port: int, conn: Connection, served: tuple[Served, ...], *, secure: bool = False
) -> Decision:
    gateway = served[0].gateway
    if conn.request.protocol == "tcp" or conn.request.tls:
        return _refused(Refusal(400, "DPE", "", "bytes that are no HTTP reach an HTTP port of the gateway"), "", "")
    if (refusal := unparsed(conn.request)) is not None:
        return _refused(refusal, str(gateway.meta), refusal.why)
    request = normalised(scene, station, conn.request)
    if request is None:
        return Decision(refusal=Refusal(400, "", "path_normalization_failed", REFUSED_PATH), assumed=True)
    conn = as_seen(scene, station, replace(conn, request=request))
    request = conn.request
    host = bare(request.host).lower()
    found = routes_of(scene, station, served, host)
    shown = ", ".join(found.shown)
    said = step("listener", shown, f"{gateway.meta} opens port {port}", gateway.meta.origin)
    if found.redirects and not secure:
        why = f"{found.redirects} sends plain HTTP on to https"
        decision = Decision(refusal=Refusal(301, "", "direct_response", why), steps=(said,), assumed=True)
    elif not found.services:
        elsewhere = unrecorded.of_mesh(scene, lambda name: _may_have(served, name, host))
        decision = _no_host(f"no VirtualService of {shown} is about host {host}", elsewhere, said)
    else:
        retrying = retries.of_mesh(scene.settings(station), station.version)
        each, pod = each_value(station.version), station.pod
        setting = Setting(found.port, pod.namespace, pod.labels, (), retrying=retrying, each_value=each)
        decision = route_rules.http(found.services, (), setting, request, said, only_port(scene))
    return guarded(scene, station, port, conn, decision)


def _may_have(served: tuple[Served, ...], namespace: str, host: str) -> bool:
    """Whether a VirtualService of a namespace could have rules for a host on one of the servers."""
    return any(host_fits(pattern, host) for one in served for pattern in one.hosts_for(namespace))


def _no_host(because: str, elsewhere: str, said: Step) -> Decision:
    if elsewhere:
        return Decision(undecided=(f"{because}, but {elsewhere}",), steps=(said,), assumed=True)
    refusal = Refusal(404, "NR", "route_not_found", because, cause="no-route")
    return Decision(refusal=refusal, steps=(said,), assumed=True)


def _tcp(scene: Scene, station: Station, port: int, conn: Connection, chain: Chain | None, served: Served) -> Decision:
    """A connection whose bytes go on as they are, by the rule that made the filter chain."""
    gateway, key = served.gateway, served.gateway.shown
    if chain is None or chain.rule is None:
        why = f"no VirtualService of {key} has a route for the connection"
        if elsewhere := unrecorded.of_mesh(scene):
            return Decision(undecided=(f"{why}, but {elsewhere}",), assumed=True)
        return _refused(_no_chain(why), key, why)
    if conn.layer == "mtls":
        why = f"{gateway.meta} passes the sender's mutual TLS on as it is: where that ends is not modelled"
        return Decision(undecided=(why,), assumed=True)
    said = step("listener", key, f"{gateway.meta} opens port {port}", gateway.meta.origin)
    setting = Setting(served.server.port, station.pod.namespace, station.pod.labels, (key,))
    request = replace(conn.request, tls=True) if conn.layer == "tls" else conn.request
    found = route_rules.tcp((_alone(*chain.rule),), setting, request, said, only_port(scene))
    assert found is not None  # a rule without a match fits
    return guarded(scene, station, port, replace(conn, principal=None if chain.passes_on else conn.principal), found)


def _alone(service: VirtualService, rule: L4Rule) -> VirtualService:
    """A VirtualService with one rule, which fits whatever its filter chain takes."""
    return replace(service, http=(), tls=(), tcp=(replace(rule, matches=()),))
