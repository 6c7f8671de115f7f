"""The doctor's round: what is reachable from here, and by which way. Nothing is changed, no failure ends it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshctl.errors import MeshctlError
from meshctl.reports import Grade, Health, Probe
from meshctl.sources import access, capabilities, control_plane, kinds, node
from meshctl.sources.access import Right
from meshctl.sources.connection import Connection
from meshctl.sources.local_pods import Wanted
from meshctl.words import counted

_SECURITY = "meshctl doctor --role read prints the smallest ClusterRole"
_READ = ("pods", "services", "namespaces", "nodes", "events")


def examine(connection: Connection, runtime: str = "auto") -> Health:
    """Look at everything; each part's failure is a probe of its own."""
    cluster = tuple(_cluster(connection))
    local = tuple(_node(runtime))
    return Health((*cluster, *local), _ways(cluster, local))


def _ways(cluster: tuple[Probe, ...], local: tuple[Probe, ...]) -> tuple[tuple[str, bool, str], ...]:
    """What works from here, by the probes."""
    good = {(p.area, p.what) for p in (*cluster, *local) if p.grade == "good"}
    api, root = ("cluster", "API server") in good, ("node", "rights") in good
    runtime = any(area == "node" and what.startswith("runtime") for area, what in good)
    admin = ("permissions", "envoy by port-forward") in good or ("permissions", "envoy by exec") in good
    return (
        ("objects of a cluster: describe, check", api and ("permissions", "read pods") in good, "the API server"),
        ("proxies: trace, proxy", api and admin, "port-forward or exec"),
        ("rules of a pod on this node: iptables", root and runtime, "--via node, or --runtime without an API server"),
        ("rules of any pod", api and ("permissions", "debug pod") in good, "--via debug-pod"),
        ("rules of any pod, from inside", api and ("permissions", "ephemeral container") in good, "--via ephemeral"),
        ("recordings: everything", True, "--snapshot PATH, --demo"),
    )


def _cluster(connection: Connection) -> Iterator[Probe]:
    from meshctl.sources import kube_client
    from meshctl.sources.live import Cluster

    try:
        api = kube_client.connect(connection)
    except MeshctlError as error:
        yield Probe("cluster", "kubeconfig", "bad", str(error), error.hint or "")
        return
    yield Probe("cluster", "kubeconfig", "good", f"context {api.name}, namespace {api.namespace}, server {api.server}")
    began = time.monotonic()
    try:
        about = api.get("/version", (), "ask the version")
    except MeshctlError as error:
        yield Probe("cluster", "API server", "bad", str(error), error.hint or "")
        return
    took = (time.monotonic() - began) * 1000
    yield Probe("cluster", "API server", "good", f"Kubernetes {about.get('gitVersion')}, answered in {took:.0f} ms")
    world = Cluster(api, connection)
    try:
        root_namespace = world.root_namespace()
    except MeshctlError:
        root_namespace = control_plane.USUAL
    yield from _permissions(api, connection.debug_namespace or api.namespace, api.namespace, root_namespace)
    yield from _mesh(world, root_namespace)


def _permissions(api: Any, debug_namespace: str, namespace: str, root_namespace: str) -> Iterator[Probe]:
    from meshctl.sources import debug_pod, ephemeral

    asked: list[tuple[str, tuple[Right, ...], Grade, str]] = [
        (f"read {resource}", (Right("list", resource),), "warn", _SECURITY) for resource in _READ
    ]
    settings = Right("get", "configmaps", "", root_namespace)
    asked.append(("read the mesh's settings", (settings,), "warn", _SECURITY))
    mesh = ("virtualservices.networking.istio.io", "peerauthentications.security.istio.io")
    for full in mesh:
        resource, _, group = full.partition(".")
        asked.append((f"read {resource}", (Right("list", resource, group),), "warn", _SECURITY))
    forward = (Right("create", "pods/portforward", "", namespace), Right("get", "pods/portforward", "", namespace))
    execute = (Right("create", "pods/exec", "", namespace), Right("get", "pods/exec", "", namespace))
    asked += [
        ("envoy by port-forward", forward, "warn", "pods/portforward; exec will do as well"),
        ("envoy by exec", execute, "warn", "pods/exec; port-forward will do as well"),
        ("logs", (Right("get", "pods/log", "", namespace),), "warn", _SECURITY),
        ("debug pod", debug_pod.rights(debug_namespace), "skip", "only needed for --via debug-pod"),
        ("ephemeral container", ephemeral.rights(namespace), "skip", "only needed for --via ephemeral"),
    ]

    def ask(entry: tuple[str, tuple[Right, ...], Grade, str]) -> Probe:
        what, rights, grade, fix = entry
        try:
            lacking = access.missing(api, rights)
        except MeshctlError as error:
            return Probe("permissions", what, "warn", str(error), error.hint or "")
        if not lacking:
            return Probe("permissions", what, "good", "allowed")
        return Probe("permissions", what, grade, f"not allowed: {'; '.join(map(str, lacking))}", fix)

    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(ask, asked)


