"""What each side wants of the transport, by which resource: DestinationRule and auto mTLS, PeerAuthentication."""

from meshctl.istio.destination_rule import rule_for
from meshctl.istio.security import authorization_for, peer_mode
from meshctl.kube.pods import Pod
from meshctl.path import auto_mtls
from meshctl.path.hosts import Host
from meshctl.path.scene import Scene, Station


def sender(scene: Scene, station: Station, cluster: str, host: Host) -> str:
    """Why the sending proxy chose its transport: a DestinationRule, else auto mTLS by the endpoint's label."""
    if cluster.count("|") != 3 or not cluster.startswith("outbound|"):
        return ""
    _, number, subset, name = cluster.split("|")
    parts = name.split(".")
    home = parts[1] if len(parts) > 2 and parts[2] == "svc" else station.pod.namespace
    mesh = scene.mesh
    here, root = station.pod.namespace, mesh.config.root_namespace
    rule = rule_for(mesh.destination_rules, name, here, home, root, station.pod.labels)
    if rule is not None:
        asked = rule.tls_on(int(number), subset)
        if asked:
            return f"the sender's side wants {asked}: {rule.meta}"
    if not scene.settings(station).auto_mtls:
        return "the sender's side wants plain text: auto mTLS is off, and no DestinationRule says otherwise"
    if host.endpoint is None:
        mutual, why = auto_mtls.takes(scene, station, name, int(number), host)
        if mutual is None:
            return f"whether the sender's side wants mutual TLS is not known: auto mTLS, and {why}"
        return f"the sender's side wants {'mutual TLS' if mutual else 'plain text'}: auto mTLS, and {why}"
    if host.endpoint.socket_match.get("tlsMode") == "istio":
        return "the sender's side wants mutual TLS: auto mTLS, and the endpoint is labelled tlsMode=istio"
    return "the sender's side wants plain text: auto mTLS, and the endpoint is not labelled tlsMode=istio"


def callee(scene: Scene, pod: Pod, port: int) -> str:
    """What the callee's proxy demands on a port, and the PeerAuthentication that says so."""
    mode = peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, port, scene.mesh.config.root_namespace)
    words = {
        "STRICT": "only mutual TLS",
        "PERMISSIVE": "mutual TLS and plain text",
        "DISABLE": "plain text",
    }[mode.mode]
    return f"the callee accepts {words} ({mode.mode}, {mode.decided_by or 'the default'})"


def strict(scene: Scene, pod: Pod, port: int, layer: str) -> str:
    """Why a connection without the mesh's mutual TLS is refused, where a STRICT mode is in force; empty otherwise."""
    mode = peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, port, scene.mesh.config.root_namespace)
    if mode.mode != "STRICT":
        return ""
    lack = "this is plain text" if layer == "plaintext" else "this TLS shows no certificate of the mesh"
    return f"the callee accepts only mutual TLS (STRICT, {mode.decided_by or 'the default'}), and {lack}"


def allowing(scene: Scene, pod: Pod) -> str:
    """The AuthorizationPolicies of a workload with action ALLOW: with any of them, what none allows is denied."""
    root = scene.mesh.config.root_namespace
    found = authorization_for(scene.mesh.authorization_policies, pod.namespace, pod.labels, root)
    return ", ".join(str(policy.meta) for policy in found if policy.action == "ALLOW")
