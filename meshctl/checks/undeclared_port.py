"""A port on which the application listens without declaring it: harmless, but invisible in the manifest."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.state import of_application

ID = "MC208"
TITLE = "The application listens on a port that it does not declare"


def check(it: Evidence) -> Iterator[Finding]:
    """The application listens on a port that it does not declare."""
    if it.state is None or it.state.listeners is None or it.pod.host_network:
        return
    if it.description.injection.mode == "gateway":
        return
    declared = {p.number for c in it.pod.containers for p in c.ports}
    own = of_application(it.state.listeners, it.pod, it.description.injection)
    ztunnel = {15001, 15006, 15008, 15053} if it.description.injection.mode == "ambient" else set()
    extra = sorted({o.port for o in own if not o.local_only} - declared - ztunnel)
    if extra and declared:
        text = f"the application also listens on port {', '.join(map(str, extra))}, which no container declares"
        yield it.finding(ID, "info", text, evidence="netns/sockets.txt", fix="declare it as containerPort, or close it")
