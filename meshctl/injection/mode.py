"""How a pod takes part in a mesh: with a proxy of its own (in which layout), as a gateway, through its node, or not.

The layouts are those of Istio's templates: ``sidecar``, ``gateway``, ``grpc-agent``, ``grpc-simple``, the waypoint and
gateway Deployments of the gateway controller, and ambient's redirection by istio-cni (1.18 and later).
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection import receipt as receipts
from meshctl.injection import release as releases
from meshctl.injection.receipt import Receipt
from meshctl.injection.release import Release
from meshctl.kube.containers import Container
from meshctl.kube.pods import Pod

Mode: TypeAlias = Literal["sidecar", "native-sidecar", "gateway", "grpc", "ambient", "none"]
Mesh: TypeAlias = Literal["istio", "linkerd", "kuma", "consul", ""]

REDIRECTION = "ambient.istio.io/redirection"
DATAPLANE = "istio.io/dataplane-mode"
OPTED_OUT = "opted-out"
"""The rule of a pod that its label keeps out of its namespace's ambient mode."""
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_MANAGED = "gateway.istio.io/managed"
INIT_NAMES = ("istio-init", "istio-validation")
PROXY_NAME = "istio-proxy"
MESH_NAMES = frozenset(("istio-init", "istio-validation", "istio-proxy", "enable-core-dump", "grpc-bootstrap-init"))


@dataclass(frozen=True, slots=True)
class Reason:
    """One fact that decided: `rule` is a stable word for it, `source` where it stands."""

    rule: str
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What the mesh made of a pod.

    `proxy` is the container with the proxy, `init` the one that writes or checks the rules (istio-init or
    istio-validation); `ours` are the names of the containers that the mesh added, `proxies` of all that run a proxy of
    the mesh. `agent_mode` is the word after ``proxy`` in the agent's arguments (sidecar, router, waypoint, ztunnel).
    """

    mode: Mode
    mesh: Mesh
    revision: str
    release: Release
    receipt: Receipt | None
    proxy: Container | None
    init: Container | None
    ours: frozenset[str]
    agent_mode: str = ""
    reasons: tuple[Reason, ...] = ()
    problems: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()

    @property
    def cni(self) -> bool:
        """Whether the node's CNI plugin wrote the rules (the pod has istio-validation instead of istio-init)."""
        return self.init is not None and self.init.name == "istio-validation"

    @property
    def proxy_user(self) -> int:
        """As whom the proxy runs: 1337, or another where the platform gives out users (OpenShift)."""
        return _own_id(self.proxy.security.user if self.proxy else None)

    @property
    def proxy_group(self) -> int:
        """The proxy's group, as its user."""
        return _own_id(self.proxy.security.group if self.proxy else None)

    @property
    def native(self) -> bool:
        """Whether the proxy is a native sidecar: an init container that keeps running."""
        return self.mode == "native-sidecar"


def _revision(pod: Pod, receipt: Receipt | None, mode: Mode) -> str:
    """Which control plane made the pod what it is: a label may name a tag, so it counts for gateways alone."""
    told = (receipt.revision if receipt else "") or pod.annotations.get("istio.io/rev", "")
    return told or (pod.labels.get("istio.io/rev", "") if mode == "gateway" else "")


def _own_id(told: int | None) -> int:
    return 1337 if told is None else told


def recognise(pod: Pod, namespace_labels: Mapping[str, str] | None = None) -> Injection:
    """Tell the mode of a pod; `namespace_labels` are needed only for an ambient pod that does not run yet."""
    receipt = receipts.read(pod)
    proxies = tuple(c for c in pod.containers if _is_proxy(c, receipt))
    proxy = proxies[0] if proxies else None
    init = next((c for c in pod.init_containers if _is_init(c, receipt)), None)
    agent = _agent_mode(proxy)
    problems = _problems(receipt, proxies)
    mode, reasons = _mode(pod, receipt, proxy, init, agent, namespace_labels or {})
    mesh: Mesh = "istio" if mode != "none" or proxy or init else _other_mesh(pod)
    if mesh not in ("istio", ""):
        reasons = (*reasons, Reason("other-mesh", f"the pod carries {mesh.title()}'s proxy", _other_evidence(pod)))
    return Injection(
        mode=mode,
        mesh=mesh,
        revision=_revision(pod, receipt, mode),
        release=releases.of_pod(pod, proxy, init, sidecar=mode in ("sidecar", "native-sidecar")),
        receipt=receipt,
        proxy=proxy,
        init=init,
        ours=_ours(pod, receipt, proxy, init, mode),
        proxies=tuple(c.name for c in proxies),
        agent_mode=agent,
        reasons=reasons,
        problems=problems,
    )


