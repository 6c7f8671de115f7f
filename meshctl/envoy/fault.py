"""Injected faults: delays and aborts, each for a share of the requests.

Source: Envoy, config/http/fault/v3/fault.proto. A route's own configuration replaces the filter's.
"""

from meshctl.envoy import strings
from meshctl.envoy.model import Fault
from meshctl.envoy.rbac import all_of
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request


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
        from_header=delay.has("header_delay") or abort.has("header_abort"),
        active=bool(delay or abort),
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


def abort_status(fault: Fault) -> int:
    """The HTTP status of an abort; one by gRPC status is an HTTP 200 with that status in a trailer."""
    return fault.abort_status or 200
