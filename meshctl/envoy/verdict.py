"""What one filter does with a request."""

from typing import Literal

from meshctl.envoy.model.filters import PolicyRef
from meshctl.envoy.model.listeners import NetworkFilter
from meshctl.envoy.model.managers import HttpFilter
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one filter does with the request, in the order of the filters.

    ``answers``: the filter answers with `status` (an HTTP filter) or closes (a network filter: `status` None) for
    `share` of the requests; ``delays``: holds `share` of them for `delay_s`; ``undecided``: may answer, `because` says
    what is not known; ``not-modelled``: a filter that meshctl does not know. A `shadow` verdict is only counted.
    """

    filter: str
    type: str
    decision: Literal["passes", "answers", "delays", "undecided", "not-modelled"]
    because: str
    status: int | None = None
    grpc_status: int | None = None
    flags: str | None = None
    details: str = ""
    share: float = 1.0
    delay_s: float | None = None
    policy: PolicyRef | None = None
    policy_name: str = ""
    shadow: bool = False
    origin: Origin | None = None


def not_modelled(name: str, kind: str, origin: Origin, because: str = "") -> Verdict:
    """The verdict on a filter that meshctl cannot judge."""
    because = because or f"the filter {name} ({kind or 'no type'}) is not modelled: it may answer or change the request"
    return Verdict(filter=name, type=kind, decision="not-modelled", because=because, origin=origin)


def passes(each: HttpFilter | NetworkFilter, because: str, origin: Origin | None = None) -> Verdict:
    """The verdict of a filter that lets the request through."""
    return Verdict(filter=each.name, type=each.type, decision="passes", because=because, origin=origin or each.origin)
