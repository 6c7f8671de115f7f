"""What RequestAuthentications and AuthorizationPolicies say of a request, where no proxy's configuration tells.

Followed is ``pilot/pkg/security/authz`` (1.30). Whose proxy it is, a sidecar's or a gateway's, does not matter.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from meshctl.envoy import headers
from meshctl.envoy.ip import within
from meshctl.envoy.match import Step
from meshctl.envoy.rbac import all_of, any_of
from meshctl.envoy.request import JOINED
from meshctl.frozen import dataclass
from meshctl.istio.security import AuthorizationPolicy, PolicyRule, Term, authorization_for
from meshctl.path.assumed import step
from meshctl.path.decision import Refusal
from meshctl.path.hosts import is_address
from meshctl.path.request_tokens import Told, judged
from meshctl.path.retries import older
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection
from meshctl.withheld import REDACTED

_Fact: TypeAlias = str | tuple[tuple[str, ...], ...] | None
"""A value, None where it is not known; of a header that came twice what a proxy may look at, one set of values each."""
_Facts: TypeAlias = Mapping[str, _Fact]


@dataclass(frozen=True, slots=True)
class Guard:
    """What the policies of a workload come to: a refusal with its step, or what leaves that open; neither to pass."""

    refusal: Refusal | None = None
    said: Step | None = None
    undecided: str = ""


def guard(scene: Scene, station: Station, port: int, conn: Connection, *, tcp: bool) -> Guard:
    """Judge a connection, or the request on it, that reached a proxy's filters; `port` is the pod's."""
    token = Told("none") if tcp else judged(scene, station, conn.request)
    if token.verdict == "bad":
        why = f"a RequestAuthentication refuses the token: {token.why}"
        details = f"jwt_authn_access_denied{{{token.why.replace(' ', '_')}}}"
        return Guard(Refusal(token.status, "", details, why, "filter", "policy"), step("policy", "", why))
    if token.verdict == "unclear":
        return Guard(undecided=f"a RequestAuthentication checks the token: {token.why}")
    pod, config = station.pod, scene.settings(station)
    policies = authorization_for(scene.mesh.authorization_policies, pod.namespace, pod.labels, config.root_namespace)
    allowed, why = allows(
        policies,
        conn,
        port,
        tcp=tcp,
        bearer=token.principal,
        domains=config.trust_domains,
        address=(pod.ip or None) if len(pod.ips) <= 1 else None,
        version=station.version,
    )
    if allowed is None:
        return Guard(undecided=why)
    if allowed:
        return Guard()
    about = next((p.meta for p in policies if str(p.meta) in why), None)
    said = step("policy", str(about or ""), why, about.origin if about else None)
    if tcp:
        return Guard(Refusal(None, "", "rbac_access_denied", why, "connection", "policy"), said)
    return Guard(Refusal(403, "", "rbac_access_denied", why, "filter", "policy"), said)


def allows(
    policies: tuple[AuthorizationPolicy, ...],
    conn: Connection,
    port: int,
    *,
    tcp: bool,
    bearer: str | None = "",
    domains: Sequence[str] = (),
    address: str | None = None,
    version: str = "",
) -> tuple[bool | None, str]:
    """What the AuthorizationPolicies of a workload say: CUSTOM first, then DENY, then ALLOW (Istio's order).

    On a TCP port a rule that asks for HTTP never allows, and denies by the rest of what it asks for. `bearer` is the
    principal of the request's token, empty without one, None where it is not known. `domains` are the mesh's own trust
    domain and its aliases, `address` is the workload's (None: not known), `version` its proxy's release of Istio.
    """
    facts = _facts(conn, port, bearer, tcp, version) | {"destination.ip": address}
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
        return all_of(_term(_in_full(term, home), facts, tcp, denies) for term in terms)

    parts = (
        not rule.sources or any_of(holds(terms) for terms in rule.sources),
        not rule.operations or any_of(holds(terms) for terms in rule.operations),
        holds(rule.conditions),
    )
    return all_of(parts)


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

    def each(groups: tuple[tuple[Term, ...], ...]) -> tuple[tuple[Term, ...], ...]:
        return tuple(tuple(map(one, terms)) for terms in groups)

    rules = (
        replace(rule, sources=each(rule.sources), conditions=tuple(map(one, rule.conditions))) for rule in policy.rules
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


def _facts(conn: Connection, port: int, bearer: str | None, tcp: bool, version: str) -> dict[str, _Fact]:
    """What a policy may ask for."""
    request = conn.request
    principal = conn.principal.removeprefix("spiffe://") if conn.principal else ""
    parts = principal.split("/")
    namespace, account = (parts[2], parts[4]) if len(parts) >= 5 else ("", "")
    remote = conn.source if tcp else _remote(conn)
    facts: dict[str, _Fact] = {
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
    for name, values in headers.by_name(request.headers).items():
        several = len(values) > 1 and name not in JOINED
        facts[f"request.headers[{name}]"] = _looked_at(values, version) if several else ",".join(values)
    return facts | {f"request.headers[{name}]": None for name in request.unsure}


def _looked_at(values: tuple[str, ...], version: str) -> tuple[tuple[str, ...], ...]:
    """The values of a header as RBAC looks at them: joined, until CVE-2026-31838 was fixed, then each alone."""
    together = ",".join(values)
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        return (values, (together,))
    fixed = _FIXED.get(int(parts[1]))
    if fixed is None:
        return ((together,),) if older(version, 27) else (values,)
    patch = parts[2] if len(parts) == 3 else ""
    if not patch.isdecimal():
        return (values, (together,))
    return (values,) if int(patch) >= fixed else ((together,),)


_FIXED = {27: 8, 28: 5, 29: 1}
"""The patch of each release of Istio that has CVE-2026-31838 fixed (Istio's security bulletin)."""


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
    if value is None or any(REDACTED in pattern for pattern in term.values):
        return None
    if isinstance(value, str):
        return any(_value(field, pattern, value) for pattern in term.values) is not term.negated
    found = {any(_value(field, pattern, one) for pattern in term.values for one in values) for values in value}
    return None if len(found) > 1 else found.pop() is not term.negated


_TEMPLATE = re.compile(r"\{(\*\*|\*)\}")


def _value(field: str, pattern: str, value: str) -> bool:
    if field in ("ipBlocks", "source.ip", "remoteIpBlocks", "remote.ip", "destination.ip"):
        return within(value, pattern) is True
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