def _is_proxy(container: Container, receipt: Receipt | None) -> bool:
    """Whether it runs the mesh's proxy; without a receipt the name alone is no proof: a user may have written it."""
    if container.kind in ("ephemeral", "init") or container.name in INIT_NAMES:  # a proxy does not end
        return False
    return _words(container)[:1] == ("proxy",) or (container.name == PROXY_NAME and receipt is not None)


def _is_init(container: Container, receipt: Receipt | None) -> bool:
    """Whether it writes or checks the rules: by its name in a pod with a receipt, else by what it runs as well."""
    if container.name not in INIT_NAMES:
        return False
    if receipt is not None or _words(container)[:1] == ("istio-iptables",):
        return True
    return bool(container.args) and container.args[0].startswith("-") and not container.command


def _words(container: Container) -> tuple[str, ...]:
    """Command and arguments without ``pilot-agent``, the program's image having it as its entry point."""
    given = (*container.command, *container.args)
    program = given[0].rpartition("/")[2] if given else ""
    return given[1:] if program == "pilot-agent" else (program, *given[1:]) if given else ()


def _agent_mode(proxy: Container | None) -> str:
    words = _words(proxy) if proxy is not None else ()
    return words[1] if len(words) > 1 and words[0] == "proxy" and not words[1].startswith("-") else ""


def _mode(
    pod: Pod,
    receipt: Receipt | None,
    proxy: Container | None,
    init: Container | None,
    agent: str,
    namespace_labels: Mapping[str, str],
) -> tuple[Mode, tuple[Reason, ...]]:
    told = (
        (Reason("receipt", "the injector left its receipt", f"annotation {receipts.KEY}"),)
        if receipt is not None
        else ()
    )
    if agent == "ztunnel":
        return "none", (Reason("ztunnel", "this is ztunnel, the node's own proxy", "arguments of istio-proxy"),)
    if agent in ("router", "waypoint") or _gateway_template(pod, proxy):
        what = "a waypoint, a shared proxy of an ambient mesh" if agent == "waypoint" else "a gateway"
        return "gateway", (*told, Reason("agent-mode", f"the proxy runs as {what}", "arguments of istio-proxy"))
    if proxy is None and pod.labels.get(_GATEWAY_NAME) and _MANAGED in pod.labels:
        told = (Reason("managed-gateway", "the gateway controller made it for a Gateway", f"label {_GATEWAY_NAME}"),)
        return "gateway", told
    if _grpc(pod, proxy):
        return "grpc", (*told, Reason("no-envoy", "the application speaks to istiod itself (gRPC)", "environment"))
    if proxy is not None:
        where = f"{'initContainers' if proxy.kind == 'sidecar' else 'containers'}: {proxy.name}"
        if proxy.kind == "sidecar":
            return "native-sidecar", (
                *told,
                Reason("native-proxy", "the proxy is an init container with restartPolicy Always", where),
            )
        return "sidecar", (*told, Reason("proxy", "the proxy is an ordinary container beside the application", where))
    return _without_proxy(pod, told, init, namespace_labels)


