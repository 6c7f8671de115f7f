"""Annotations that the release at hand does not read (any more, or yet)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.catalog_metadata import SETTINGS

ID = "MC104"
TITLE = "An annotation that this Istio release does not read"


def check(it: Evidence) -> Iterator[Finding]:
    """An annotation that this Istio release does not read."""
    release = it.description.injection.release
    if not release.text:
        return
    for key, value in it.description.annotations.items():
        setting = SETTINGS.get(key)
        if setting is None or release.has(setting.known.since, setting.known.until) is not False:
            continue
        text = f"the annotation {key} counts {setting.known.releases}, and this pod's proxy is Istio {release.text}"
        yield it.finding(ID, "warning", text, evidence=f"annotation {key}: {value}", fix=_FIX.get(key, f"remove {key}"))


_FIX = {
    "istio.io/reroute-virtual-interfaces": "use traffic.sidecar.istio.io/kubevirtInterfaces with this release",
    "sidecar.istio.io/nativeSidecar": "native sidecars need Istio 1.19 and Kubernetes 1.29",
}
