"""What the callee's proxy does, from the mesh's resources alone, where its configuration was not recorded.

PeerAuthentication first, then AuthorizationPolicy in Istio's order (``pilot/pkg/security/authz``, 1.30).
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from meshctl.envoy import headers
from meshctl.istio.entries import Ingress
from meshctl.istio.security import AuthorizationPolicy, PolicyRule, Term, authorization_for, peer_mode
from meshctl.path import registry, retries
from meshctl.path.assumed import REFUSED_PATH, normalised, step, unparsed, with_unread
from meshctl.path.decision import Decision, Option, Refusal
from meshctl.path.hosts import is_address
from meshctl.path.registry import Speaks
from meshctl.path.request_tokens import Told, judged
from meshctl.path.scene import Scene, Station
from meshctl.path.target import protocol_of
from meshctl.path.wire import Connection

_Facts: TypeAlias = Mapping[str, str | None]

_POLICIES = frozenset({"peerauthentications", "authorizationpolicies", "requestauthentications"})


def inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    """What the callee's proxy is likely to do with a connection to a port of its pod."""
    seen = normalised(scene, conn.request)
    if seen is None:
        return Decision(refusal=Refusal(400, "", "path_normalization_failed", REFUSED_PATH), assumed=True)
    return with_unread(scene, _POLICIES, _inbound(scene, station, port, replace(conn, request=seen)))


def _declared(scene: Scene, station: Station, port: int, ingress: Ingress | None) -> Speaks:
    """What the port of the pod is declared to speak, by the Services that lead there; ``any`` without one."""
    if ingress is not None:
        return registry.speaks(ingress.protocol.lower())
    named = {p.name: p.number for container in station.pod.containers for p in container.ports}
    for service in scene.services.services:
        if service.namespace == station.pod.namespace and service.selects(station.pod.labels):
            for entry in service.ports:
                if named.get(entry.target, int(entry.target) if entry.target.isdecimal() else 0) == port:
                    return registry.speaks(protocol_of(entry))
    return "any"


def _inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    pod, mesh = station.pod, scene.mesh
    sidecar = registry.sidecar_of(scene, station)
    ingress = next((i for i in sidecar.ingress if i.port == port), None) if sidecar is not None else None
    mode = peer_mode(mesh.peer_authentications, pod.namespace, pod.labels, port, mesh.config.root_namespace)
    said = f"{mode.mode} by {mode.decided_by}" if mode.decided_by else "PERMISSIVE by default"
    origin = mode.decided_by.origin if mode.decided_by else None
    steps = [step("filter chain", mode.mode, f"mutual TLS is {said}", origin)]
    declared = _declared(scene, station, port, ingress)
    if (refusal := _transport(mode.mode, said, declared, conn)) is not None:
        return Decision(refusal=refusal, steps=tuple(steps), assumed=True)
    tcp = conn.request.protocol == "tcp" or conn.request.tls or declared == "tcp"
    policies = authorization_for(mesh.authorization_policies, pod.namespace, pod.labels, mesh.config.root_namespace)
    base = Decision(
        tcp=tcp,
        options=(Option(f"inbound|{port}||", 1, 1.0),),
        route=None if tcp else "default",
        retry=None if retries.older(station.version, 24) else retries.INBOUND,
        steps=tuple(steps),
        assumed=True,
        endpoint=ingress.endpoint if ingress is not None else "",
    )
    token = Told("none") if tcp else judged(scene, station, conn.request)
    if token.verdict == "bad":
        details = f"jwt_authn_access_denied{{{token.why.replace(' ', '_')}}}"
        refusal = Refusal(
            token.status, "", details, f"a RequestAuthentication refuses the token: {token.why}", "filter", "policy"
        )
        return replace(base, refusal=refusal, steps=(*base.steps, step("policy", "", refusal.why)))
    if token.verdict == "unclear":
        return replace(base, undecided=(f"a RequestAuthentication checks the token: {token.why}",))
    address = pod.ip if len(pod.ips) <= 1 else None
    verdict = allows(
        policies,
        conn,
        port,
        tcp=tcp,
        bearer=token.principal,
        domains=mesh.config.trust_domains,
        address=address or None,
    )
    return _authorized(base, policies, verdict, tcp)


def _transport(mode: str, said: str, declared: Speaks, conn: Connection) -> Refusal | None:
    """What the callee's filter chains refuse before any filter: the wrong transport for the mode or the port."""
    if mode == "STRICT" and conn.layer == "tls":
        why = f"the callee accepts mutual TLS only ({said}), and this TLS shows no certificate of the mesh"
        return Refusal(None, "", "", why, "handshake", "strict", late=True)
    if mode == "STRICT" and conn.layer == "plaintext":
        why = f"the callee accepts mutual TLS only ({said}), and this is plain text"
        return Refusal(None, "NR", "filter_chain_not_found", why, "connection", "strict")
    if mode == "DISABLE" and conn.layer == "mtls":
        why = f"the callee takes no mutual TLS ({said}), and this is mutual TLS"
        return Refusal(None, "", "", why, "handshake", "mutual-tls")
    if declared != "http":
        return None
    if conn.layer == "tls":
        added = conn.by_proxy and not conn.request.tls
        whose = "the TLS that the caller's proxy adds (not the mesh's)" if added else "TLS of the application's own"
        why = f"the port is declared HTTP, and {whose} fits none of its filter chains"
        return Refusal(None, "NR", "filter_chain_not_found", why, "handshake", "no-route")
    if conn.request.tls:
        why = "the port is declared HTTP, and what the mutual TLS carries is TLS of the application's own"
        return Refusal(400, "DPE", "", why, "connection")
    if conn.request.protocol == "tcp":
        return Refusal(400, "DPE", "", "bytes that are no HTTP reach a port that is declared HTTP", "connection")
    return unparsed(conn.request)


