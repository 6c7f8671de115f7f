"""A route to a cluster that the proxy does not have: requests end at the proxy itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

if TYPE_CHECKING:
    from meshctl.checks.leads import Lead
    from meshctl.envoy.config_dump import ConfigDump

ID = "MC401"
TITLE = "A route of the proxy leads to a cluster that it does not have"


def check(it: Evidence) -> Iterator[Finding]:
    """A route of the proxy leads to a cluster that it does not have."""
    if it.proxy is None or not it.proxy.has("Clusters"):
        return
    from meshctl.checks import leads

    ready = {c.name for c in it.proxy.clusters() if c.status.state != "warming"}
    missing: dict[str, list[Lead]] = {}
    for lead in leads.of(it.proxy):
        if lead.cluster not in ready and _asked_for(lead, it.proxy):
            missing.setdefault(lead.cluster, []).append(lead)
    mode = it.description.injection.mode
    for cluster, found in missing.items():
        port, subset, host = leads.host_of(cluster)
        if not leads.concerns(found[0].host or host, it.pod.namespace, mode):
            continue
        ending = (
            f"requests get {found[0].status} (flag NC: no cluster)" if found[0].status else "connections are closed"
        )
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        text = (
            f"{found[0].place}{more} leads to {_named(cluster, port, subset, host)}, which it does not have: {ending}"
        )
        fix = "name a service, port and subset that exist in the resource that the route was made from"
        yield it.finding(ID, "error", text, evidence=f"envoy/config_dump.json, {found[0].path}", fix=fix)


def _named(cluster: str, port: str, subset: str, host: str) -> str:
    if not host:
        return f"the cluster {cluster}"
    return f"{host}:{port}" + (f" subset {subset}" if subset else "")


def _asked_for(lead: "Lead", dump: "ConfigDump") -> bool:
    """Whether anybody can ask for it: istiod also writes routes for ports that the virtual host's service lacks."""
    from meshctl.checks import leads

    if not lead.host or lead.port is None:
        return True
    ports = {int(p) for p, _, host in (leads.host_of(c.name) for c in dump.clusters()) if host == lead.host and p}
    return not ports or lead.port in ports
