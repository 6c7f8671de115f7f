"""With mode NONE the proxy opens the services' ports itself, and may not open those below 1024."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC112"
TITLE = "Ports below 1024 with interception mode NONE"


def check(it: Evidence) -> Iterator[Finding]:
    """Ports below 1024 with interception mode NONE."""
    injection = it.description.injection
    proxy = injection.proxy
    if proxy is None or proxy.env_value("ISTIO_META_INTERCEPTION_MODE") != "NONE":
        return
    if proxy.security.user == 0 or "NET_BIND_SERVICE" in proxy.security.added:
        return
    low = sorted({p.number for s in it.description.subject.mesh_services or () for p in s.ports if 0 < p.number < 1024})
    if not low:
        return
    text = (
        "with interception mode NONE the proxy itself opens the ports of all services that it knows; ports below 1024 "
        "are privileged, and as user "
        f"{proxy.security.user or 'of the image'} it may not open {', '.join(map(str, low))}: it never becomes ready"
    )
    fix = "use ports above 1023, limit what the proxy knows with a Sidecar resource, or capture (REDIRECT)"
    yield it.finding(ID, "warning", text, evidence="ISTIO_META_INTERCEPTION_MODE of istio-proxy", fix=fix)