def _authorized(
    base: Decision, policies: tuple[AuthorizationPolicy, ...], judged: tuple[bool | None, str], tcp: bool
) -> Decision:
    verdict, why = judged
    if verdict is None:
        return replace(base, undecided=(why,))
    if verdict:
        return base
    about = next((p.meta for p in policies if str(p.meta) in why), None)
    chosen = step("policy", str(about or ""), why, about.origin if about else None)
    kind, status = ("connection", None) if tcp else ("filter", 403)
    refusal = Refusal(status, "", "rbac_access_denied", why, kind, "policy")  # type: ignore[arg-type]
    return replace(base, refusal=refusal, steps=(*base.steps, chosen))


def allows(
    policies: tuple[AuthorizationPolicy, ...],
    conn: Connection,
    port: int,
    *,
    tcp: bool,
    bearer: str | None = "",
    domains: Sequence[str] = (),
    address: str | None = None,
) -> tuple[bool | None, str]:
    """What the AuthorizationPolicies of a workload say: CUSTOM first, then DENY, then ALLOW (Istio's order).

    On a TCP port a rule that asks for HTTP never allows, and denies by the rest of what it asks for. `bearer` is the
    principal of the request's token, empty without one, None where it is not known. `domains` are the mesh's own trust
    domain and its aliases, `address` is the workload's (None: not known).
    """
    facts = _facts(conn, port, bearer, tcp) | {"destination.ip": address}
    policies = tuple(_of_domains(policy, domains) for policy in policies)
    custom = [p for p in policies if p.action == "CUSTOM"]
    if any(_fits(policy, rule, facts, tcp, denies=True) is not False for policy in custom for rule in policy.rules):
        return None, "an AuthorizationPolicy with action CUSTOM asks an external service"
    denying, policy, rule = _first(policies, "DENY", facts, tcp)
    if denying:
        return False, f"{policy} denies it ({rule})"
    if denying is None:
        return None, f"{policy} cannot be judged without the proxy's configuration"
    wanting = [p for p in policies if p.action == "ALLOW"]
    if not wanting:
        return True, "no ALLOW policy is about it"
    allowing, policy, rule = _first(policies, "ALLOW", facts, tcp)
    if allowing:
        return True, f"{policy} allows it ({rule})"
    if allowing is None:
        return None, f"{policy} cannot be judged without the proxy's configuration"
    return False, f"no rule of {', '.join(str(p.meta) for p in wanting)} allows it"


def _first(
    policies: Sequence[AuthorizationPolicy], action: str, facts: _Facts, tcp: bool
) -> tuple[bool | None, str, str]:
    """Whether a rule of the policies with an action fits, else whether one may; with the policy and the rule."""
    found = [
        (_fits(p, r, facts, tcp, denies=action == "DENY"), str(p.meta), r.path)
        for p in policies
        if p.action == action
        for r in p.rules
    ]
    fitting = next((one for one in found if one[0]), None)
    return fitting or next((one for one in found if one[0] is None), (False, "", ""))


def _fits(policy: AuthorizationPolicy, rule: PolicyRule, facts: _Facts, tcp: bool, *, denies: bool) -> bool | None:
    home = policy.meta.namespace

    def holds(terms: Iterable[Term]) -> bool | None:
        return _all(_term(_in_full(term, home), facts, tcp, denies) for term in terms)

    return _all(
        [
            _any(holds(terms) for terms in rule.sources),
            _any(holds(terms) for terms in rule.operations),
            holds(rule.conditions),
        ]
    )


def _any(verdicts: Iterator[bool | None]) -> bool | None:
    found = list(verdicts)
    if not found or any(found):
        return True
    return None if None in found else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    if any(verdict is False for verdict in found):
        return False
    return None if None in found else True


_ACCOUNTS = ("serviceAccounts", "source.serviceAccount")


def _in_full(term: Term, home: str) -> Term:
    """A term whose service accounts all have a namespace: without one they are of the policy's own."""
    if term.field not in _ACCOUNTS:
        return term
    return replace(term, values=tuple(v if "/" in v else f"{home}/{v}" for v in term.values))


_PRINCIPALS = ("principals", "source.principal")


