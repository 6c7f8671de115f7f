"""Configuration that Envoy has been sent and does not use yet, since something that it needs has not come."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC403"
TITLE = "The proxy waits for a part of its configuration"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy waits for a part of its configuration."""
    if it.proxy is None:
        return
    fix = "see what it waits for: a certificate that nobody has (credentialName), or istiod that cannot be reached"
    for kind, name, status in it.proxy.troubles():
        if status.state != "warming" and "warming" not in status.also:
            continue
        kept = "it is not used yet" if status.state == "warming" else "the one before it is still used"
        text = f"{kind} {name} is warming, that is, it waits for something that it needs: {kept}"
        yield it.finding(ID, "warning", text, evidence="envoy/config_dump.json, warming state", fix=fix)
    for secret in it.proxy.secrets():
        if secret.state == "warming":
            text = f"the {secret.kind} {secret.name} has not come: what needs it is not used yet"
            yield it.finding(ID, "warning", text, evidence=f"envoy/config_dump.json, {secret.origin.path}", fix=fix)
