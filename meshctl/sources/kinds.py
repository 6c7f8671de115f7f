"""The Kubernetes and Istio kinds that meshctl reads. Secrets are not among them, and never will be."""

from meshctl.sources.world import Kind

PODS = Kind("pods")
SERVICES = Kind("services")
NAMESPACES = Kind("namespaces", namespaced=False)
NODES = Kind("nodes", namespaced=False)
EVENTS = Kind("events")
CONFIG_MAPS = Kind("configmaps")
SERVICE_ACCOUNTS = Kind("serviceaccounts")
DEPLOYMENTS = Kind("deployments", "apps")
REPLICA_SETS = Kind("replicasets", "apps")
STATEFUL_SETS = Kind("statefulsets", "apps")
DAEMON_SETS = Kind("daemonsets", "apps")
JOBS = Kind("jobs", "batch")
CRON_JOBS = Kind("cronjobs", "batch")
ENDPOINT_SLICES = Kind("endpointslices", "discovery.k8s.io")
WEBHOOKS = Kind("mutatingwebhookconfigurations", "admissionregistration.k8s.io", namespaced=False)
NETWORK_POLICIES = Kind("networkpolicies", "networking.k8s.io")
INGRESSES = Kind("ingresses", "networking.k8s.io")

_NETWORKING = ("v1", "v1beta1", "v1alpha3")
_SECURITY = ("v1", "v1beta1")
VIRTUAL_SERVICES = Kind("virtualservices", "networking.istio.io", _NETWORKING)
DESTINATION_RULES = Kind("destinationrules", "networking.istio.io", _NETWORKING)
GATEWAYS = Kind("gateways", "networking.istio.io", _NETWORKING)
SERVICE_ENTRIES = Kind("serviceentries", "networking.istio.io", _NETWORKING)
SIDECARS = Kind("sidecars", "networking.istio.io", _NETWORKING)
ENVOY_FILTERS = Kind("envoyfilters", "networking.istio.io", ("v1alpha3",))
WORKLOAD_ENTRIES = Kind("workloadentries", "networking.istio.io", _NETWORKING)
PEER_AUTHENTICATIONS = Kind("peerauthentications", "security.istio.io", _SECURITY)
AUTHORIZATION_POLICIES = Kind("authorizationpolicies", "security.istio.io", _SECURITY)
REQUEST_AUTHENTICATIONS = Kind("requestauthentications", "security.istio.io", _SECURITY)
TELEMETRIES = Kind("telemetries", "telemetry.istio.io", ("v1", "v1alpha1"))
WASM_PLUGINS = Kind("wasmplugins", "extensions.istio.io", ("v1alpha1",))
K8S_GATEWAYS = Kind("gateways", "gateway.networking.k8s.io", ("v1", "v1beta1"))
HTTP_ROUTES = Kind("httproutes", "gateway.networking.k8s.io", ("v1", "v1beta1"))
GRPC_ROUTES = Kind("grpcroutes", "gateway.networking.k8s.io", ("v1",))
TCP_ROUTES = Kind("tcproutes", "gateway.networking.k8s.io", ("v1alpha2",))
TLS_ROUTES = Kind("tlsroutes", "gateway.networking.k8s.io", ("v1", "v1alpha3", "v1alpha2"))
REFERENCE_GRANTS = Kind("referencegrants", "gateway.networking.k8s.io", ("v1", "v1beta1"))
BACKEND_TLS_POLICIES = Kind("backendtlspolicies", "gateway.networking.k8s.io", ("v1", "v1alpha3"))

KUBERNETES = (
    PODS,
    SERVICES,
    NAMESPACES,
    NODES,
    EVENTS,
    SERVICE_ACCOUNTS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    CRON_JOBS,
    ENDPOINT_SLICES,
    WEBHOOKS,
    NETWORK_POLICIES,
    INGRESSES,
)
MESH = (
    VIRTUAL_SERVICES,
    DESTINATION_RULES,
    GATEWAYS,
    SERVICE_ENTRIES,
    SIDECARS,
    ENVOY_FILTERS,
    WORKLOAD_ENTRIES,
    PEER_AUTHENTICATIONS,
    AUTHORIZATION_POLICIES,
    REQUEST_AUTHENTICATIONS,
    TELEMETRIES,
    WASM_PLUGINS,
    K8S_GATEWAYS,
    HTTP_ROUTES,
    GRPC_ROUTES,
    TCP_ROUTES,
    TLS_ROUTES,
    REFERENCE_GRANTS,
    BACKEND_TLS_POLICIES,
)

OF_THE_MESH = (
    VIRTUAL_SERVICES,
    DESTINATION_RULES,
    PEER_AUTHENTICATIONS,
    AUTHORIZATION_POLICIES,
    REQUEST_AUTHENTICATIONS,
    SIDECARS,
    SERVICE_ENTRIES,
    GATEWAYS,
)
"""What says how requests go and who may send them."""
