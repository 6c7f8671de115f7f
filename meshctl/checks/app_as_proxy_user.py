"""Istio lets user and group 1337 through: an application that runs as one of them goes around the proxy (IST0144)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.proxy_identity import shared_with_proxy
from meshctl.netfilter.capture import Capture

ID = "MC101"
TITLE = "The application runs as the proxy's user or group"


def check(it: Evidence) -> Iterator[Finding]:
    """The application runs as the proxy's user or group."""
    planned = it.description.planned
    capture = it.description.capture
    if capture is None and planned is not None and planned.sidecar and planned.captures:
        capture = Capture()  # whom the rules of a pod that is not made yet will let through
    if capture is None:
        return
    for container in it.pod.containers:
        if container.name in it.description.injection.ours or container.args[:1] == ("proxy",):
            continue
        if container.kind in ("init", "ephemeral"):  # on purpose: so they reach the network without the proxy (MC126)
            continue
        shared = shared_with_proxy(container, it.pod, capture)
        if shared is not None:
            text = (
                f"container {container.name} runs as {shared.what} {shared.number}, the proxy's: its connections go "
                "around the proxy"
            )
            fix = f"let it run as another {shared.what} than the proxy"
            yield it.finding(ID, "error", text, evidence=shared.where, fix=fix)
