"""Istio lets user 1337 through: an application that runs as that user goes around the proxy (IST0144)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC101"
TITLE = "The application runs as the proxy's user"


def check(it: Evidence) -> Iterator[Finding]:
    """The application runs as the proxy's user."""
    capture = it.description.capture
    if capture is None and it.description.injection.mode not in ("sidecar", "native-sidecar"):
        return
    ids = {u for u in (capture.proxy_uids if capture else "1337").split(",") if u.isdigit()}
    for container in it.pod.containers:
        if container.name in it.description.injection.ours:
            continue
        user = container.security.user if container.security.user is not None else it.pod.security.user
        if user is not None and str(user) in ids:
            text = f"container {container.name} runs as user {user}, the proxy's: its connections go around the proxy"
            where = f"{container.origin.path}.securityContext.runAsUser"
            if container.security.user is None:
                where = "spec.securityContext.runAsUser"
            yield it.finding(ID, "error", text, evidence=where, fix="let it run as another user than the proxy")
