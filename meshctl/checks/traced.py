"""Findings of traced requests: every caller to every service of the namespaces asked about, put together by cause."""

from collections.abc import Iterable, Iterator, Sequence

from meshctl.checks.finding import Finding, Severity
from meshctl.frozen import dataclass
from meshctl.path.model import Cause

TITLES = {
    "MT101": "The name of a request's destination is not known",
    "MT102": "A request finds no endpoint that is healthy",
    "MT103": "A request is sent to a cluster that does not exist",
    "MT104": "A proxy finds no place for a request",
    "MT105": "A policy refuses a request",
    "MT106": "An injected fault answers a request",
    "MT107": "The two ends of a request disagree on mutual TLS",
    "MT108": "A request arrives where nothing listens",
    "MT109": "A proxy decides a request by other configuration than the resources say",
    "MT110": "An endpoint fails, and only retries hide it",
    "MT111": "A route copies requests to where nothing takes them",
    "MT112": "A listener that a request is meant for does not run",
    "MT113": "NetworkPolicies let a request not through, or may not",
    "MT114": "A pod's status says that it does not run",
    "MT199": "A request does not arrive",
}
_CAUSES = {
    "MT102": ("MC501", "MC506"),
    "MT103": ("MC502", "MC503"),
    "MT107": ("MC505", "MC507"),
    "MT108": ("MC207", "MC209"),
    "MT110": ("MC207", "MC209"),
    "MT112": ("MC206", "MC403"),
    "MT199": ("MC506",),
}
"""What says the same of the service already, with the cause."""
_NO_FAILURE = ("MT109", "MT110", "MT111", "MT113", "MT114")
"""What is wrong beside a request that arrives all the same."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One finding of one trace: from a caller to a port of a service (`service` is ``NAME.NAMESPACE``)."""

    id: str
    text: str
    caller: str
    service: str
    port: int
    certain: bool
    cause: Cause

    @property
    def on_purpose(self) -> bool:
        """Whether somebody asked for it: a policy, an injected fault, strict mutual TLS, or known destinations only."""
        return self.cause in ("policy", "fault", "strict", "registry-only")


def findings(failures: Iterable[Failure], callers: int, others: Sequence[Finding]) -> Iterator[Finding]:
    """One finding a service's port and cause; `callers` traced each port, `others` were found already."""
    together: dict[tuple[str, str, int, str], list[Failure]] = {}
    for failure in failures:
        together.setdefault((failure.id, failure.service, failure.port, failure.text), []).append(failure)
    for (id, service, port, text), found in together.items():
        name, _, namespace = service.partition(".")
        if any(f.id in _CAUSES.get(id, ()) and _is_about(f, name, namespace) for f in others):
            continue
        who = sorted({f.caller for f in found})
        shown = ", ".join(who[:3]) + (f" and {len(who) - 3} more" if len(who) > 3 else "")
        severity: Severity = "warning"
        if found[0].on_purpose:
            severity = "info"
        elif id not in _NO_FAILURE and len(who) == callers and all(f.certain for f in found):
            severity = "error"
        fails = "" if id in _NO_FAILURE else " fails"
        said = f"a request to port {port}{fails}, from {shown} ({len(who)} of {callers} callers): {text}"
        fix = f"see the whole path: meshctl trace {service}:{port} --from {who[0]}"
        subject = f"service/{namespace}/{name}"
        yield Finding(id=id, severity=severity, subject=subject, text=said, evidence="traced", fix=fix)


def _is_about(finding: Finding, name: str, namespace: str) -> bool:
    """Whether a finding is about a service: it names it as a word, or in full."""
    words = finding.text.replace(":", " ").replace(",", " ").split()
    return name in words or f"{name}.{namespace}.svc." in finding.text
