"""One port of a pod cannot speak two protocols."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.istio.port_protocol import declared

ID = "MC115"
TITLE = "Several services give one port of the pod different protocols"


def check(it: Evidence) -> Iterator[Finding]:
    """Several services give one port of the pod different protocols."""
    claims: dict[int, dict[str, list[str]]] = {}
    for service in it.description.services:
        for port in service.ports:
            number = it.pod.port_of(port.target)
            if port.protocol == "TCP" and number is not None:
                said = declared(port) or port.app_protocol or "unnamed"
                claims.setdefault(number, {}).setdefault(said, []).append(f"{service.name}:{port.number}")
    for target, answers in claims.items():
        if len(answers) > 1:
            told = ", ".join(f"{'/'.join(names)} says {protocol}" for protocol, names in answers.items())
            text = f"port {target} of the pod is given different protocols: {told}; only one of them can be used"
            fix = "give the ports the same protocol in name or appProtocol"
            yield it.finding(ID, "warning", text, evidence=told, fix=fix)
