"""Init containers that run when the rules are there and the proxy is not: their connections go nowhere."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.proxy_identity import proxy_user, shared_with_proxy
from meshctl.kube.containers import Container
from meshctl.netfilter.capture import Capture

ID = "MC126"
TITLE = "Init containers without network"


def check(it: Evidence) -> Iterator[Finding]:
    """Init containers without network."""
    capture = it.description.capture
    if capture is None or it.description.injection.mode not in ("sidecar", "native-sidecar"):
        return
    if not (capture.include_outbound_ranges or capture.include_outbound_ports):
        return
    stuck = [c for c in _between(it) if c.kind == "init" and c.name not in it.description.injection.ours]
    stuck = [c for c in stuck if shared_with_proxy(c, it.pod, capture) is None]
    if not stuck:
        return
    whole = capture.include_outbound_ranges == "*" and not (
        capture.exclude_outbound_ranges or capture.exclude_outbound_ports
    )
    lost = "every TCP connection that is opened there" if whole else "a TCP connection to a captured destination"
    several = "s" if len(stuck) > 1 else ""
    text = (
        f"init container{several} {', '.join(c.name for c in stuck)} run{'' if several else 's'} when the rules are "
        f"there and the proxy is not: {lost} goes nowhere"
    )
    order = ", ".join(c.name for c in it.pod.init_containers)
    yield it.finding(ID, "warning", text, evidence=f"order: {order}{_since(it)}", fix=_fix(it, capture))


def _between(it: Evidence) -> tuple[Container, ...]:
    """What is started after the rules are written (by istio-cni: before all) and before a native proxy (else: all)."""
    injection, inits = it.description.injection, it.pod.init_containers
    if injection.init is None:
        return ()
    first = 0 if injection.cni else inits.index(injection.init) + 1
    last = inits.index(injection.proxy) if injection.native and injection.proxy is not None else len(inits)
    return inits[first:last]


def _since(it: Evidence) -> str:
    return "; istio-cni writes the rules before the first of them" if it.description.injection.cni else ""


def _fix(it: Evidence, capture: Capture) -> str:
    first = 'use native sidecars (sidecar.istio.io/nativeSidecar: "true")'
    if it.description.injection.native:
        first = "put it behind the proxy in the order of the init containers"
    return f"{first}, exclude its destinations, or run it as user {proxy_user(capture)}, which is let through"
