"""A route to a subset that no DestinationRule names: Envoy gets no such cluster, and requests end with 503 (NC)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC502"
TITLE = "A route leads to a subset that no DestinationRule has"


def check(it: Evidence) -> Iterator[Finding]:
    """A route leads to a subset that no DestinationRule has."""
    for route in it.standing.routes if it.standing else ():
        if route.leads_here is None:
            text = f"{route.meta}: route {route.name} leads to subset {route.subset} of {route.host}, which nothing has"
            subject = f"virtualservice/{route.meta.namespace}/{route.meta.name}"
            fix = "define the subset in a DestinationRule for that host, or leave it out of the route"
            where = route.meta.origin.path
            yield Finding(id=ID, severity="error", subject=subject, text=text, evidence=where, fix=fix)