def _mesh(world: Any, root_namespace: str) -> Iterator[Probe]:
    try:
        found = world.objects(kinds.PODS, root_namespace, "app=istiod")
        hooks = world.objects(kinds.WEBHOOKS)
    except MeshctlError as error:
        yield Probe("mesh", "istiod", "warn", str(error), error.hint or "")
        return
    ready = [pod for pod in found.items if _is_ready(pod)]
    if ready:
        images = sorted({str(c.get("image")) for pod in ready for c in pod.get("spec", {}).get("containers") or ()})
        yield Probe("mesh", "istiod", "good", f"{len(ready)} ready in {root_namespace}: {', '.join(images)}")
    else:
        text = f"none is ready in {root_namespace} ({counted(len(found.items), 'pod')})"
        yield Probe("mesh", "istiod", "warn", text, "another namespace? --istio-namespace NS")
    if not hooks.recorded:
        yield Probe("mesh", "injector", "warn", hooks.gap)
        return
    names = [h["metadata"]["name"] for h in hooks.items if "sidecar-injector" in h.get("metadata", {}).get("name", "")]
    grade: Grade = "good" if names else "warn"
    yield Probe("mesh", "injector", grade, ", ".join(names) or "there is no sidecar injector's webhook")


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _node(runtime: str) -> Iterator[Probe]:
    lacking = capabilities.missing_capabilities()
    if capabilities.is_root() and not lacking:
        yield Probe("node", "rights", "good", "root, with what entering a namespace takes")
    else:
        text = "not root" if not capabilities.is_root() else f"root without {', '.join(lacking)}"
        yield Probe("node", "rights", "skip", text, "on a node: sudo meshctl ...; elsewhere it is not needed")
    yield from _runtimes(runtime)
    programs = ("iptables-save", "ip6tables-save", "iptables-legacy-save", "nft", "ss", "ip", "conntrack")
    absent = capabilities.missing_programs(programs)
    if absent:
        fix = (
            "apt-get install iptables nftables iproute2 conntrack; without iptables-save, native tables are read by nft"
        )
        yield Probe("node", "tools", "warn", f"not installed: {', '.join(absent)}", fix)
    else:
        yield Probe("node", "tools", "good", ", ".join(programs))
    modules = capabilities.missing_modules()
    kernel = f"Linux {capabilities.kernel()}"
    if modules:
        text = f"{kernel}; not seen as modules: {', '.join(modules)}"
        yield Probe(
            "node", "kernel", "skip", text, "a kernel may have them built in, and loads modules when a rule needs them"
        )
    else:
        yield Probe("node", "kernel", "good", f"{kernel}, all modules of packet filtering that Istio uses are there")


def _runtimes(runtime: str) -> Iterator[Probe]:
    for way in node.ways(runtime):
        what = f"runtime {way.name}"
        try:
            found = way.ask(Wanted())
        except MeshctlError as error:
            yield Probe("node", what, "skip", str(error), error.hint or "")
            continue
        if found:
            yield Probe("node", what, "good", counted(len(found), "pod"))
        else:
            yield Probe("node", what, "skip", "no pods here")
