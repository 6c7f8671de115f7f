"""What RequestAuthentications and AuthorizationPolicies do at a gateway whose configuration was not recorded.

Both come before the route: a request that they refuse meets no 404 and no redirect (Envoy's filters before its router).
"""

from dataclasses import replace

from meshctl.istio.security import authorization_for
from meshctl.path import policies
from meshctl.path.assumed import step
from meshctl.path.decision import Decision, Refusal
from meshctl.path.request_tokens import Told, judged
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection

KINDS = frozenset({"authorizationpolicies", "requestauthentications"})


def guarded(scene: Scene, station: Station, port: int, conn: Connection, decision: Decision) -> Decision:
    """The decision about a connection that reached a gateway's filters, after its policies; `port` is the pod's."""
    token = Told("none") if decision.tcp else judged(scene, station, conn.request)
    if token.verdict == "bad":
        why = f"a RequestAuthentication refuses the token: {token.why}"
        details = f"jwt_authn_access_denied{{{token.why.replace(' ', '_')}}}"
        return _refused(decision, Refusal(token.status, "", details, why, "filter", "policy"))
    if token.verdict == "unclear":
        return _open(decision, f"a RequestAuthentication checks the token: {token.why}")
    root, pod = scene.mesh.config.root_namespace, station.pod
    found = authorization_for(scene.mesh.authorization_policies, pod.namespace, pod.labels, root)
    allowed, why = policies.allows(
        found,
        conn,
        port,
        tcp=decision.tcp,
        bearer=token.principal,
        domains=scene.mesh.config.trust_domains,
        address=station.pod.ip if len(station.pod.ips) <= 1 else None,
    )
    if allowed is None:
        return _open(decision, why)
    if allowed:
        return decision
    about = next((p.meta for p in found if str(p.meta) in why), None)
    kind, status = ("connection", None) if decision.tcp else ("filter", 403)
    refusal = Refusal(status, "", "rbac_access_denied", why, kind, "policy")  # type: ignore[arg-type]
    return _refused(decision, refusal, str(about or ""), about.origin if about else None)


def _refused(decision: Decision, refusal: Refusal, chosen: str = "", origin: object = None) -> Decision:
    said = (*decision.steps[:1], step("policy", chosen, refusal.why, origin))
    return Decision(tcp=decision.tcp, refusal=refusal, steps=said, assumed=True)


def _open(decision: Decision, why: str) -> Decision:
    return replace(decision, refusal=None, undecided=(why, *decision.undecided))


def as_seen(scene: Scene, station: Station, conn: Connection) -> Connection:
    """A connection as a gateway's filters see it: the client is who opened it, and X-Forwarded-For ends with that.

    Where proxies before it are believed, or speak the PROXY protocol, the client is not known here.
    Source: ``createGatewayHTTPFilterChainOpts`` (``use_remote_address``), 1.30.
    """
    own = station.pod.annotations.get("proxy.istio.io/config", "")
    told_by_others = scene.mesh.config.trusted_proxies > 0 or "numTrustedProxies" in own or "proxyProtocol" in own
    if conn.source is None or told_by_others:
        return replace(conn, request=replace(conn.request, unsure=(*conn.request.unsure, "x-forwarded-for")))
    told = [value for name, value in conn.request.headers if name.lower() == "x-forwarded-for"]
    others = tuple(pair for pair in conn.request.headers if pair[0].lower() != "x-forwarded-for")
    header = ("x-forwarded-for", ",".join((*told, conn.source)))
    return replace(conn, request=replace(conn.request, headers=(*others, header)))
