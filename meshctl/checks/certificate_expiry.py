"""The proxy renews its certificate at half of its life; one that is old was not renewed."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC205"
TITLE = "The proxy's certificate has expired or is about to"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy's certificate has expired or is about to."""
    now = it.description.subject.now
    if it.state is None or now is None:
        return
    for certificate in it.state.certificates or ():
        if certificate.not_after is None:
            continue
        left = (certificate.not_after - now).total_seconds()
        what = "the mesh's root certificate" if certificate.name == "ROOTCA" else "the proxy's certificate"
        fix = "look at the agent's log for errors of istiod's certificate authority"
        source = "envoy/certs.json"
        if left <= 0:
            text = f"{what} expired {-left / 3600:.1f} hours before {now:%Y-%m-%d %H:%M}: mutual TLS fails"
            yield it.finding(ID, "error", text, evidence=source, fix=fix)
        elif certificate.not_before and left < 0.2 * (certificate.not_after - certificate.not_before).total_seconds():
            text = f"{what} expires in {left / 3600:.1f} hours (less than a fifth of its life): it was not renewed"
            yield it.finding(ID, "warning", text, evidence=source, fix=fix)