def _of_domains(policy: AuthorizationPolicy, domains: Sequence[str]) -> AuthorizationPolicy:
    """A policy whose principals of the mesh's own trust domain are of all its aliases as well."""

    def one(term: Term) -> Term:
        if term.field not in _PRINCIPALS:
            return term
        return replace(term, values=tuple(v for value in term.values for v in _aliases(value, domains)))

    def all_of(groups: tuple[tuple[Term, ...], ...]) -> tuple[tuple[Term, ...], ...]:
        return tuple(tuple(map(one, terms)) for terms in groups)

    rules = (
        replace(rule, sources=all_of(rule.sources), conditions=tuple(map(one, rule.conditions)))
        for rule in policy.rules
    )
    return replace(policy, rules=tuple(rules)) if domains else policy


def _aliases(principal: str, domains: Sequence[str]) -> tuple[str, ...]:
    """A principal with each of the trust domains, where its own is one of them or ``cluster.local``.

    Source: ``ReplaceTrustDomainAliases``, 1.30.
    """
    domain, _, rest = principal.partition("/")
    if principal.count("/") != 4 or domain == "*":
        return (principal,)
    if domain != "cluster.local" and not any(_value("", domain, known) for known in domains):
        return (principal,)
    kept = (principal if domain.startswith("*") and _value("", domain, d) else f"{d}/{rest}" for d in domains)
    return tuple(dict.fromkeys(kept))


def _remote(conn: Connection) -> str | None:
    """The client's address as a sidecar sees it: the last one of X-Forwarded-For, else whom the connection is from.

    Sidecars pass that header on as it is (``use_remote_address`` is off); what a gateway adds is in the request where
    the gateway's configuration was recorded.
    """
    if conn.sender is not None and conn.sender.mode == "gateway" and conn.sender.proxy is None:
        return None
    if "x-forwarded-for" in conn.request.unsure:
        return None
    told = [value for name, value in conn.request.headers if name.lower() == "x-forwarded-for"]
    last = ",".join(told).rpartition(",")[2].strip()
    return last if is_address(last) else conn.source


def _facts(conn: Connection, port: int, bearer: str | None, tcp: bool) -> dict[str, str | None]:
    """What a policy may ask for, None where it is not known."""
    request = conn.request
    principal = conn.principal.removeprefix("spiffe://") if conn.principal else ""
    parts = principal.split("/")
    namespace, account = (parts[2], parts[4]) if len(parts) >= 5 else ("", "")
    remote = conn.source if tcp else _remote(conn)
    facts: dict[str, str | None] = {
        "principals": principal,
        "source.principal": principal,
        "namespaces": namespace,
        "source.namespace": namespace,
        "serviceAccounts": f"{namespace}/{account}",
        "source.serviceAccount": f"{namespace}/{account}",
        "ports": str(port),
        "destination.port": str(port),
        "ipBlocks": conn.source,
        "source.ip": conn.source,
        "remoteIpBlocks": remote,
        "remote.ip": remote,
        "connection.sni": conn.sni,
        "methods": request.method,
        "paths": request.path.partition("?")[0],
        "hosts": None if "host" in request.unsure else request.host,
    }
    facts |= {"requestPrincipals": bearer, "request.auth.principal": bearer}
    if bearer == "":
        facts["request.auth.audiences"] = ""
    named = headers.by_name(request.headers)
    facts |= {f"request.headers[{name}]": ",".join(values) for name, values in named.items()}
    return facts | {f"request.headers[{name}]": None for name in request.unsure}


_HTTP_ONLY = ("methods", "paths", "hosts", "requestPrincipals")


def _term(term: Term, facts: _Facts, tcp: bool, denies: bool) -> bool | None:
    field = term.field
    if field.startswith("request.headers["):
        field = field.lower()
    if tcp and (field in _HTTP_ONLY or field.startswith("request.")):
        return denies
    if field not in facts:
        if field.startswith("request.headers["):
            return term.negated
        if field.startswith("request.auth.claims[") and facts.get("requestPrincipals") == "":
            return term.negated
        return None
    value = facts[field]
    if value is None:
        return None
    verdicts = [_value(field, pattern, value) for pattern in term.values]
    fits = True if True in verdicts else (None if None in verdicts else False)
    return None if fits is None else fits is not term.negated


_TEMPLATE = re.compile(r"\{(\*\*|\*)\}")


def _value(field: str, pattern: str, value: str) -> bool | None:
    if field in ("ipBlocks", "source.ip", "remoteIpBlocks", "remote.ip", "destination.ip"):
        return _in_block(value, pattern)
    if field in _ACCOUNTS:
        return bool(value.strip("/")) and value == pattern
    if field == "hosts":
        pattern, value = pattern.lower(), value.lower()
    if field == "paths" and _TEMPLATE.search(pattern):  # path templates, since Istio 1.22
        parts = _TEMPLATE.split(pattern)
        kinds = {"*": "[^/]+", "**": ".*"}
        regex = "".join(kinds[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
        return re.fullmatch(regex, value) is not None
    if pattern == "*":
        return bool(value)
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _in_block(address: str, block: str) -> bool:
    if not is_address(address):
        return False
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False
