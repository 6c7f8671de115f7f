"""A Service whose targetPort is a name that no container of the pod has."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC209"
TITLE = "A service leads to a named port that the pod does not have"


def check(it: Evidence) -> Iterator[Finding]:
    """A service leads to a named port that the pod does not have."""
    for service in it.description.services:
        for port in service.ports:
            if it.pod.port_of(port.target, port.protocol) is None:
                said = f"service {service.name}:{port.number} leads to the port named '{port.target}'"
                text = f"{said}, which no container has{'' if port.protocol == 'TCP' else f' for {port.protocol}'}"
                fix = f"name a container port '{port.target}' or use its number as targetPort"
                where = f"service/{service.namespace}/{service.name}"
                yield it.finding(ID, "error", text, evidence=where, fix=fix)
