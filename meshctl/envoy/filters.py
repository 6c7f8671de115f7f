"""What the filters of a chain do with a request, in their order: each one's verdict, with the policy behind it."""

from collections.abc import Iterator
from dataclasses import replace

from meshctl.envoy import jwt
from meshctl.envoy.filter_verdicts import (
    HTTP_RBAC,
    asked_elsewhere,
    not_there,
    of_cors,
    of_csrf,
    of_fault,
    of_health_check,
    of_token,
    patience,
    rbac_verdicts,
    with_claims,
    with_shadow,
)
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import (
    AlpnOverride,
    Cors,
    Csrf,
    Elsewhere,
    Fault,
    HealthCheck,
    Jwt,
    Missing,
    Mutates,
    Passes,
    Rbac,
)
from meshctl.envoy.model.managers import HttpManager
from meshctl.envoy.place import Place
from meshctl.envoy.request import Request
from meshctl.envoy.verdict import Verdict, not_modelled, passes


def judge(manager: HttpManager, request: Request, place: Place) -> Iterator[Verdict]:
    """The verdicts of a connection manager's filters, one by one; the caller stops where one answers."""
    metadata: dict[str, object] | None = {}
    for each in manager.filters.get():
        special = place.special(each.name)
        if special[0].disabled if special else each.disabled:
            origin = special[0].origin if special else each.origin
            yield passes(each, "it is turned off here", origin)
            continue
        own = each.config.get()
        if each.discovered and place.extension is not None:
            came = place.extension(each.name)
            if isinstance(came, Missing) and not each.has_default:
                yield not_there(each)
                return
            own = came if came is not None and not isinstance(came, Missing) else own
        configs = [one.config.get() for one in special]
        match own:
            case Jwt():
                first = next((c for c in configs if isinstance(c, Jwt)), None)
                judgement = jwt.judge(own, request, place.at, first)
                metadata = with_claims(metadata, own, judgement)
                yield of_token(each, judgement)
                request = jwt.after(request, judgement)
                if place.again is not None and any(own.providers[name].reroutes for name, _ in judgement.metadata):
                    host, route = place.again(replace(request, metadata=metadata))
                    place = replace(place, host=host, route=route, target=None)
            case Rbac():
                config = next((c for c in configs if isinstance(c, Rbac)), own)
                found = tuple(rbac_verdicts(each.name, each.type, config, request, metadata, each.origin))
                metadata = with_shadow(metadata, config, found, HTTP_RBAC)
                yield from found
            case Fault():
                injector = next((c for c in configs if isinstance(c, Fault)), own)
                yield from of_fault(each, injector, request, place, patience(manager, place.forward))
            case Cors():
                yield of_cors(each, tuple(c for c in configs if isinstance(c, Cors)), request, place)
            case HealthCheck():
                yield of_health_check(each, own, request)
            case Csrf():
                yield of_csrf(each, next((c for c in configs if isinstance(c, Csrf)), own), request)
            case Elsewhere():
                asked = next((c for c in configs if isinstance(c, Elsewhere)), None)
                yield asked_elsewhere(each, own, asked, metadata, place)
            case Mutates():
                changes = tuple(name for c in (own, *configs) if isinstance(c, Mutates) for name in c.headers)
                request = replace(request, unsettled={**request.unsettled, **dict.fromkeys(changes)})
                metadata = None if own.metadata else metadata
                yield passes(each, own.what)
            case Passes(what):
                yield passes(each, what)
            case AlpnOverride():
                yield passes(each, "sets what is offered in the TLS handshake upstream")
            case Opaque():
                yield not_modelled(each.name, each.type, each.origin)
    if place.leave is not None:
        place.leave(request)
