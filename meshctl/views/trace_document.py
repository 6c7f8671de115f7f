"""A trace as a document: the contract ``meshctl.trace/v1``."""

from meshctl.path.expect import Expectation
from meshctl.path.model import Aim, Evidence, Finding, Hop, Request, Sender, Trace
from meshctl.path.observed import Observation
from meshctl.path.wire import server_name
from meshctl.views import outcome, probe

SCHEMA = "meshctl.trace/v1"


def document(
    trace: Trace, expected: Expectation | None = None, observed: Observation | None = None
) -> dict[str, object]:
    """The contract ``meshctl.trace/v1``."""
    found: dict[str, object] = {
        "schema": SCHEMA,
        "from": _sender(trace.sender),
        "to": _aim(trace.aim),
        "request": _request(trace.request),
        "hops": [_hop(hop) for hop in trace.hops],
        "outcome": outcome.document(trace.outcome),
        "kube_proxy": {
            "used": trace.kube_proxy.used,
            "why": trace.kube_proxy.why,
            "choice": trace.kube_proxy.choice or None,
            "evidence": [_evidence(e) for e in trace.kube_proxy.evidence],
        },
        "findings": [_finding(finding, trace.aim.service) for finding in trace.findings],
        "gaps": list(trace.gaps),
    }
    if expected is not None:
        found["expected"] = {
            "met": expected.met,
            "items": [
                {"field": i.field, "expected": i.expected, "predicted": i.predicted, "met": i.met}
                for i in expected.items
            ],
        }
    if observed is not None:
        found["observed"] = probe.document(trace, observed)
    return found


def _sender(sender: Sender) -> dict[str, object]:
    return {
        "pod": sender.pod or None,
        "namespace": sender.namespace or None,
        "ip": sender.address or None,
        "node": sender.node or None,
        "identity": sender.identity or None,
        "chosen_because": sender.chosen or None,
        "others": list(sender.others),
    }


def _aim(aim: Aim) -> dict[str, object]:
    name, _, namespace = aim.service.partition(".")
    # A label is NAME.NAMESPACE only where a Service was found: an address and a longer name have more dots.
    is_service = bool(namespace) and "." not in namespace and aim.kind not in ("entry", "outside", "gateway", "hosts")
    addresses = [part for part in aim.address.split(", ") if part]
    return {
        "service": name if is_service else aim.service,
        "namespace": namespace if is_service else None,
        "host": aim.host,
        "port": aim.port,
        "address": addresses[0] if addresses else None,
        "addresses": addresses,
        "kind": aim.kind,
    }


def _request(request: Request) -> dict[str, object]:
    return {
        "method": request.method,
        "path": request.path,
        "headers": _headers(request),
        "host": request.host,
        "protocol": request.protocol,
        "tls": request.tls,
        "sni": server_name(request) or None,
    }


def _headers(request: Request) -> dict[str, str]:
    """By name; one that is sent more than once has all its values in order, as RFC 9110 (5.3) and 6265 join them."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        joint = "; " if name.lower() == "cookie" else ","
        found[name] = f"{found[name]}{joint}{value}" if name in found else value
    return found


def _hop(hop: Hop) -> dict[str, object]:
    return {
        "kind": hop.kind,
        "where": hop.where,
        "at": hop.at,
        "title": hop.title,
        "facts": list(hop.facts),
        "decision": hop.decision,
        "evidence": [_evidence(e) for e in hop.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {"file": evidence.file, "path": evidence.path, "text": evidence.text}


def _finding(finding: Finding, subject: str) -> dict[str, object]:
    return {
        "id": finding.id,
        "severity": finding.severity,
        "subject": subject,
        "text": finding.text,
        "evidence": "",
        "fix": finding.fix,
        "docs": "",
    }