def _without_proxy(
    pod: Pod, told: tuple[Reason, ...], init: Container | None, namespace_labels: Mapping[str, str]
) -> tuple[Mode, tuple[Reason, ...]]:
    if pod.annotations.get(REDIRECTION) == "enabled":
        return "ambient", (
            Reason("redirection", "istio-cni sends its traffic to ztunnel", f"annotation {REDIRECTION}"),
        )
    label = pod.labels.get(DATAPLANE)
    if not pod.has_status and not pod.host_network and pod.labels.get("sidecar.istio.io/inject") != "true":
        if label == "ambient":
            return "ambient", (Reason("dataplane-mode", "the pod asks for ambient mode", f"label {DATAPLANE}"),)
        if label is None and namespace_labels.get(DATAPLANE) == "ambient":
            where = f"label {DATAPLANE} of namespace {pod.namespace}"
            return "ambient", (Reason("dataplane-mode", "the namespace asks for ambient mode", where),)
    if label == "none" and namespace_labels.get(DATAPLANE) == "ambient":
        text = f"the namespace asks for ambient mode, but the pod's label {DATAPLANE}: none keeps it out"
        return "none", (*told, Reason(OPTED_OUT, text, f"label {DATAPLANE}"))
    if init is not None:
        where = f"initContainers: {init.name}"
        return "none", (*told, Reason("no-proxy", f"there is {init.name}, but no container istio-proxy", where))
    return "none", (*told, Reason("no-proxy", "no container of a mesh", "containers"))


def _gateway_template(pod: Pod, proxy: Container | None) -> bool:
    if proxy is None:
        return False
    templates = pod.annotations.get("inject.istio.io/templates", "")
    return "gateway" in (t.strip() for t in templates.split(",")) and len(pod.app_containers) == 1


def _grpc(pod: Pod, proxy: Container | None) -> bool:
    if pod.container("grpc-bootstrap-init") is not None:
        return True
    if proxy is None:
        return False
    return proxy.env_value("ISTIO_META_GENERATOR") == "grpc" or proxy.env_value("DISABLE_ENVOY") == "true"


def _ours(
    pod: Pod, receipt: Receipt | None, proxy: Container | None, init: Container | None, mode: Mode
) -> frozenset[str]:
    names = {c.name for c in pod.containers}
    ours = {c.name for c in (proxy, init) if c is not None}
    if receipt is not None or proxy is not None or init is not None:
        ours |= {name for name in names if name in MESH_NAMES and name != PROXY_NAME}
    if receipt is None or mode == "none":
        return frozenset(ours)
    # Templates may also patch a container of the user; the receipt then names it as well.
    app = set((proxy.env_value("ISTIO_META_APP_CONTAINERS") or "").split(",")) if proxy else set()
    named = {n for n in (*receipt.init_containers, *receipt.containers) if n in names and n not in app}
    candidates = ours | named
    if not any(c.kind == "app" and c.name not in candidates for c in pod.containers) and mode != "gateway":
        candidates = ours
    return frozenset(candidates)


def _problems(receipt: Receipt | None, proxies: tuple[Container, ...]) -> tuple[str, ...]:
    found = []
    if receipt is not None and receipt.problem:
        found.append(receipt.problem)
    if len(proxies) > 1:
        names = ", ".join(f"{c.name} ({c.origin.path})" for c in proxies)
        found.append(f"{len(proxies)} containers are proxies: {names}; the first is described")
    return tuple(found)


_OTHERS: tuple[tuple[Mesh, tuple[str, ...], tuple[str, ...]], ...] = (
    ("linkerd", ("linkerd-proxy", "linkerd-init", "linkerd-network-validator"), ("linkerd.io/proxy-version",)),
    ("kuma", ("kuma-sidecar", "kuma-init", "kuma-validation"), ("kuma.io/sidecar-injected",)),
    ("consul", ("consul-dataplane", "consul-connect-inject-init"), ("consul.hashicorp.com/connect-inject-status",)),
)


def _other_mesh(pod: Pod) -> Mesh:
    names = {c.name for c in pod.containers}
    return next(
        (
            mesh
            for mesh, containers, annotations in _OTHERS
            if names.intersection(containers) or any(a in pod.annotations for a in annotations)
        ),
        "",
    )


def _other_evidence(pod: Pod) -> str:
    for _, containers, annotations in _OTHERS:
        for name in containers:
            if pod.container(name):
                return f"container {name}"
        for key in annotations:
            if key in pod.annotations:
                return f"annotation {key}"
    return ""
