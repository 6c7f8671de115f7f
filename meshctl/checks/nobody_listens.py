"""A port that a Service leads to, but on which nothing listens in the pod."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.injection.state import Listener, of_application, open_ports
from meshctl.kube.containers import Running

ID = "MC207"
TITLE = "A service leads to a port on which nothing listens"


def check(it: Evidence) -> Iterator[Finding]:
    """A service leads to a port on which nothing listens."""
    if it.state is None or it.state.listeners is None:
        return
    if not _application_runs(it):
        return
    opened = open_ports(it.state.listeners if it.description.injection.mode == "gateway" else _own(it))
    for service in it.description.services:
        for port in service.ports:
            number = it.pod.port_of(port.target, port.protocol)
            if port.protocol != "TCP" or number is None:
                continue
            where = f"service/{service.namespace}/{service.name} port {port.number}, netns/sockets.txt"
            if number not in opened:
                others = ", ".join(str(o.port) for o in _own(it))
                text = f"service {service.name}:{port.number} leads to port {number}, on which nothing listens here"
                fix = f"let targetPort be a port on which the application listens (it has: {others})"
                if not others:
                    fix = "the application listens on no port: let it listen there, or remove the service"
                if it.description.injection.mode == "gateway":
                    text, fix = _of_gateway(it, text)
                    yield it.finding(ID, "info", text, evidence=where, fix=fix)
                    continue
                yield it.finding(ID, "error", text, evidence=where, fix=fix)
            elif opened[number].local_only:
                text = (
                    f"service {service.name}:{port.number} leads to port {number}, on which "
                    f"{opened[number].program or 'the application'} listens on {opened[number].address} only"
                )
                yield it.finding(ID, _severity(it), text, evidence=where, fix="let it listen on 0.0.0.0 (or ::)")


def _of_gateway(it: Evidence, text: str) -> tuple[str, str]:
    """Who opens a gateway's ports, and what to do about one that is not open."""
    if it.state is not None and any(one.kind == "listener" for one in it.state.refused or ()):
        return f"{text}: the proxy refused listeners (MC206)", "see to what the proxy refused first"
    if it.description.injection.agent_mode == "waypoint":
        return f"{text}: a waypoint opens it with its first configuration", "see whether the waypoint is ready"
    return (
        f"{text}: a gateway opens a port when a Gateway resource has a server for it",
        "add the server, or remove the port",
    )


def _application_runs(it: Evidence) -> bool:
    """Whether the containers of the application run: before that, nobody can listen."""
    apps = [c for c in it.pod.app_containers if c.name not in it.description.injection.ours] or it.pod.app_containers
    return all(c.status is not None and isinstance(c.status.state, Running) for c in apps)


def _severity(it: Evidence) -> Severity:
    """Since 1.10 the proxy sends requests to the pod's address, so a localhost-only listener gets none of them."""
    return "error" if it.description.injection.mode != "none" or it.pod.ip else "warning"


def _own(it: Evidence) -> tuple[Listener, ...]:
    listeners = it.state.listeners if it.state else None
    return of_application(listeners or (), it.pod, it.description.injection)
