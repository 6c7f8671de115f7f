"""Reading the containers of a pod's specification, and what the kubelet said of each, into their model."""

from collections.abc import Mapping
from typing import Literal

from meshctl.kube.containers import (
    Action,
    Container,
    ContainerKind,
    ContainerStatus,
    EnvVar,
    Exec,
    Grpc,
    Hook,
    HttpGet,
    Mount,
    Port,
    Probe,
    Running,
    Security,
    Sleep,
    State,
    TcpSocket,
    Terminated,
    UnknownAction,
    Waiting,
)
from meshctl.kube.fields import Fields, shown
from meshctl.origin import Origin

_LISTS: tuple[tuple[str, str, ContainerKind], ...] = (
    ("initContainers", "initContainerStatuses", "init"),
    ("containers", "containerStatuses", "app"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
)


def statuses(status: Fields) -> dict[tuple[str, str], ContainerStatus]:
    """What the kubelet said of each container, by kind (init, app, ephemeral) and name."""
    return {
        (kind, entry.text("name")): _container_status(entry) for _, key, kind in _LISTS for entry in status.each(key)
    }


def containers(spec: Fields, told: Mapping[tuple[str, str], ContainerStatus], source: str) -> tuple[Container, ...]:
    """All containers of a pod's specification in the order init, app, ephemeral."""
    found: list[Container] = []
    for key, _, kind in _LISTS:
        for entry in spec.each(key):
            status = told.get((kind, entry.text("name")))
            found.append(_container(entry, kind, status, source))
    return tuple(found)


def _container(raw: Fields, kind: ContainerKind, status: ContainerStatus | None, source: str) -> Container:
    restart = raw.text("restartPolicy")
    return Container(
        name=raw.text("name"),
        kind="sidecar" if kind == "init" and restart == "Always" else kind,
        image=raw.text("image"),
        command=raw.texts("command"),
        args=raw.texts("args"),
        env=tuple(map(_env, raw.each("env"))),
        ports=tuple(p for p in map(_port, raw.each("ports")) if p is not None),
        mounts=tuple(map(_mount, raw.each("volumeMounts"))),
        probes=_probes(raw),
        hooks=_hooks(raw.below("lifecycle")),
        security=security_of(raw.below("securityContext")),
        limits=_quantities(raw.below("resources").below("limits")),
        restart_policy=restart,
        status=status,
        origin=Origin(source, path=raw.path),
    )


def _quantities(raw: Fields) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), shown(value)) for name, value in raw.raw.items())


def _env(raw: Fields) -> EnvVar:
    name = raw.text("name")
    origin = raw.below("valueFrom") if "valueFrom" in raw.raw else None
    if origin is None or not origin.raw:
        value = raw.raw.get("value")
        if value is not None and not isinstance(value, str):
            raw.wrong(raw.at("value"), "a string", value)
            return EnvVar(name, shown(value))
        return EnvVar(name, value or "")
    if origin.has("fieldRef"):
        path = origin.below("fieldRef").text("fieldPath")
        return EnvVar(name, None, f"field {path}", path)
    if origin.has("resourceFieldRef"):
        ref = origin.below("resourceFieldRef")
        return EnvVar(name, None, f"resource {ref.text('resource')}", ref.text("resource"))
    for key, label in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if origin.has(key):
            ref = origin.below(key)
            return EnvVar(name, None, f"{label} {ref.text('name')} key {ref.text('key')}", ref.text("name"))
    return EnvVar(name, None, shown(origin.raw))


def _port(raw: Fields) -> Port | None:
    number = raw.number("containerPort")
    if number is None:
        return None
    return Port(number, raw.text("name"), raw.text("protocol") or "TCP", raw.number("hostPort"), raw.text("hostIP"))


def _mount(raw: Fields) -> Mount:
    sub_path = raw.text("subPath") or raw.text("subPathExpr")
    return Mount(raw.text("name"), raw.text("mountPath"), bool(raw.flag("readOnly")), sub_path)


