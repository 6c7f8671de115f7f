"""Annotations and labels that Istio reads from or writes to a pod.

``istio.io/api/annotation/annotations.gen.go`` and ``label/labels.gen.go`` with their use sites in the injection
templates and ``pkg/kube/inject``, 1.12 to 1.30.
"""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.catalog import Known, table

ValueKind: TypeAlias = Literal[
    "text",
    "bool",
    "ports",
    "ports-or-star",
    "ranges",
    "ranges-or-star",
    "mode",
    "interfaces",
    "number",
    "json",
    "yaml",
    "quantity",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """An annotation that the user may write: what it sets, the kind of its value, and the flag that it ends in."""

    known: Known
    kind: ValueKind = "text"
    flag: str = ""

    @property
    def key(self) -> str:
        """The annotation's key."""
        return self.known.key


def _setting(
    key: str,
    meaning: str,
    kind: ValueKind = "text",
    flag: str = "",
    default: str = "",
    since: str = "",
    until: str = "",
) -> Setting:
    return Setting(Known(key, meaning, default, since, until), kind, flag)


_TRAFFIC = "traffic.sidecar.istio.io/"
_SIDECAR = "sidecar.istio.io/"

SETTINGS = {
    setting.key: setting
    for setting in (
        _setting(_SIDECAR + "inject", "whether to inject; as an annotation outdated: the label wins", "bool"),
        _setting("inject.istio.io/templates", "which templates of the injector are used", default="sidecar"),
        _setting(
            _SIDECAR + "nativeSidecar",
            "whether the proxy is an init container that keeps running",
            "bool",
            since="1.19",
        ),
        _setting(
            _SIDECAR + "interceptionMode",
            "how connections reach the proxy",
            "mode",
            "istio-inbound-interception-mode",
            "REDIRECT",
        ),
        _setting(
            _TRAFFIC + "includeInboundPorts",
            "the incoming ports that are captured",
            "ports-or-star",
            "istio-inbound-ports",
            "*",
        ),
        _setting(
            _TRAFFIC + "excludeInboundPorts",
            "incoming ports that are not captured",
            "ports",
            "istio-local-exclude-ports",
        ),
        _setting(
            _TRAFFIC + "includeOutboundIPRanges",
            "the destination addresses that are captured",
            "ranges-or-star",
            "istio-service-cidr",
            "*",
        ),
        _setting(
            _TRAFFIC + "excludeOutboundIPRanges",
            "destination addresses that are not captured",
            "ranges",
            "istio-service-exclude-cidr",
        ),
        _setting(
            _TRAFFIC + "includeOutboundPorts",
            "destination ports that are captured in addition",
            "ports",
            "istio-outbound-ports",
        ),
        _setting(
            _TRAFFIC + "excludeOutboundPorts",
            "destination ports that are not captured",
            "ports",
            "istio-local-outbound-ports-exclude",
        ),
        _setting(
            _TRAFFIC + "excludeInterfaces",
            "network interfaces whose traffic is not captured",
            "interfaces",
            "istio-exclude-interfaces",
            since="1.16",
        ),
        _setting(
            "istio.io/reroute-virtual-interfaces",
            "interfaces whose traffic counts as outgoing",
            "interfaces",
            "kube-virt-interfaces",
            since="1.25",
        ),
        _setting(
            _TRAFFIC + "kubevirtInterfaces",
            "interfaces whose traffic counts as outgoing (now istio.io/reroute-virtual-interfaces)",
            "interfaces",
            "kube-virt-interfaces",
        ),
        _setting(_SIDECAR + "proxyImage", "the proxy's image"),
        _setting(
            _SIDECAR + "proxyImageType", "the kind of the proxy's image: default, debug or distroless", since="1.13"
        ),
        _setting(_SIDECAR + "proxyCPU", "the CPU that the proxy requests", "quantity"),
        _setting(_SIDECAR + "proxyMemory", "the memory that the proxy requests", "quantity"),
        _setting(_SIDECAR + "proxyCPULimit", "the proxy's CPU limit", "quantity"),
        _setting(_SIDECAR + "proxyMemoryLimit", "the proxy's memory limit", "quantity"),
        _setting(_SIDECAR + "logLevel", "how much Envoy logs", default="warning"),
        _setting(_SIDECAR + "componentLogLevel", "how much single parts of Envoy log", default="misc:error"),
        _setting(_SIDECAR + "agentLogLevel", "how much the agent logs", default="default:info"),
        _setting(
            _SIDECAR + "rewriteAppHTTPProbers", "whether health checks go through the agent", "bool", default="true"
        ),
        _setting(_SIDECAR + "bootstrapOverride", "a ConfigMap with additions to Envoy's first configuration"),
        _setting(_SIDECAR + "userVolume", "volumes to add, as JSON", "json"),
        _setting(_SIDECAR + "userVolumeMount", "mounts to add to the proxy, as JSON", "json"),
        _setting(_SIDECAR + "discoveryAddress", "where istiod is"),
        _setting(_SIDECAR + "controlPlaneAuthPolicy", "how the proxy authenticates to istiod"),
        _setting(_SIDECAR + "capNetBindService", "whether the proxy may open ports below 1024", "bool"),
        _setting(_SIDECAR + "enableCoreDump", "whether Envoy may write core dumps", "bool", until="1.23"),
        _setting(_SIDECAR + "statsInclusionPrefixes", "which of Envoy's statistics are kept, by prefix"),
        _setting(_SIDECAR + "statsInclusionSuffixes", "which of Envoy's statistics are kept, by suffix"),
        _setting(_SIDECAR + "statsInclusionRegexps", "which of Envoy's statistics are kept, by pattern"),
        _setting(_SIDECAR + "statsHistogramBuckets", "the buckets of Envoy's histograms", "json", since="1.19"),
        _setting(_SIDECAR + "statsCompression", "whether metrics are compressed", "bool", since="1.23"),
        _setting(_SIDECAR + "extraStatTags", "labels to add to Envoy's statistics"),
        _setting(
            "status.sidecar.istio.io/port",
            "the port of the agent; 0 leaves out the readiness check",
            "number",
            "",
            "15020",
        ),
        _setting(
            "readiness.status.sidecar.istio.io/initialDelaySeconds",
            "when the proxy's readiness is checked first",
            "number",
        ),
        _setting(
            "readiness.status.sidecar.istio.io/periodSeconds", "how often the proxy's readiness is checked", "number"
        ),
        _setting(
            "readiness.status.sidecar.istio.io/failureThreshold",
            "after how many failures the proxy is not ready",
            "number",
        ),
        _setting(
            "readiness.status.sidecar.istio.io/applicationPorts", "ports that make the proxy ready (outdated)", "ports"
        ),
        _setting("proxy.istio.io/config", "the proxy's settings for this pod, over the mesh's", "yaml"),
        _setting(
            "prometheus.istio.io/merge-metrics", "whether the application's metrics are merged into the proxy's", "bool"
        ),
        _setting("topology.istio.io/controlPlaneClusters", "which clusters a control plane serves"),
        _setting("networking.istio.io/exportTo", "to which namespaces a Service is visible"),
        _setting("galley.istio.io/analyze-suppress", "which messages of istioctl analyze are not shown"),
        _setting(
            "ambient.istio.io/bypass-inbound-capture", "whether incoming traffic avoids ztunnel", "bool", since="1.24"
        ),
        _setting("ambient.istio.io/dns-capture", "whether the pod's DNS queries go to ztunnel", "bool", since="1.25"),
        _setting("ambient.istio.io/waypoint-inbound-binding", "how the waypoint takes connections", since="1.22"),
        _setting("proxyless.istio.io/config", "settings for applications that speak xDS themselves", "yaml"),
        _setting("install.operator.istio.io/chart-owner", "the chart that made this"),
        _setting("istio.io/workload-controller", "who controls a WorkloadEntry"),
        _setting("security.istio.io/autoRegistrationGroup", "the WorkloadGroup of a virtual machine"),
    )
}

WRITTEN_ANNOTATIONS = table(
    (
        Known(_SIDECAR + "status", "the injector's receipt: the names of what it added, and its revision"),
        Known("istio.io/rev", "the revision of the injector: which installation of istiod did it", since="1.18"),
        Known("proxy.istio.io/overrides", "what the user wrote for the mesh's containers, kept for another injection"),
        Known("kubectl.kubernetes.io/default-container", "the container that kubectl uses unless told otherwise"),
        Known("kubectl.kubernetes.io/default-logs-container", "the container whose logs kubectl shows"),
        Known("prometheus.io/scrape", "Prometheus collects metrics from this pod"),
        Known(
            "prometheus.io/port", "the port of the metrics: the agent's, which adds the proxy's to the application's"
        ),
        Known("prometheus.io/path", "the path of the metrics"),
        Known(_SIDECAR + "interceptionMode", "written for the CNI plugin: how connections reach the proxy"),
        Known(_TRAFFIC + "includeInboundPorts", "written for the CNI plugin: the incoming ports that are captured"),
        Known(_TRAFFIC + "excludeInboundPorts", "written for the CNI plugin: incoming ports that are not captured"),
        Known(_TRAFFIC + "includeOutboundIPRanges", "written for the CNI plugin: destinations that are captured"),
        Known(_TRAFFIC + "excludeOutboundIPRanges", "written for the CNI plugin: destinations that are not captured"),
        Known(_TRAFFIC + "includeOutboundPorts", "written for the CNI plugin: destination ports captured in addition"),
        Known(_TRAFFIC + "excludeOutboundPorts", "written for the CNI plugin: destination ports that are not captured"),
        Known(_TRAFFIC + "excludeInterfaces", "written for the CNI plugin: interfaces that are not captured"),
        Known("istio.io/reroute-virtual-interfaces", "written for the CNI plugin: interfaces that count as outgoing"),
        Known(_TRAFFIC + "kubevirtInterfaces", "written for the CNI plugin: interfaces that count as outgoing"),
        Known("k8s.v1.cni.cncf.io/networks", "asks Multus (a CNI plugin that calls others) for istio-cni"),
        Known(
            "ambient.istio.io/redirection", "enabled: the node's istio-cni agent sends this pod's traffic to ztunnel"
        ),
        Known("cni.istio.io/uninitialized", "istio-cni found the pod without rules"),
    )
)
"""What the injector (or istio-cni) may add; the traffic settings only with CNI, when the user wrote none."""

CNI_ONLY = frozenset(
    key
    for key in WRITTEN_ANNOTATIONS
    if key.startswith((_TRAFFIC, _SIDECAR + "interceptionMode", "istio.io/reroute", "k8s.v1"))
)

LABELS = table(
    (
        Known(
            "security.istio.io/tlsMode",
            "istio: other proxies may send this pod mutual TLS (both sides show certificates)",
        ),
        Known("service.istio.io/canonical-name", "the name under which telemetry shows this workload"),
        Known("service.istio.io/canonical-revision", "the version under which telemetry shows this workload"),
        Known("topology.istio.io/network", "the network that the pod is in"),
        Known("networking.istio.io/tunnel", "http: the pod takes HBONE, Istio's tunnel over HTTP/2"),
        Known("istio.io/rev", "the revision (installation of istiod) to use"),
        Known(_SIDECAR + "inject", "whether to inject"),
        Known("istio.io/dataplane-mode", "ambient: without a proxy of its own, through the node's; none: not at all"),
        Known("istio.io/use-waypoint", "the waypoint (shared proxy) to send requests through"),
        Known("istio.io/use-waypoint-namespace", "the namespace of that waypoint"),
        Known("istio.io/waypoint-for", "what the waypoint serves: service, workload, all or none"),
        Known("istio.io/ingress-use-waypoint", "whether gateways send requests through the waypoint"),
        Known("gateway.istio.io/managed", "made by Istio's gateway controller"),
        Known("gateway.networking.k8s.io/gateway-name", "the Gateway that this pod serves"),
        Known("gateway.networking.k8s.io/gateway-class-name", "the class of that Gateway"),
        Known("istio.io/gateway-name", "the Gateway that this pod serves (outdated)"),
        Known("istio", "a name by which Gateway resources select gateway pods"),
        Known("istio-locality", "the region and zone, where the node does not tell"),
        Known("topology.istio.io/subzone", "the part of the zone"),
    )
)
WRITTEN_LABELS = frozenset(
    (
        "security.istio.io/tlsMode",
        "service.istio.io/canonical-name",
        "service.istio.io/canonical-revision",
        "topology.istio.io/network",
        "networking.istio.io/tunnel",
    )
)


def is_istio_key(key: str) -> bool:
    """Whether an annotation or label key belongs to Istio (its prefix ends in ``istio.io``)."""
    prefix, slash, _ = key.partition("/")
    return bool(slash) and (prefix == "istio.io" or prefix.endswith(".istio.io"))
