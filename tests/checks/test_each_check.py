"""Every check with a pod that triggers it and one that nearly does."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshctl.checks import drifted, traced
from meshctl.checks.explained import explained
from meshctl.checks.registry import CHECKS
from meshctl.checks.traced import Failure
from meshctl.envoy import config_dump
from meshctl.envoy.model.basics import IstioConfig
from meshctl.injection import ambient
from meshctl.injection.routes_here import RouteHere, SubsetHere
from meshctl.injection.settings import MeshSettings
from meshctl.injection.standing import Standing
from meshctl.injection.state import Certificate, Listener, Refused, State
from meshctl.injection.timeline import Clues
from meshctl.istio.destination_rule import Subset
from meshctl.istio.resource import Meta
from meshctl.kube.events import Event
from meshctl.kube.owners import Workload
from meshctl.kube.pods import template_pod
from meshctl.origin import NOWHERE
from meshctl.path.model import Cause
from meshctl.sources import shipped
from meshctl.views.findings import titles
from tests.envoy import dumps
from tests.injection import build
from tests.injection.build import findings, injected, namespace, plain, recorded_webhooks, service

T, S = "traffic.sidecar.istio.io/", "sidecar.istio.io/"
HOOKS = recorded_webhooks()
NOW = datetime(2026, 1, 2, tzinfo=UTC)
RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def running(raw: dict[str, Any], *, ready: bool = True, app: Any = None) -> dict[str, Any]:
    statuses = [
        {"name": c["name"], "ready": ready, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        for c in raw["spec"]["containers"]
    ]
    if app is not None:
        statuses[0] = {**statuses[0], **app}
    condition = {"type": "Ready", "status": "True" if ready else "False", "reason": "ContainersNotReady"}
    return {**raw, "status": {"phase": "Running", "conditions": [condition], "containerStatuses": statuses}}


def args(**flags: str) -> list[str]:
    found = list(build.INIT_ARGS)
    for flag, value in flags.items():
        found[found.index(f"-{flag}") + 1] = value
    return found


def without_value(flag: str) -> list[str]:
    found = list(build.INIT_ARGS)
    del found[found.index(flag) + 1]
    return found


def owned(annotations: dict[str, str], in_template: bool = False) -> dict[str, Any]:
    pod = plain()
    template = {"metadata": {"annotations": annotations if in_template else {}}, "spec": pod["spec"]}
    raw = {
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"template": template},
    }
    return {"workload": Workload(template=template_pod(raw))}


def labelled(labels: dict[str, str]) -> dict[str, Any]:
    pod = plain()
    raw = {"kind": "Deployment", "metadata": {"name": "web", "labels": labels}, "spec": {"template": pod}}
    return {"workload": Workload(template=template_pod(raw))}


def sockets(*ports: tuple[str, int]) -> State:
    return State(listeners=tuple(Listener(a, p, "python3", 1, 1000) for a, p in ports))


META = Meta("DestinationRule", "shop", "web", NOWHERE)


def standing(*, pods: int = 1, here: bool | None = True) -> Standing:
    subset = SubsetHere(META, "web.shop.svc.cluster.local", Subset("v1", (("version", "v1"),), None), True, pods)
    route = RouteHere(META, "r", "web.shop.svc.cluster.local", "v1", 100, "every request", ("mesh",), here)
    return Standing(subsets=(subset,), routes=(route,))


def certificates(hours: float) -> State:
    return State(certificates=(Certificate("default", NOW + timedelta(hours=hours), NOW - timedelta(hours=20)),))


def ending(code: int, reason: str = "Error", restarts: int = 5) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z"}}
    return {"lastState": state, "restartCount": restarts}


LATE = "2026-01-01T00:00:09Z\tinfo\tEnvoy proxy is ready\n"
EARLY = "2025-12-31T23:59:50Z\tinfo\tEnvoy proxy is ready\n"


def started(raw: dict[str, Any], proxy: str) -> dict[str, Any]:
    found = running(raw)
    found["status"]["containerStatuses"][1]["state"]["running"]["startedAt"] = proxy
    return found


def proxy(
    *,
    routes: tuple[str, ...] = ("outbound|80||web.shop.svc.cluster.local",),
    host: str = "web.shop.svc.cluster.local",
    port: int = 80,
    endpoints: tuple[str, ...] = ("10.0.0.1",),
    health: str = "HEALTHY",
    state: str = "active_state",
    secrets: str = "dynamic_active_secrets",
) -> State:
    name = f"outbound|80||{host}"
    leads = [
        {"match": {"prefix": "/"}, "route": {"cluster": r.replace("web.shop.svc.cluster.local", host)}} for r in routes
    ]
    config = dumps.route_config("80", dumps.host(f"{host}:{port}", [host], *leads))
    places = [{"socket_address": {"address": a, "port_value": 8080}} for a in endpoints]
    ends = [{"endpoint": {"address": place}, "health_status": health} for place in places]
    eds = {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}] if ends else []}
    known = [{"cluster": {"name": name, "type": "EDS"}}]
    listener = {"name": "l", state: {"listener": dumps.listener("l", "0.0.0.0", 80)}}
    sections = {
        "ClustersConfigDump": {"dynamic_active_clusters": known},
        "EndpointsConfigDump": {"dynamic_endpoint_configs": [{"endpoint_config": eds}]},
        "RoutesConfigDump": {"dynamic_route_configs": [{"route_config": config}]},
        "ListenersConfigDump": {"dynamic_listeners": [listener]},
        "SecretsConfigDump": {secrets: [{"name": "default", "secret": {"tls_certificate": {}}}]},
    }
    configs = [dumps.typed(f"envoy.admin.v3.{kind}", **section) for kind, section in sections.items()]
    return State(proxy=config_dump.read({"configs": configs}, "config_dump.json"))


MIGRATE = {"name": "migrate", "image": "m"}


def with_init(raw: dict[str, Any], at: int) -> dict[str, Any]:
    """The pod with one more init container of the user, at a place of the order."""
    raw["spec"]["initContainers"].insert(at, MIGRATE)
    return raw


def run_as(user: int | None = None, group: int | None = None) -> dict[str, Any]:
    return {"securityContext": {k: v for k, v in (("runAsUser", user), ("runAsGroup", group)) if v is not None}}


def started_as(raw: dict[str, Any], uid: int, gid: int) -> dict[str, Any]:
    return running(raw, app={"user": {"linux": {"uid": uid, "gid": gid}}})


def held(command: str = "pilot-agent wait", first: bool = True) -> dict[str, Any]:
    """A pod whose proxy holds the application, or something like it."""
    hook = {"postStart": {"exec": {"command": ["sh", "-c", command] if " -" in command else command.split()}}}
    raw = injected(HOLD, proxy={"lifecycle": hook})
    if first:
        raw["spec"]["containers"].reverse()
    return raw


def without_proxy(raw: dict[str, Any]) -> dict[str, Any]:
    raw["spec"]["containers"] = [c for c in raw["spec"]["containers"] if c["name"] != "istio-proxy"]
    return raw


def of_job(raw: dict[str, Any]) -> dict[str, Any]:
    raw["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "migrate", "controller": True}]
    return raw


ENDED = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
CONFIGS = (
    ("holdApplicationUntilProxyStarts: maybe", "holdApplicationUntilProxyStarts: yes"),
    ('{"holdApplicationUntilProxyStarts": "true"}', '{"holdApplicationUntilProxyStarts": true}'),
    ("concurrency: x", 'concurrency: "2"'),
    ("concurrency: 1.5", "concurrency: 2.0"),
    ("statusPort: 70000", "statusPort: 15020"),
    ("proxyMetadata: {ISTIO_META_DNS_CAPTURE: true}", 'proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}'),
    ("proxyMetadata: [A]", "proxy_metadata: {A: b}"),
    ("interceptionMode: TPROXI", "interceptionMode: TPROXY"),
    ("terminationDrainDuration: 5", "terminationDrainDuration: 5s"),
    ("meshId: 5", "meshId: mesh5"),
    ("tracing: 5", "tracing: {sampling: 5}"),
    ("extraStatTags: a", "extraStatTags: [a]"),
    ("just words", "{}"),
)
HOLD = {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"}
Case = tuple[str, Callable[[], Any], Callable[[], Any]]
CASES: list[Case] = [
    ("MC101", lambda: findings(injected(app={"securityContext": {"runAsUser": 1337}})),
     lambda: findings(injected(app={"securityContext": {"runAsUser": 1338}}))),
    ("MC101", lambda: findings(injected(securityContext={"runAsUser": 1337})),
     lambda: findings(injected(securityContext={"runAsUser": 1337}, app={"securityContext": {"runAsUser": 1000}}))),
    ("MC101", lambda: findings(injected(init_args=args(u="5000"), app={"securityContext": {"runAsUser": 5000}})),
     lambda: findings(injected(init_args=args(u="5000"), app={"securityContext": {"runAsUser": 1337}}))),
    ("MC101", lambda: findings(injected(securityContext={"runAsGroup": 1337})),
     lambda: findings(injected(securityContext={"fsGroup": 1337, "supplementalGroups": [1337]}))),
    ("MC101", lambda: findings(injected(init_args=[*build.INIT_ARGS, "-g", "77"], app=run_as(group=77))),
     lambda: findings(injected(init_args=[*build.INIT_ARGS, "-g", "77"], app=run_as(group=1337)))),
    ("MC101", lambda: findings(started_as(injected(app=run_as(user=1000)), 1000, 1337)),
     lambda: findings(started_as(injected(app=run_as(user=1337)), 1000, 1000))),
    ("MC101", lambda: findings(injected(inits=[{"name": "logs", "restartPolicy": "Always", **run_as(user=1337)}])),
     lambda: findings(injected(inits=[{"name": "migrate", **run_as(user=1337)}]))),
    ("MC102", lambda: findings(plain(hostNetwork=True), namespace=namespace(istio_injection="enabled"), webhooks=HOOKS),
     lambda: findings(plain(hostNetwork=True), namespace=namespace(), webhooks=HOOKS)),
    ("MC103", lambda: findings(injected({T + "excludeOutboundPort": "1"})),
     lambda: findings(injected({T + "excludeOutboundPorts": "1", "example.com/excludeOutboundPort": "1"}))),
    ("MC103", lambda: findings(injected({"istio.io/dataplane-mode": "ambient"})),
     lambda: findings(injected(labels={"app": "w", "version": "1", "istio.io/dataplane-mode": "ambient"}))),
    ("MC104", lambda: findings(injected({S + "enableCoreDump": "true"}, image="proxyv2:1.24.0")),
     lambda: findings(injected({S + "enableCoreDump": "true"}, image="proxyv2:1.23.0"))),
    ("MC104", lambda: findings(injected({"istio.io/reroute-virtual-interfaces": "net1"}, image="proxyv2:1.24.0")),
     lambda: findings(injected({"istio.io/reroute-virtual-interfaces": "net1"}, image="proxyv2:1.25.0"))),
    ("MC105", lambda: findings(injected(), **owned({T + "excludeOutboundPorts": "1"})),
     lambda: findings(injected({T + "excludeOutboundPorts": "1"}), **owned({T + "excludeOutboundPorts": "1"}, True))),
    ("MC105", lambda: findings(injected(), **labelled({"sidecar.istio.io/inject": "false"})),
     lambda: findings(injected(labels={"sidecar.istio.io/inject": "true"}),
                      **labelled({"sidecar.istio.io/inject": "true"}))),
    ("MC105", lambda: findings(injected(), **labelled({"istio.io/rev": "canary"})),
     lambda: findings(injected(), **labelled({"istio.io/rev": "canary", "app.kubernetes.io/part-of": "istio"}))),
    ("MC106", lambda: findings(injected({T + "excludeOutboundPorts": "8000-8010"})),
     lambda: findings(injected({T + "excludeOutboundPorts": "8000,8010"}))),
    ("MC107", lambda: findings(injected({S + "interceptionMode": "redirect"})),
     lambda: findings(injected({S + "interceptionMode": "REDIRECT"}))),
    ("MC107", lambda: findings(injected({T + "excludeOutboundIPRanges": "10.0.0.1"})),
     lambda: findings(injected({T + "excludeOutboundIPRanges": "10.0.0.1/32"}))),
    ("MC107", lambda: findings(injected({T + "excludeInboundPorts": "http"})),
     lambda: findings(injected({T + "excludeInboundPorts": "80, 443"}))),
    ("MC107", lambda: findings(injected({"proxy.istio.io/config": "a: [1"})),
     lambda: findings(injected({"proxy.istio.io/config": "a: [1]"}))),
    ("MC103", lambda: findings(injected({"proxy.istio.io/config": "nosuchField: 1"})),
     lambda: findings(injected({"proxy.istio.io/config": "hold_application_until_proxy_starts: true"}))),
    ("MC107", lambda: findings(injected({S + "proxyCPU": "abc"})),
     lambda: findings(injected({S + "proxyCPU": "100m", S + "proxyMemory": "1.5Gi", S + "proxyCPULimit": "1e3"}))),
    ("MC107", lambda: findings(injected({T + "excludeInterfaces": "eth0 eth1"})),
     lambda: findings(injected({T + "excludeInterfaces": "eth0, net1"}))),
    ("MC107", lambda: findings(injected({T + "excludeOutboundIPRanges": "10.0.0.0/8, 11.0.0.0/8"})),
     lambda: findings(injected({T + "excludeOutboundIPRanges": "10.0.0.0/8,11.0.0.0/8"}))),
    ("MC107", lambda: findings(injected({T + "excludeInboundPorts": "80,"})),
     lambda: findings(injected({T + "excludeInboundPorts": ""}))),
    ("MC107", lambda: findings(injected({S + "userVolume": "{"})),
     lambda: findings(injected({S + "userVolume": "{}"}))),
    ("MC108", lambda: findings(injected(init_args=without_value("-x"))),
     lambda: findings(injected(init_args=args(x="")))),
    ("MC109", lambda: findings(injected({T + "includeInboundPorts": ""})),
     lambda: findings(injected({T + "excludeInboundPorts": ""}))),
    ("MC110", lambda: findings(injected({T + "includeInboundPorts": "80", T + "excludeInboundPorts": "80"})),
     lambda: findings(injected({T + "includeInboundPorts": "*", T + "excludeInboundPorts": "80"}))),
    ("MC110", lambda: findings(injected(
        {T + "includeOutboundIPRanges": "10.0.0.0/8,11.0.0.0/8", T + "excludeOutboundIPRanges": "10.0.0.0/8"})),
     lambda: findings(injected(
         {T + "includeOutboundIPRanges": "10.0.0.0/8", T + "excludeOutboundIPRanges": "10.1.0.0/16"}))),
    ("MC111", lambda: findings(injected({T + "includeOutboundPorts": "443"})),
     lambda: findings(injected({T + "includeOutboundPorts": "443", T + "includeOutboundIPRanges": ""}))),
    ("MC112", lambda: findings(injected(proxy={"env": [{"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"}]}),
                               mesh_services=(service(port=443),)),
     lambda: findings(injected(proxy={"env": [{"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"}]}),
                      mesh_services=(service(port=8443),))),
    ("MC113", lambda: findings(injected(labels={"app": "web"})),
     lambda: findings(injected(labels={"app.kubernetes.io/name": "web", "app.kubernetes.io/version": "1"}))),
    ("MC114", lambda: findings(injected(), services=(service(port_name=""),)),
     lambda: findings(injected(), services=(service(),))),
    ("MC114", lambda: findings(injected(), services=(service(port_name="smtp"),)),
     lambda: findings(injected(), services=(service(port_name="smtp", port=25),))),
    ("MC114", lambda: findings(injected(), services=(service(port_name="http", appProtocol="kafka"),)),
     lambda: findings(injected(), services=(service(port_name="x", appProtocol="kubernetes.io/h2c"),))),
    ("MC115", lambda: findings(injected(), services=(service("a"), service("b", appProtocol="tcp"))),
     lambda: findings(injected(), services=(service("a"), service("b", appProtocol="http", port=81)))),
    ("MC116", lambda: findings(plain({S + "inject": "true"})),
     lambda: findings(plain(labels={S + "inject": "true"}))),
    ("MC117", lambda: findings(injected(), namespace=build.namespaces.Namespace(
        "shop", {"istio-injection": "enabled", "istio.io/rev": "canary"})),
     lambda: findings(injected(), namespace=build.namespaces.Namespace("shop", {"istio.io/rev": "default"}))),
    ("MC118", lambda: findings(plain(), namespace=build.namespaces.Namespace("shop", {"istio.io/rev": "canary"}),
                               webhooks=HOOKS),
     lambda: findings(plain(), namespace=build.namespaces.Namespace("shop", {"istio.io/rev": "default"}),
                      webhooks=HOOKS)),
    ("MC119", lambda: findings(running(plain()), namespace=namespace(istio_injection="enabled"), webhooks=HOOKS),
     lambda: findings(plain(), namespace=namespace(istio_injection="enabled"), webhooks=HOOKS)),
    ("MC120", lambda: findings(injected({S + "proxyCPU": "1"})),
     lambda: findings(injected(
         {S + k: "1" for k in ("proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit")}))),
    ("MC121", lambda: findings(injected({S + "status": "{"})),
     lambda: findings(injected({S + "status": "{}"}))),
    ("MC121", lambda: findings(plain({"a": True})), lambda: findings(plain({"a": "true"}))),
    ("MC123", lambda: findings(injected(init_args=[*build.INIT_ARGS, "--teleport"])),
     lambda: findings(injected(init_args=[*build.INIT_ARGS, "--native-nftables"]))),
    ("MC123", lambda: findings(injected(init_args=["sh", "-c", "true"])),
     lambda: findings(injected(init_args=["pilot-agent", *build.INIT_ARGS]))),
    ("MC124", lambda: findings(injected(
        app={"livenessProbe": {"httpGet": {"port": 15020, "path": "/app-health/app/livez"}}})),
     lambda: findings(injected(
         app={"livenessProbe": {"httpGet": {"port": 15020, "path": "/app-health/app/livez"}}},
         proxy={"env": [{"name": "ISTIO_KUBE_APP_PROBERS", "value": json.dumps(
             {"/app-health/app/livez": {"httpGet": {"path": "/", "port": 1}}})}]}))),
    ("MC125", lambda: findings(plain(app={"image": "auto"})),  # whether it is injected cannot be told
     lambda: findings(plain(app={"image": "auto:1"}))),
    ("MC125", lambda: findings(running(plain(app={"image": "auto"}))),
     lambda: findings(plain(app={"image": "auto"}), namespace=namespace(istio_injection="enabled"), webhooks=HOOKS)),
    ("MC126", lambda: findings(injected(inits=[{"name": "migrate", "image": "m"}])),
     lambda: findings(injected(inits=[{"name": "migrate", "image": "m"}], native=True))),
    ("MC126", lambda: findings(injected(inits=[{"name": "migrate", "image": "m"}])),
     lambda: findings(injected(inits=[{"name": "migrate", "image": "m", "securityContext": {"runAsUser": 1337}}]))),
    ("MC126", lambda: findings(injected(inits=[MIGRATE], init_args=args(u="50"), securityContext={"runAsUser": 1337})),
     lambda: findings(injected(inits=[MIGRATE], init_args=args(u="50"), securityContext={"runAsUser": 50}))),
    ("MC126", lambda: findings(with_init(injected(init={"name": "istio-validation"}), 0)),
     lambda: findings(with_init(injected(), 0))),
    ("MC126", lambda: findings(with_init(injected(init={"name": "istio-validation"}, native=True), 0)),
     lambda: findings(with_init(injected(init={"name": "istio-validation"}, native=True), 2))),
    ("MC126", lambda: findings(with_init(injected(native=True), 1)),
     lambda: findings(with_init(injected(native=True), 0))),
    ("MC126", lambda: findings(injected(inits=[MIGRATE])),
     lambda: findings(injected(inits=[MIGRATE], init_args=args(i="")))),
    ("MC127", lambda: findings(injected(HOLD, native=True)), lambda: findings(held())),
    ("MC127", lambda: findings(injected(HOLD)), lambda: findings(injected())),
    ("MC127", lambda: findings(held("curl -s localhost:1/ready")), lambda: findings(held("pilot-agent wait --x 1"))),
    ("MC127", lambda: findings(held(first=False)), lambda: findings(held())),
    ("MC133", lambda: findings(running(injected({T + "excludeOutboundPorts": "3306"}))),
     lambda: findings(running(injected({T + "excludeOutboundPorts": "3306"},
                                       init_args=[*build.INIT_ARGS, "-o", "3306"])))),
    ("MC133", lambda: findings(running(injected({T + "excludeInboundPorts": "80,443"}))),
     lambda: findings(running(injected({T + "excludeInboundPorts": "80, 443"},
                                       init_args=args(d="15090,15021,80,443,15020"))))),
    ("MC133", lambda: findings(running(injected({T + "includeOutboundIPRanges": "10.0.0.0/8"}))),
     lambda: findings(running(injected({T + "includeOutboundIPRanges": "10.0.0.0/8"},
                                       init_args=args(i="10.0.0.0/8"))))),
    ("MC133", lambda: findings(running(injected({S + "interceptionMode": "TPROXY"}))),
     lambda: findings(running(injected({S + "interceptionMode": "TPROXY"}, init={"name": "istio-validation"})))),
    ("MC128", lambda: findings(injected(initContainers=[], app={"name": "linkerd-proxy"})),
     lambda: findings(plain(app={"name": "linkerd-proxy"}))),
    ("MC129", lambda: findings(injected(proxy={"env": [{"name": "ISTIO_NEW_THING", "value": "1"}]})),
     lambda: findings(injected(proxy={"env": [{"name": "ISTIO_META_NEW_THING", "value": "1"}]}))),
    ("MC130", lambda: findings(running(plain()), ambient=ambient.of(
        build.pods.pod(running(plain(labels={"istio.io/dataplane-mode": "ambient"}))), None, (), "", None)),
     lambda: findings(running(plain()), ambient=ambient.of(
         build.pods.pod(plain(labels={"istio.io/dataplane-mode": "ambient"})), None, (), "", None))),
    ("MC131", lambda: findings(without_proxy(injected())),
     lambda: findings(without_proxy(injected(init_args=args(b="", i=""))))),
    ("MC131", lambda: findings(without_proxy(injected())),
     lambda: findings(without_proxy(injected(app={"command": ["/usr/local/bin/envoy"]})))),
    ("MC131", lambda: findings(without_proxy(injected())),
     lambda: findings(without_proxy(injected(init={"name": "istio-validation"})))),
    ("MC132", lambda: findings(of_job(injected())), lambda: findings(of_job(injected(native=True)))),
    ("MC132", lambda: findings(of_job(injected())), lambda: findings(injected())),
    ("MC132", lambda: findings(of_job(injected())),
     lambda: findings(of_job(injected(app={"command": ["sh", "-c", "work; curl -XPOST :15020/quitquitquit"]})))),
    ("MC132", lambda: findings(of_job(injected())),
     lambda: findings({**of_job(injected()), "status": {"phase": "Succeeded"}})),
    ("MC132", lambda: findings(running(injected(restartPolicy="Never"), app=ENDED)),
     lambda: findings(running(injected(restartPolicy="Always"), app=ENDED))),
    ("MC201", lambda: findings(started(injected(), "2026-01-01T00:00:01Z"), clues=Clues(proxy_log=LATE)),
     lambda: findings(started(injected(), "2025-12-31T23:59:49Z"), clues=Clues(proxy_log=EARLY))),
    ("MC202", lambda: findings(running(injected(), app=ending(1))),
     lambda: findings(running(injected(), app=ending(0)))),
    ("MC203", lambda: findings(running(injected(), ready=False)), lambda: findings(running(injected()))),
    ("MC204", lambda: findings(injected(image="proxyv2:1.28.0"), control_planes=("1.30.3",)),
     lambda: findings(injected(), control_planes=("1.30.3",))),
    ("MC204", lambda: findings(injected(), settings=MeshSettings(
        values={"global": {"hub": "r", "tag": "1.31.0", "proxy": {"image": "proxyv2"}}})),
     lambda: findings(injected(), settings=MeshSettings(
         values={"global": {"hub": "r", "tag": "1.30.3", "proxy": {"image": "proxyv2"}}}))),
    ("MC205", lambda: findings(injected(), state=certificates(-1), now=NOW),
     lambda: findings(injected(), state=certificates(20), now=NOW)),
    ("MC205", lambda: findings(injected(), state=certificates(2), now=NOW),
     lambda: findings(injected(), state=certificates(12), now=NOW)),
    ("MC206", lambda: findings(injected(), state=State(refused=(Refused("listener", "x", "no such filter"),))),
     lambda: findings(injected(), state=State(refused=()))),
    ("MC207", lambda: findings(running(injected()), services=(service(),), state=sockets(("0.0.0.0", 8081))),
     lambda: findings(running(injected()), services=(service(),), state=sockets(("0.0.0.0", 8080)))),
    ("MC207", lambda: findings(running(injected()), services=(service(),), state=sockets(("127.0.0.1", 8080))),
     lambda: findings(running(injected()), services=(service(),), state=sockets(("127.0.0.1", 8080), ("::", 8080)))),
    ("MC207", lambda: findings(running(injected()), services=(service(),), state=sockets()),
     lambda: findings(running(injected()), services=(service(),), state=State())),
    ("MC208", lambda: findings(running(injected()), state=sockets(("0.0.0.0", 8080), ("0.0.0.0", 9999))),
     lambda: findings(running(injected()), state=sockets(("0.0.0.0", 8080), ("127.0.0.1", 9999)))),
    ("MC209", lambda: findings(injected(), services=(service(targetPort="web"),)),
     lambda: findings(injected(app={"ports": [{"containerPort": 8080, "name": "web"}]}),
                      services=(service(targetPort="web"),))),
    ("MC210", lambda: findings(running(injected(), ready=False), clues=Clues(
        events=(Event("FailedMount", "no such Secret", True, "Pod", "web", "shop"),))),
     lambda: findings(running(injected()), clues=Clues(
         events=(Event("FailedMount", "no such Secret", True, "Pod", "web", "shop"),)))),
    ("MC211", lambda: findings(injected(image="proxyv2:1.33.0"), control_planes=("1.30.3",)),
     lambda: findings(injected(image="proxyv2:1.28.0"), control_planes=("1.30.3",))),
    ("MC211", lambda: findings(injected(image="proxyv2:1.30.4"), control_planes=("1.30.3",)),
     lambda: findings(injected(image="proxyv2:1.30.4"), control_planes=("1.30.3", "1.31.0"))),
    ("MC401", lambda: findings(injected(), state=proxy(routes=("nope",))),
     lambda: findings(injected(), state=proxy())),
    ("MC401", lambda: findings(injected(), state=proxy(routes=("outbound|80|v9|web.shop.svc.cluster.local",), port=80)),
     lambda: findings(injected(),
                      state=proxy(routes=("outbound|81||web.shop.svc.cluster.local",), port=81))),  # nobody can ask
    ("MC402", lambda: findings(injected(), state=proxy(endpoints=())),
     lambda: findings(injected(), state=proxy())),
    ("MC402", lambda: findings(injected(), state=proxy(health="UNHEALTHY")),
     lambda: findings(injected(), state=proxy(endpoints=(), host="web.other.svc.cluster.local"))),  # not its matter
    ("MC403", lambda: findings(injected(), state=proxy(state="warming_state")),
     lambda: findings(injected(), state=proxy())),
    ("MC403", lambda: findings(injected(), state=proxy(secrets="dynamic_warming_secrets")),
     lambda: findings(injected(), state=proxy(secrets="dynamic_active_secrets"))),
    ("MC404", lambda: findings(injected(), gone=(IstioConfig("virtual-service", "shop", "web", "/apis"),)),
     lambda: findings(injected(), gone=())),
    ("MC501", lambda: findings(injected(), standing=standing(pods=0)),
     lambda: findings(injected(), standing=standing())),
    ("MC502", lambda: findings(injected(), standing=standing(here=None)),
     lambda: findings(injected(), standing=standing(here=False))),
]  # fmt: skip


@pytest.mark.parametrize(("id", "triggers", "near"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_it_is_found_where_it_is_and_only_there(id: str, triggers: Callable[[], Any], near: Callable[[], Any]) -> None:
    found = [f for f in triggers() if f.id == id]
    assert found, f"{id} was not found"
    assert all(f.text and f.subject for f in found)
    assert [f.text for f in near() if f.id == id] == []


@pytest.mark.parametrize(
    "may_open", [{"runAsUser": 0}, {"runAsUser": 1337, "capabilities": {"add": ["NET_BIND_SERVICE"]}}]
)
def test_a_proxy_that_may_open_any_port_is_no_finding(may_open: dict[str, Any]) -> None:
    def ids(security: dict[str, Any]) -> set[str]:
        env = [{"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"}]
        proxy = {"env": env, "securityContext": security}
        return {f.id for f in findings(injected(proxy=proxy), mesh_services=(service(port=443),))}

    assert "MC112" in ids({"runAsUser": 1337})
    assert "MC112" not in ids(may_open)


def test_what_the_proxy_waits_for_is_told_where_the_proxy_is_not_ready() -> None:
    waits = "the proxy is ready when it has its certificate"
    for app, proxy in ((True, False), (False, True)):
        raw = running(injected(), ready=proxy, app={"ready": app})
        raw["status"]["conditions"][0]["status"] = "False"
        (found,) = [f for f in findings(raw) if f.id == "MC203"]
        assert (waits in found.text) is (not proxy)


def test_every_check_has_a_case_and_ids_are_unique() -> None:
    ids = [check.ID for check in CHECKS]
    assert len(set(ids)) == len(ids)
    assert {id for id, _, _ in CASES} == set(ids)


def test_every_id_that_any_command_can_print_is_explained() -> None:
    text = shipped.findings()
    assert text == (Path(__file__).parents[2] / "docs" / "findings.md").read_text()
    assert text.count("\n## ") == len(explained(text))
    assert {id for id, _ in titles()} == set(explained(text))


def test_every_explanation_has_all_its_parts() -> None:
    for id, one in explained(shipped.findings()).items():
        assert one.id == id
        assert one.severity.startswith(("error", "warning", "info")), id
        assert all((one.title, one.about, one.example, one.fix)), id
        assert not any(mark in part for part in (*one.about, *one.fix) for mark in ("# ", "**", "](")), id


def test_every_id_in_the_code_has_a_title() -> None:
    code = "\n".join(path.read_text() for path in (Path(__file__).parents[2] / "meshctl").rglob("*.py"))
    written = set(re.findall(r"\bM[CT][1-9]\d\d\b", code)) | set(re.findall(r'Remark\(\s*"([a-z-]+)"', code))
    assert len(written) > 60
    assert written == {id for id, _ in titles()}


def item(kind: str, *, harmless: bool = False) -> Any:
    from meshctl.netfilter.drift_items import Item

    return Item(kind=kind, family="ipv4", table="nat", chain="OUTPUT", effect="e", fix="", harmless=harmless)  # type: ignore[arg-type]


def test_a_difference_of_the_rules_is_a_finding_and_a_harmless_one_a_remark() -> None:
    assert drifted.finding(item("missing"), "pod/a/b").severity == "error"
    assert drifted.finding(item("extra"), "pod/a/b").severity == "warning"
    assert drifted.finding(item("foreign", harmless=True), "pod/a/b").severity == "info"
    assert drifted.finding(item("missing"), "pod/a/b").id == "MC301"


def failure(caller: str, id: str = "MT102", cause: Cause = "no-endpoint", certain: bool = True) -> Failure:
    return Failure(id, f"the words of {cause}", caller, "web.shop", 80, certain, cause)


def severities(*failures: Failure, callers: int = 2, others: Any = ()) -> list[str]:
    return [f.severity for f in traced.findings(failures, callers, others)]


def test_a_request_that_fails_for_every_caller_is_an_error() -> None:
    assert severities(failure("a"), failure("b")) == ["error"]
    assert severities(failure("a")) == ["warning"]
    assert severities(failure("a"), failure("b", certain=False)) == ["warning"]
    (found,) = traced.findings([failure("a"), failure("b")], 3, ())
    assert (found.id, found.subject) == ("MT102", "service/shop/web")
    assert "from a, b (2 of 3 callers)" in found.text


def test_a_request_that_a_policy_refuses_is_a_remark() -> None:
    assert severities(failure("a", "MT105", "policy"), failure("b", "MT105", "policy")) == ["info"]
    for cause in ("fault", "strict", "registry-only"):
        assert severities(failure("a", "MT199", cause)) == ["info"]  # type: ignore[arg-type]
    assert severities(failure("a", "MT107", "mutual-tls")) == ["warning"]


def test_a_failed_request_is_not_told_beside_its_cause() -> None:
    from meshctl.checks.finding import Finding

    cause = Finding(id="MC506", severity="warning", subject="service/shop/web", text="service web selects no pod")
    other = Finding(id="MC506", severity="warning", subject="service/shop/x", text="service website selects no pod")
    assert severities(failure("a"), others=(cause,)) == []
    assert severities(failure("a"), others=(other,)) == ["warning"]


def test_a_misspelt_annotation_is_told_the_nearest_right_one() -> None:
    found = findings(injected({"sidecar.istio.io/excludeOutboundPorts": "1"}))
    assert "traffic.sidecar.istio.io/excludeOutboundPorts" in next(f.fix for f in found if f.id == "MC103")


def test_a_recorded_pod_that_is_well_has_no_errors_or_warnings() -> None:
    found = findings(build.recorded("native-exclude"))
    assert [f.id for f in found if f.severity != "info"] == []


def test_findings_can_be_left_out() -> None:
    from meshctl.checks import registry
    from meshctl.checks.evidence import Evidence

    it = Evidence(description=build.described(injected({T + "includeInboundPorts": ""}, labels={})))
    assert {f.id for f in registry.run(it)} >= {"MC109", "MC113"}
    assert "MC109" not in {f.id for f in registry.run(it, ["mc109"])}


def _told(id: str, found: Any) -> Any:
    return next(f for f in found if f.id == id)


def test_one_restart_is_not_several() -> None:
    assert _told("MC202", findings(running(injected(), app=ending(1, restarts=1)))).text.endswith("(1 restart)")
    assert _told("MC202", findings(running(injected(), app=ending(1, restarts=2)))).text.endswith("(2 restarts)")


def test_the_reason_for_a_closed_port_fits_the_pod() -> None:
    silent = _told("MC207", findings(running(injected()), services=(service(),), state=sockets()))
    assert silent.fix.startswith("the application listens on no port")
    waypoint = build.recorded("waypoint")
    waypoint["metadata"]["namespace"] = "shop"
    port = service(selector={"gateway.networking.k8s.io/gateway-name": "waypoint"}, targetPort=15008)
    refusing = State(listeners=(), refused=(Refused("listener", "main_internal", "no"),))
    assert "refused listeners" in _told("MC207", findings(waypoint, services=(port,), state=refusing)).text
    waiting = State(listeners=(), refused=())
    assert "with its first configuration" in _told("MC207", findings(waypoint, services=(port,), state=waiting)).text


def test_a_proxy_that_is_ahead_is_not_to_be_restarted() -> None:
    tag = MeshSettings(values={"global": {"hub": "docker.io/istio", "tag": "1.30.3", "proxy": {"image": "proxyv2"}}})
    found = findings(injected(image="docker.io/istio/proxyv2:1.33.0"), control_planes=("1.30.3",), settings=tag)
    assert _told("MC211", found).severity == "warning"
    assert not any(f.fix.startswith("restart") for f in found)
    assert "older release" in _told("MC204", found).fix
    patch = findings(injected(image="docker.io/istio/proxyv2:1.30.4"), control_planes=("1.30.3",))
    assert _told("MC211", patch).severity == "info"


@pytest.mark.parametrize(("bad", "good"), CONFIGS)
def test_the_fields_of_the_proxys_own_settings(bad: str, good: str) -> None:
    key = "proxy.istio.io/config"
    assert "MC107" in {f.id for f in findings(injected({key: bad}))}
    assert [f.text for f in findings(injected({key: good})) if f.id in ("MC103", "MC107")] == []


def test_a_value_that_the_injector_refuses_says_so_and_others_do_not() -> None:
    def text(config: str) -> str:
        return _told("MC107", findings(injected({"proxy.istio.io/config": config}))).text

    assert "rejects" in text("concurrency: x")
    assert "rejects" not in text("interceptionMode: TPROXI")
    ignored = _told("MC107", findings(injected({S + "rewriteAppHTTPProbers": "maybe"})))
    assert (ignored.severity, "rejects" in ignored.text) == ("warning", False)


def test_nobody_is_told_to_restart_a_pod_that_would_be_refused() -> None:
    here: dict[str, Any] = {"namespace": namespace(istio_injection="enabled"), "webhooks": HOOKS}
    bad = {T + "excludeOutboundPorts": "80-90"}
    found = findings(running(plain(bad)), **here)
    assert "rejects such a pod" in _told("MC106", found).text
    assert "MC119" not in {f.id for f in found}
    old = findings(running(injected(bad, image="proxyv2:1.28.0")), control_planes=("1.30.3",), **here)
    assert _told("MC204", old).fix.startswith("first correct")


def test_a_pod_that_nobody_injects_is_not_rejected_for_its_annotations() -> None:
    found = findings(running(plain({T + "excludeInboundPorts": "http"})), namespace=namespace(), webhooks=HOOKS)
    assert "once the pod is to be injected" in _told("MC107", found).text


def test_missing_labels_say_what_telemetry_shows() -> None:
    def told(**labels: str) -> Any:
        return _told("MC113", findings(injected(labels={k.replace("__", "/"): v for k, v in labels.items()})))

    assert told(app="web").text == "the pod has no version label: telemetry cannot tell its versions apart"
    assert "after its workload" in told(version="v1").text
    assert told().fix == "add the labels app and version"
    user = {"service.istio.io/canonical-name": "web", "version": "v1"}
    raw = {"kind": "Deployment", "metadata": {"name": "w"}, "spec": {"template": plain(labels=user)}}
    found = findings(injected(labels=user), workload=Workload(template=template_pod(raw)))
    assert "MC113" not in {f.id for f in found}


def test_ports_that_something_opens_are_not_certainly_without_a_proxy() -> None:
    closed = findings(without_proxy(injected()), state=sockets(("0.0.0.0", 8080)))
    assert _told("MC131", closed).severity == "error"
    served = _told("MC131", findings(without_proxy(injected()), state=sockets(("0.0.0.0", 15001))))
    assert (served.severity, served.text.endswith("port 15001 is open all the same (python3)")) == ("warning", True)


def planned(raw: dict[str, Any]) -> set[str]:
    """The ids of what is found in a manifest whose pod would be injected, with rules and an ordinary proxy."""
    raw["metadata"].setdefault("annotations", {})["sidecar.istio.io/nativeSidecar"] = "false"
    settings = MeshSettings(mesh={}, values={"pilot": {"cni": {"enabled": False}}})
    given = {"namespace": namespace(istio_injection="enabled"), "webhooks": HOOKS, "control_planes": ("1.30.3",)}
    return {found.id for found in findings(raw, settings=settings, **given)}


def test_what_the_injector_would_make_of_a_manifest_counts() -> None:
    assert not {"MC101", "MC132"} & planned(plain())
    assert "MC101" in planned(plain(securityContext={"runAsUser": 1337}))
    assert "MC132" in planned(of_job(plain()))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({T + "includeOutboundPorts": "abc"}, {"MC107"}),
        ({T + "includeOutboundPorts": "443", T + "includeOutboundIPRanges": "ten"}, {"MC107"}),
        ({T + "includeInboundPorts": "abc", T + "excludeInboundPorts": "80"}, {"MC107"}),
        ({T + "includeInboundPorts": "80-90", T + "excludeInboundPorts": "80-90"}, {"MC106"}),
        ({T + "includeOutboundPorts": "443"}, {"MC111"}),
    ],
)
def test_what_a_value_that_cannot_be_read_would_do_is_not_told(written: dict[str, str], told: set[str]) -> None:
    kinds = {"MC106", "MC107", "MC110", "MC111"}
    assert {f.id for f in findings(plain(written))} & kinds == told


def test_a_value_of_the_wrong_type_is_an_error_in_a_manifest_only_and_quoted_as_yaml_takes_it() -> None:
    found = _told("MC121", findings(plain({"a": {"b": 1}})))
    assert (found.severity, found.fix.partition(";")[0]) == ("error", "put the value in quotes: '{\"b\": 1}'")
    assert _told("MC121", findings(running(plain({"a": 1})))).severity == "warning"