_PROBES: tuple[tuple[str, Literal["startup", "readiness", "liveness"]], ...] = (
    ("startupProbe", "startup"),
    ("readinessProbe", "readiness"),
    ("livenessProbe", "liveness"),
)


def _probes(container: Fields) -> tuple[Probe, ...]:
    found = []
    for key, kind in _PROBES:
        raw = container.below(key)
        if raw.raw:
            found.append(
                Probe(
                    kind,
                    _action(raw),
                    raw.number("initialDelaySeconds"),
                    raw.number("periodSeconds"),
                    raw.number("timeoutSeconds"),
                    raw.number("failureThreshold"),
                    raw.number("successThreshold"),
                )
            )
    return tuple(found)


def _hooks(lifecycle: Fields) -> tuple[Hook, ...]:
    found: list[Hook] = []
    if lifecycle.below("postStart").raw:
        found.append(Hook("postStart", _action(lifecycle.below("postStart"))))
    if lifecycle.below("preStop").raw:
        found.append(Hook("preStop", _action(lifecycle.below("preStop"))))
    return tuple(found)


def _action(raw: Fields) -> Action:
    if raw.has("httpGet"):
        get = raw.below("httpGet")
        headers = tuple((h.text("name"), h.text("value")) for h in get.each("httpHeaders"))
        return HttpGet(
            get.text("path") or "/", _port_text(get, "port"), get.text("scheme") or "HTTP", get.text("host"), headers
        )
    if raw.has("tcpSocket"):
        return TcpSocket(_port_text(raw.below("tcpSocket"), "port"), raw.below("tcpSocket").text("host"))
    if raw.has("grpc"):
        return Grpc(_port_text(raw.below("grpc"), "port"), raw.below("grpc").text("service"))
    if raw.has("exec"):
        return Exec(raw.below("exec").texts("command"))
    if raw.has("sleep"):
        return Sleep(raw.below("sleep").number("seconds") or 0)
    return UnknownAction(shown(raw.raw))


def _port_text(raw: Fields, key: str) -> str:
    value = raw.raw.get(key)
    if isinstance(value, str) or type(value) is int:
        return str(value)
    if value is not None:
        raw.wrong(raw.at(key), "a port number or name", value)
    return ""


def security_of(raw: Fields) -> Security:
    """The security context of a pod or a container."""
    if not raw.raw:
        return Security()
    capabilities = raw.below("capabilities")
    return Security(
        user=raw.number("runAsUser"),
        group=raw.number("runAsGroup"),
        non_root=raw.flag("runAsNonRoot"),
        privileged=raw.flag("privileged"),
        read_only_root=raw.flag("readOnlyRootFilesystem"),
        escalation=raw.flag("allowPrivilegeEscalation"),
        added=capabilities.texts("add"),
        dropped=capabilities.texts("drop"),
        fs_group=raw.number("fsGroup"),
    )


def _container_status(raw: Fields) -> ContainerStatus:
    return ContainerStatus(
        name=raw.text("name"),
        ready=bool(raw.flag("ready")),
        started=raw.flag("started"),
        restarts=raw.number("restartCount") or 0,
        state=_state(raw.below("state")),
        last_state=_state(raw.below("lastState")),
        image=raw.text("image"),
        container_id=raw.text("containerID"),
        user=_user(raw.below("user").below("linux")) if raw.has("user") else None,
    )


def _user(raw: Fields) -> tuple[int, int] | None:
    uid, gid = raw.number("uid"), raw.number("gid")
    return (uid, gid) if uid is not None and gid is not None else None


def _state(raw: Fields) -> State | None:
    if raw.has("running"):
        return Running(raw.below("running").time("startedAt"))
    if raw.has("terminated"):
        ended = raw.below("terminated")
        return Terminated(
            ended.number("exitCode"),
            ended.text("reason"),
            ended.text("message"),
            ended.time("startedAt"),
            ended.time("finishedAt"),
            ended.number("signal"),
        )
    if raw.has("waiting"):
        return Waiting(raw.below("waiting").text("reason"), raw.below("waiting").text("message"))
    return None
