"""A cluster without endpoints: the proxy knows the service, and has no pod to send a request to."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC402"
TITLE = "The proxy has no endpoint for a service that a route leads to"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy has no endpoint for a service that a route leads to."""
    if it.proxy is None or not it.proxy.has("Endpoints"):
        return
    from meshctl.checks import leads

    mode = it.description.injection.mode
    for name in sorted({lead.cluster for lead in leads.of(it.proxy)}):
        port, subset, host = leads.host_of(name)
        if not host or not leads.concerns(host, it.pod.namespace, mode):
            continue
        cluster = it.proxy.cluster(name)
        if cluster is None or cluster.type != "EDS":
            continue
        endpoints = it.proxy.endpoints(cluster)
        if endpoints is None or any(e.health in ("healthy", "degraded", "unknown") for e in endpoints):
            continue
        what = f"{host}:{port}" + (f" subset {subset}" if subset else "")
        said = "no endpoint" if not endpoints else f"only endpoints that are not healthy ({len(endpoints)})"
        text = f"the proxy has {said} for {what}: requests to it get 503 (flag UH: no healthy host)"
        fix = "look at the service's pods: their labels, and whether they are ready"
        yield it.finding(ID, "warning", text, evidence=f"envoy/config_dump.json, endpoints of {name}", fix=fix)
