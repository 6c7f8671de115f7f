"""Injected faults: delays and aborts, each for a share of the requests.

Source: Envoy, config/http/fault/v3/fault.proto, ``fault_filter.cc`` and ``fault_config.cc``. A route's own
configuration replaces the filter's.
"""

from collections.abc import Iterator

from meshctl.envoy import strings
from meshctl.envoy.model.filters import Fault
from meshctl.envoy.rbac import all_of
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass


def config(message: Json) -> Fault:
    """Read ``HTTPFault``; without a percentage nothing is injected."""
    delay, abort = message.below("delay"), message.below("abort")
    return Fault(
        delay_s=delay.seconds("fixed_delay"),
        delay_share=strings.percent(delay.below("percentage")) or 0.0,
        abort_status=abort.whole("http_status") or None,
        abort_grpc=abort.whole("grpc_status") or None,
        abort_share=strings.percent(abort.below("percentage")) or 0.0,
        headers=tuple(strings.header_match(h) for h in message.each("headers")),
        upstream_cluster=message.text("upstream_cluster"),
        nodes=message.texts("downstream_nodes"),
        header_delay=delay.has("header_delay"),
        header_abort=abort.has("header_abort"),
        active=bool(delay or abort) and message.whole("max_active_faults", 1) > 0,
    )


def applies(fault: Fault, request: Request, clusters: tuple[str, ...]) -> bool | None:
    """Whether the fault is for this request; None where that cannot be told."""
    verdicts = [request.header_holds(h) for h in fault.headers]
    if fault.upstream_cluster:
        fits = {name == fault.upstream_cluster for name in clusters}
        verdicts.append(fits.pop() if len(fits) == 1 else None if fits else False)
    if fault.nodes:
        named = request.values("x-envoy-downstream-service-node")
        verdicts.append(bool(named) and named[0] in fault.nodes)
    return all_of(verdicts)


@dataclass(frozen=True, slots=True)
class Injected:
    """A delay (`status` None) or an abort, and the share of the requests that get it."""

    share: float
    status: int | None = None
    delay_s: float = 0.0
    grpc_status: int | None = None


def injected(fault: Fault, request: Request) -> Iterator[Injected]:
    """The delay, then the abort, that a request to which the fault applies gets; its own headers may steer both."""
    delay = fault.delay_s or 0.0
    share = fault.delay_share
    if fault.header_delay:
        delay = (_number(request, "x-envoy-fault-delay-request") or 0) / 1000
        share = _steered(request, "x-envoy-fault-delay-request-percentage", share)
    if delay and share:
        yield Injected(share, delay_s=delay)
    status, share, grpc = fault.abort_status, fault.abort_share, fault.abort_grpc
    if fault.header_abort:
        asked = _number(request, "x-envoy-fault-abort-request")
        status = asked if asked is not None and 200 <= asked < 600 else None
        grpc = _number(request, "x-envoy-fault-abort-grpc-request")
        share = _steered(request, "x-envoy-fault-abort-request-percentage", share)
    if share and (status is not None or grpc is not None):
        yield Injected(share, 200 if status is None else status, grpc_status=grpc if status is None else None)


def _number(request: Request, name: str) -> int | None:
    text = next(iter(request.values(name)), "").strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _steered(request: Request, name: str, most: float) -> float:
    """A share that a request asks for itself, in the configuration's own unit; it may only lower it."""
    asked = _number(request, name)
    return most if asked is None else min(most, asked / 100)
