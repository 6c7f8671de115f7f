"""What RequestAuthentications make of a request's tokens, where the callee's configuration was not recorded.

istiod makes a provider of each rule, and a request needs a good token or none (``convertToEnvoyJwtConfig``, 1.30).
"""

from datetime import datetime
from typing import Literal, TypeAlias

from meshctl.envoy import headers, jwt
from meshctl.envoy.jwt_checks import UNKNOWN_ISSUER, Judgement
from meshctl.envoy.model.filters import Jwt, JwtProvider, Requirement
from meshctl.envoy.request import Request as EnvoyRequest
from meshctl.frozen import dataclass
from meshctl.istio.security import TokenRule, is_for
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station

_Verdict: TypeAlias = Literal["none", "good", "bad", "unclear"]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the tokens: there is ``none`` that is looked at, or one is ``good``, ``bad`` or ``unclear``.

    `principal` is that of a good one (``ISSUER/SUBJECT``; None where it lacks either), `why` the reason of the others,
    `status` the answer to a bad one.
    """

    verdict: _Verdict
    principal: str | None = ""
    why: str = ""
    status: int = 401


def judged(scene: Scene, station: Station, request: Request) -> Told:
    """Judge the tokens of a request by all rules that are for a workload."""
    names = {name.lower() for name, _ in request.headers}
    if request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= names:
        return Told("none", why="a CORS preflight request needs no token")
    rules = [rule for one in _authentications(scene, station) for rule in one]
    if any(name in request.unsure for rule in rules for name in _looked_at(rule)):
        return Told("unclear", why="a proxy on the way changes the header with the token")
    found = [_by(rule, request, scene.now) for rule in rules]
    telling = [one for one in found if one.because != jwt.MISSING]
    if not telling:
        return Told("none")
    passed = [one for one in telling if one.passed]
    others = [one for one in telling if not one.passed and one.because != UNKNOWN_ISSUER]
    unsure = next((one for one in others if one.passed is None), None)
    if unsure is not None:
        return Told("unclear", why=unsure.because)
    if not passed:
        last = (others or telling)[-1]
        return Told("bad", why=last.because, status=last.status)
    if others or len(passed) > 1:
        return Told("unclear", why="several rules take a token: which of them decides is not modelled")
    claims = passed[0].metadata[0][1] if passed[0].metadata else {}
    issuer, subject = claims.get("iss"), claims.get("sub")
    return Told("good", f"{issuer}/{subject}" if issuer and subject else None, passed[0].because)


def _authentications(scene: Scene, station: Station) -> list[tuple[TokenRule, ...]]:
    pod, root = station.pod, scene.mesh.config.root_namespace
    return [one.rules for one in scene.mesh.request_authentications if is_for(one, pod.namespace, pod.labels, root)]


def _looked_at(rule: TokenRule) -> tuple[str, ...]:
    """The headers in which a rule looks for a token: the usual one, where it names no place."""
    named = (*(name for name, _ in rule.headers), *(("cookie",) if rule.cookies else ()))
    return named if named or rule.params else ("authorization",)


def _by(rule: TokenRule, request: Request, at: datetime | None) -> Judgement:
    provider = JwtProvider(
        name="rule",
        issuer=rule.issuer,
        audiences=rule.audiences,
        headers=rule.headers,
        params=rule.params,
        cookies=rule.cookies,
        jwks=rule.jwks,
        jwks_uri=rule.jwks_uri,
        forward=True,
    )
    seen = EnvoyRequest(
        address="",
        port=0,
        source=None,
        remote=None,
        server_name="",
        tls="plaintext",
        terminated=False,
        principal=None,
        http=True,
        method=request.method,
        host=request.host,
        path=request.path,
        headers=headers.by_name(request.headers),
    )
    return jwt.requirement(Requirement("provider", "rule"), Jwt(providers={"rule": provider}, rules=()), seen, at)
