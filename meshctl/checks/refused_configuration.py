"""Envoy keeps its old configuration where it refuses a new piece."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC206"
TITLE = "The proxy refused a piece of its configuration"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy refused a piece of its configuration."""
    for refused in (it.state.refused or ()) if it.state else ():
        reason = refused.reason if len(refused.reason) < 300 else refused.reason[:297] + "..."
        kept = "and goes on with the one before it, if there was one"
        text = f"the proxy refused {refused.kind} {refused.name} {kept}: {reason}"
        fix = "correct the resource (EnvoyFilter, Gateway, ...) that leads to it, or use a proxy that has the feature"
        yield it.finding(ID, "error", text, evidence="envoy/config_dump.json, error_state", fix=fix)
