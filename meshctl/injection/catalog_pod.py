"""Containers, volumes, mounts and ports that Istio's injector, gateway controller and installer write.

From the templates named in `catalog_environment`, 1.12 to 1.30.
"""

from meshctl.injection.catalog import Known, table

CONTAINERS = table(
    (
        Known(
            "istio-init",
            "runs once before everything else, as root, and writes the rules (iptables) that send the pod's "
            "connections through the proxy",
        ),
        Known(
            "istio-validation",
            "runs once and checks that the rules are there; the node's CNI plugin (istio-cni) wrote them when "
            "the pod's network was made. Exit code 126 means that they are missing",
        ),
        Known(
            "istio-proxy",
            "the proxy (Envoy, started and watched by pilot-agent): every captured connection passes through it",
        ),
        Known("enable-core-dump", "runs once, as root, and lets Envoy write core dumps", until="1.23"),
        Known(
            "grpc-bootstrap-init",
            "runs once and writes the file that tells a gRPC application where istiod (the control plane) is",
        ),
        Known("install-cni", "the node agent of istio-cni: installs the CNI plugin and redirects ambient pods"),
        Known("discovery", "istiod, the control plane: injects, signs certificates and configures all proxies"),
        Known("agentgateway", "the proxy of a Gateway of class agentgateway", since="1.28"),
    )
)

VOLUMES = table(
    (
        Known("istio-envoy", "Envoy's first configuration and its sockets with the agent; in memory"),
        Known("istio-data", "scratch space of the proxy"),
        Known("istio-podinfo", "the pod's labels and annotations, as files"),
        Known("istio-token", "a token with which the agent proves the pod's identity to istiod; valid for 12 hours"),
        Known("istiod-ca-cert", "the root certificate that signs everything in the mesh"),
        Known("istio-ca-crl", "the list of certificates that were taken back, if there is one", since="1.27"),
        Known("istio-ca-root-cert", "the root certificate that signs everything in the mesh"),
        Known(
            "workload-socket", "the socket of another certificate provider (SPIRE), if one is installed", since="1.14"
        ),
        Known(
            "credential-socket", "the socket of a provider of gateway certificates, if one is installed", since="1.16"
        ),
        Known("workload-certs", "certificates that something else provides, if it does", since="1.14"),
        Known("gke-workload-certificate", "certificates that Google's Kubernetes provides", since="1.13"),
        Known("istio-certs", "certificates from a Secret of the service account (mountMtlsCerts)"),
        Known("custom-bootstrap-volume", "the user's additions to Envoy's first configuration"),
        Known("lightstep-certs", "the certificate of the Lightstep tracer", until="1.23"),
        Known("istio-xds", "the socket between the agent and a gRPC application"),
        Known("grpc-io-proxyless-bootstrap", "the file that tells a gRPC application where istiod is"),
        Known("ingressgateway-certs", "the gateway's certificates"),
        Known("ingressgateway-ca-certs", "root certificates for the gateway's callers"),
        Known("egressgateway-certs", "the gateway's certificates"),
        Known("egressgateway-ca-certs", "root certificates for the servers that the gateway calls"),
        Known("config-volume", "the mesh's settings (ConfigMap istio)"),
        Known("podinfo", "the pod's labels and annotations, as files"),
        Known("gatewaysdsudspath", "the socket for gateway certificates", until="1.15"),
        Known("cni-ztunnel-sock-dir", "the socket between istio-cni and ztunnel", since="1.21"),
    )
)

MOUNTS = table(
    (
        Known("/etc/istio/proxy", "Envoy's first configuration and its sockets with the agent"),
        Known("/etc/istio/pod", "the pod's labels and annotations"),
        Known("/etc/istio/config", "the mesh's settings"),
        Known("/etc/istio/custom-bootstrap", "additions to Envoy's first configuration"),
        Known("/var/lib/istio/data", "scratch space of the proxy"),
        Known("/var/run/secrets/istio", "the mesh's root certificate"),
        Known("/var/run/secrets/istio/crl", "certificates that were taken back"),
        Known("/var/run/secrets/tokens", "the token for istiod"),
        Known("/var/run/secrets/workload-spiffe-uds", "the socket of another certificate provider"),
        Known("/var/run/secrets/workload-spiffe-credentials", "certificates that something else provides"),
        Known("/var/run/secrets/credential-uds", "the socket of a provider of gateway certificates"),
        Known("/var/run/secrets/kubernetes.io/serviceaccount", "Kubernetes' own token of the service account"),
        Known("/etc/certs", "certificates from a Secret"),
        Known("/var/lib/grpc/data", "the file that tells a gRPC application where istiod is"),
        Known("/etc/istio/ingressgateway-certs", "the gateway's certificates"),
        Known("/etc/istio/ingressgateway-ca-certs", "root certificates for the gateway's callers"),
        Known("/etc/istio/egressgateway-certs", "the gateway's certificates"),
        Known("/etc/istio/egressgateway-ca-certs", "root certificates for the servers that the gateway calls"),
        Known("/tmp", "scratch space"),
        Known("/var/run/ztunnel", "the socket between istio-cni and ztunnel"),
    )
)

ZTUNNEL_PORTS = table(
    (
        Known("15000", "ztunnel's administration, on localhost only"),
        Known("15001", "ztunnel takes outgoing connections here"),
        Known("15006", "ztunnel takes incoming connections in plain text here"),
        Known("15008", "HBONE, Istio's tunnel over HTTP/2"),
        Known("15020", "ztunnel's metrics for Prometheus"),
        Known("15021", "ztunnel's readiness check"),
        Known("15053", "ztunnel answers DNS here"),
        Known("15080", "ztunnel as a SOCKS5 proxy, on localhost only"),
    )
)

PORTS = table(
    (
        Known("15000", "Envoy's administration, on localhost only"),
        Known("15001", "the proxy takes outgoing connections here"),
        Known("15004", "the agent's debugging of istiod's configuration, on localhost only"),
        Known("15006", "the proxy takes incoming connections here"),
        Known("15008", "HBONE, Istio's tunnel over HTTP/2"),
        Known("15009", "HBONE without encryption", until="1.13"),
        Known("15010", "istiod: configuration and certificates, without encryption"),
        Known("15012", "istiod: configuration and certificates, with TLS"),
        Known("15014", "istiod's metrics"),
        Known("15017", "istiod's injection webhook"),
        Known("15020", "the agent: merged metrics, the application's health checks, readiness"),
        Known("15021", "Envoy's health check"),
        Known("15053", "the agent answers DNS here"),
        Known("15090", "Envoy's metrics for Prometheus"),
        Known("15443", "gateway between networks"),
    )
)
