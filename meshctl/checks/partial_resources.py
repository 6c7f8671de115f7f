"""Setting one resource annotation of the proxy throws away all four of the installation's values."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC120"
TITLE = "One resource annotation of the proxy drops the installation's others"


def check(it: Evidence) -> Iterator[Finding]:
    """One resource annotation of the proxy drops the installation's others."""
    written = [key for key in _KEYS if key in it.description.annotations]
    if not written or len(written) == len(_KEYS) or it.description.injection.proxy is None:
        return
    missing = [key.rpartition("/")[2] for key in _KEYS if key not in written]
    text = (
        f"{', '.join(k.rpartition('/')[2] for k in written)} set for the proxy: the installation's values for all four "
        f"are dropped, so {', '.join(missing)} is unset, not the default"
    )
    yield it.finding(ID, "info", text, evidence=f"annotation {written[0]}", fix="set all four")


_KEYS = (
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyMemoryLimit",
)
