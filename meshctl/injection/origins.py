"""Where an effective setting comes from: pod annotation, the pod's proxy overlay, mesh config, helm value, template.

The order is that of ``injection-template.yaml``: an annotation wins over the proxy configuration, which wins over the
helm value; what has none of these stands in the template.
"""

from collections.abc import Mapping
from dataclasses import field

from meshctl.frozen import dataclass
from meshctl.injection.catalog_metadata import SETTINGS
from meshctl.injection.flags import Argument
from meshctl.injection.mode import Injection
from meshctl.injection.settings import OVERLAY_KEY, MeshSettings, Overlay, look
from meshctl.kube.pods import Pod


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to look at: `theirs` are the annotations that the user wrote (None: cannot be told apart)."""

    pod: Pod
    injection: Injection
    settings: MeshSettings
    overlay: Overlay
    theirs: Mapping[str, str] | None
    metadata: Mapping[str, str] = field(default_factory=dict)


_HELM = {
    "istio-service-cidr": "global.proxy.includeIPRanges",
    "istio-service-exclude-cidr": "global.proxy.excludeIPRanges",
    "istio-inbound-ports": "global.proxy.includeInboundPorts",
    "istio-local-exclude-ports": "global.proxy.excludeInboundPorts",
    "istio-outbound-ports": "global.proxy.includeOutboundPorts",
    "istio-local-outbound-ports-exclude": "global.proxy.excludeOutboundPorts",
    "native-nftables": "global.nativeNftables",
    "force-apply": "global.proxy_init.forceApplyIptables",
    "log_output_level": "global.logging.level",
    "log_as_json": "global.logAsJson",
    "proxyLogLevel": "global.proxy.logLevel",
    "proxyComponentLogLevel": "global.proxy.componentLogLevel",
    "domain": "global.proxy.clusterDomain",
    "stsPort": "global.sts.servicePort",
    "outlierLogPath": "global.proxy.outlierLogPath",
    "concurrency": "global.proxy.concurrency",
}
_ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    **{s.flag: (s.key,) for s in SETTINGS.values() if s.flag},
    "kube-virt-interfaces": ("istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/kubevirtInterfaces"),
    "proxyLogLevel": ("sidecar.istio.io/logLevel",),
    "proxyComponentLogLevel": ("sidecar.istio.io/componentLogLevel",),
    "log_output_level": ("sidecar.istio.io/agentLogLevel",),
}


def of_argument(argument: Argument, sources: Sources) -> str:
    """Where the value of an argument of istio-init, istio-validation or istio-proxy comes from, in a few words."""
    if argument.positional:
        return _template(sources.injection)
    if not argument.name:
        return "unknown"
    found = _annotation(argument.name, sources)
    if found:
        return found
    if argument.name == "istio-inbound-interception-mode":
        return _proxy_config("interceptionMode", sources) or "template default"
    if argument.name == "concurrency":
        return _proxy_config("concurrency", sources) or _helm(argument, sources)
    if argument.name in ("proxy-uid", "proxy-gid") and argument.value != "1337":
        return "the user that istio-proxy runs as (OpenShift's range, or the pod's own istio-proxy container)"
    if argument.name in ("run-validation", "skip-rule-apply"):
        return "helm value pilot.cni.enabled"
    return _helm(argument, sources)


def _template(injection: Injection) -> str:
    """What the parts that nobody can set were copied from."""
    if injection.receipt is not None:
        return "injection template"
    return "istiod's template for waypoints" if injection.agent_mode == "waypoint" else "the pod's own manifest"


def _annotation(name: str, sources: Sources) -> str:
    annotations = sources.theirs if sources.theirs is not None else sources.pod.annotations
    for key in _ANNOTATIONS.get(name, ()):
        if key not in annotations:
            continue
        if sources.theirs is None and sources.injection.cni:
            return f"annotation {key} (the user's, or written by the injector for the CNI plugin)"
        also = (
            " with the ports of the proxy and the agent from the template"
            if name == "istio-local-exclude-ports"
            else ""
        )
        return f"annotation {key}{also}"
    return ""


def _proxy_config(name: str, sources: Sources) -> str:
    if name in sources.overlay.tree:
        return f"annotation {OVERLAY_KEY} ({name})"
    if look(sources.settings.mesh, f"defaultConfig.{name}") is not None:
        return f"mesh config defaultConfig.{name}"
    return ""


def _helm(argument: Argument, sources: Sources) -> str:
    path = _HELM.get(argument.name)
    if path is None:
        return _template(sources.injection)
    known = sources.settings.value(path)
    if known is None:
        return f"helm value {path} or its default"
    if argument.name == "istio-local-exclude-ports":
        port = "15020" if sources.settings.value("global.proxy.statusPort") is None else "global.proxy.statusPort"
        return f"injection template (15090, 15021), {port}" + (f", helm value {path}" if known else "")
    if argument.name == "domain" or _same(known, argument.value):
        return f"helm value {path}"
    return f"helm value {path} was different when the pod was made (now {known})"


def _same(known: object, value: str | None) -> bool:
    if isinstance(known, bool):
        return known == (value in (None, "true"))
    return str(known) == (value or "")


def of_metadata(settings: MeshSettings, own: Overlay) -> Mapping[str, str]:
    """Where each environment variable of ``proxyMetadata`` was written."""
    found = {}
    for tree, source in (
        (look(settings.mesh, "defaultConfig.proxyMetadata"), "mesh config defaultConfig.proxyMetadata"),
        (look(own.tree, "proxyMetadata"), f"annotation {OVERLAY_KEY} (proxyMetadata)"),
    ):
        if isinstance(tree, Mapping):
            found.update(dict.fromkeys(map(str, tree), source))
    return found
