"""Names that Kubernetes gives: that of a Service, in full."""

USUAL_DOMAIN = "cluster.local"
"""The cluster's domain where nobody chose another (kubelet's ``--cluster-domain``)."""


def service_host(name: str, namespace: str, domain: str = USUAL_DOMAIN) -> str:
    """The name of a Service in full, as DNS and the mesh have it."""
    return f"{name}.{namespace}.svc.{domain}"
