"""Init containers that run after the rules are written, but before the proxy: their connections go nowhere."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC126"
TITLE = "Init containers without network"


def check(it: Evidence) -> Iterator[Finding]:
    """Init containers without network."""
    result = it.description
    if result.injection.mode != "sidecar" or result.injection.init is None:
        return
    names = [c.name for c in it.pod.init_containers]
    after = names[names.index(result.injection.init.name) + 1 :]
    stuck = [n for n in after if n not in result.injection.ours]
    free = {c.name for c in it.pod.init_containers if c.security.user == 1337}
    stuck = [n for n in stuck if n not in free]
    if not stuck:
        return
    text = (
        f"init container {', '.join(stuck)} runs after the rules are written and before the proxy: what it sends is "
        "captured and goes nowhere"
    )
    fix = (
        'use native sidecars (sidecar.istio.io/nativeSidecar: "true"), exclude its destinations, or run it as user 1337'
    )
    yield it.finding(ID, "warning", text, evidence=f"order: {', '.join(names)}", fix=fix)
