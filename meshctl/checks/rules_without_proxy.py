"""istio-init without a proxy: the rules send connections to ports that nobody opens."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.kube.containers import Container
from meshctl.netfilter.capture import Capture

ID = "MC131"
TITLE = "The rules send connections to a proxy that is not there"


def check(it: Evidence) -> Iterator[Finding]:
    """The rules send connections to a proxy that is not there.

    Only for istio-init: istio-cni writes no rules for a pod without a container istio-proxy.
    """
    injection, capture = it.description.injection, it.description.capture
    if capture is None or injection.init is None or injection.cni or injection.proxy is not None:
        return
    ports = (capture.outbound_port, capture.inbound_port)
    if injection.mode not in ("none", "ambient") or capture.mode == "NONE":
        return
    taker = _taker(it, ports)
    if not taker and any(_may_be_proxy(c, ports) for c in it.pod.containers if c.kind in ("app", "sidecar")):
        return  # a proxy of the user's own
    ways = []
    if capture.include_outbound_ranges or capture.include_outbound_ports:
        ways.append(f"outgoing connections to port {capture.outbound_port}")
    if capture.include_inbound_ports:
        ways.append(f"incoming ones to port {capture.inbound_port}" if ways else _incoming(capture))
    if ways:
        text = f"istio-init redirects {' and '.join(ways)}, and no container istio-proxy is there to take them{taker}"
        fix = "let the injector add both (take the containers of the mesh out of the template), or remove istio-init"
        severity: Severity = "warning" if taker else "error"
        yield it.finding(ID, severity, text, evidence=injection.init.origin.path, fix=fix)


def _incoming(capture: Capture) -> str:
    return f"incoming connections to port {capture.inbound_port}"


def _taker(it: Evidence, ports: tuple[str, str]) -> str:
    """Which of the ports is open all the same, in words; empty for none and where that was not looked at."""
    listeners = it.state.listeners if it.state is not None else None
    found = next((o for o in listeners or () if str(o.port) in ports), None)
    if found is None:
        return ""
    return f"; port {found.port} is open all the same" + (f" ({found.program})" if found.program else "")


def _may_be_proxy(container: Container, ports: tuple[str, str]) -> bool:
    words = (container.image, *container.command, *container.args)
    declared = {str(port.number) for port in container.ports}
    return bool(declared.intersection(ports)) or any(
        name in word for word in words for name in ("envoy", "proxy", "pilot-agent")
    )
