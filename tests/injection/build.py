"""Pods written for one test: as a user writes them, and as the injector leaves them; and the recorded ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshctl.checks import registry
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.description import Description, Subject, describe
from meshctl.injection.timeline import Clues
from meshctl.kube import namespaces, pods, runtime, services, webhooks
from meshctl.kube.pods import Pod
from meshctl.kube.webhooks import Webhook

FIXTURES = Path(__file__).parents[2] / "fixtures" / "pods"
IMAGE = "docker.io/istio/proxyv2:1.30.3"
INIT_ARGS = ("istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "",
             "-b", "*", "-d", "15090,15021,15020", "--log_output_level=default:info")  # fmt: skip


def recorded(name: str) -> Any:
    """One of the recorded JSON files."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


def recorded_pod(name: str) -> Pod:
    """A recorded pod."""
    return pods.pod(recorded(name), f"{name}.json")


def recorded_webhooks() -> tuple[Webhook, ...]:
    """The recorded webhooks of a default installation."""
    return tuple(w for raw in recorded("webhooks")["items"] for w in webhooks.configuration(raw))


def clues() -> Clues:
    """The runtime's records of the classic sidecar pod."""
    folder = FIXTURES / "classic-sidecar.runtime"
    runs = [runtime.run(json.loads(f.read_text()), f.name) for f in sorted(folder.glob("container-*.json"))]
    return Clues(
        runtime.sandbox(json.loads((folder / "sandbox.json").read_text()), "runtime/sandbox.json"),
        tuple(runs),
        runtime.processes(json.loads((folder / "processes.json").read_text())),
        (folder / "istio-proxy.txt").read_text(),
        "logs/istio-proxy.txt",
    )


def plain(
    annotations: Mapping[str, Any] | None = None, labels: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod as a user writes it: one container that declares port 8080."""
    app = {"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}], **spec.pop("app", {})}
    return {
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "annotations": dict(annotations or {}),
            "labels": {"app": "web", "version": "v1"} if labels is None else dict(labels),
        },
        "spec": {"containers": [app], **spec},
    }


def injected(
    annotations: Mapping[str, Any] | None = None,
    *,
    init_args: Sequence[str] = INIT_ARGS,
    native: bool = False,
    image: str = IMAGE,
    proxy: Mapping[str, Any] | None = None,
    init: Mapping[str, Any] | None = None,
    inits: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    """The same pod as the injector leaves it, in the layout of 1.30."""
    raw = plain(annotations, **more)
    names = {"initContainers": ["istio-init"], "containers": ["istio-proxy"], "volumes": ["istio-envoy"]}
    sidecar: dict[str, Any] = {
        "name": "istio-proxy",
        "image": image,
        "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
        "env": [{"name": "ISTIO_META_APP_CONTAINERS", "value": "app"}],
        "startupProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}},
        **(proxy or {}),
    }
    before: dict[str, Any] = {"name": "istio-init", "image": image, "args": list(init_args), **(init or {})}
    spec = raw["spec"]
    spec["volumes"] = [{"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}]
    if native:
        names = {**names, "initContainers": ["istio-init", "istio-proxy"], "containers": None}
        spec["initContainers"] = [before, {**sidecar, "restartPolicy": "Always"}, *inits]
    else:
        spec["initContainers"] = [before, *inits]
        spec["containers"].append(sidecar)
    receipt = json.dumps({**names, "imagePullSecrets": None, "revision": "default"})
    raw["metadata"]["annotations"].setdefault("sidecar.istio.io/status", receipt)
    return raw


def service(
    name: str = "web", *, selector: Mapping[str, str] | None = None, port_name: str = "http", **port: Any
) -> services.Service:
    """A Service of the pod."""
    return services.service(
        {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "selector": dict(selector or {"app": "web"}),
                "ports": [{"port": 80, "targetPort": 8080, "name": port_name, **port}],
            },
        }
    )


def namespace(**labels: str) -> namespaces.Namespace:
    """The pod's namespace; underscores in names stand for ``-``."""
    named = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
    return namespaces.Namespace("shop", named)


def described(raw: Mapping[str, Any], **subject: Any) -> Description:
    """A pod's description."""
    return describe(Subject(pod=pods.pod(raw, "pod.yaml"), **subject))


def findings(
    raw: Mapping[str, Any],
    *,
    state: Any = None,
    standing: Any = None,
    ambient: Any = None,
    gone: Any = (),
    **subject: Any,
) -> tuple[Finding, ...]:
    """All findings about a pod."""
    it = Evidence(description=described(raw, **subject), state=state, standing=standing, ambient=ambient, gone=gone)
    return registry.run(it)


def ids(raw: Mapping[str, Any], **more: Any) -> set[str]:
    """The ids of the findings about a pod."""
    return {f.id for f in findings(raw, **more)}
