"""A proxy whose configuration was made from a resource that is gone: it was not told of the change."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC404"
TITLE = "The proxy has configuration of a resource that is gone"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy has configuration of a resource that is gone."""
    for config in it.gone:
        kind = "".join(word.capitalize() for word in config.kind.split("-"))
        text = (
            f"the proxy's configuration comes from {kind} {config.name}.{config.namespace}, and there is no such "
            "resource: the proxy was not told that it is gone"
        )
        fix = "see whether the proxy is connected to istiod (istioctl proxy-status), and restart the pod if it is not"
        yield it.finding(ID, "warning", text, evidence=f"envoy/config_dump.json, metadata {config.path}", fix=fix)
