"""Every container of a pod, explained: its role, arguments, environment, mounts, ports and health checks."""

from functools import lru_cache
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.injection import effects, origins, probes
from meshctl.injection.catalog import Known
from meshctl.injection.catalog_arguments import (
    AGENT,
    AGENT_COMMANDS,
    AGENT_SHAPES,
    IPTABLES,
    IPTABLES_SHAPES,
    ZTUNNEL_COMMANDS,
)
from meshctl.injection.catalog_environment import ENVIRONMENT, META_JSON_PREFIX, META_MEANING, META_PREFIX
from meshctl.injection.catalog_pod import CONTAINERS, MOUNTS, PORTS, VOLUMES, ZTUNNEL_PORTS
from meshctl.injection.decode import decode
from meshctl.injection.flags import Argument, parse
from meshctl.injection.mode import INIT_NAMES, MESH_NAMES, Injection
from meshctl.injection.origins import Sources
from meshctl.injection.probes import ProbeStory
from meshctl.kube.containers import Container, EnvVar, Mount
from meshctl.kube.pods import Pod

UNKNOWN = "not known to meshctl"
_CORE_DUMP = "part of the shell command that tells the node's kernel where Envoy's core dumps go"


@dataclass(frozen=True, slots=True)
class ArgumentStory:
    """One argument: `meaning` is one sentence with the effect on this pod, `effect` that part alone."""

    flag: str
    value: str | None
    meaning: str
    source: str
    effect: str = ""
    known: bool = True
    default: str = ""
    releases: str = ""


@dataclass(frozen=True, slots=True)
class EnvStory:
    """One environment variable: `value` resolved where that can be told, `taken_from` says what Kubernetes fills in."""

    name: str
    value: str | None
    meaning: str
    taken_from: str = ""
    decoded: tuple[str, ...] = ()
    source: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class MountStory:
    """One mount."""

    path: str
    volume: str
    read_only: bool
    meaning: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class PortStory:
    """One declared port."""

    number: int
    name: str
    protocol: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStory:
    """One container."""

    container: Container
    kind: Literal["init", "sidecar", "app", "ephemeral"]
    by_mesh: bool
    role: str
    arguments: tuple[ArgumentStory, ...] = ()
    env: tuple[EnvStory, ...] = ()
    mounts: tuple[MountStory, ...] = ()
    probes: tuple[ProbeStory, ...] = ()
    ports: tuple[PortStory, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """What meshctl does not know in a container of the mesh."""
        if not self.by_mesh:
            return ()
        return (
            *(f"argument {a.flag}" for a in self.arguments if not a.known),
            *(f"variable {e.name}" for e in self.env if not e.known),
            *(f"mount {m.path}" for m in self.mounts if not m.known),
        )


def containers(sources: Sources) -> tuple[ContainerStory, ...]:
    """Explain all containers, in start order as the manifest has it."""
    known = probes.originals(sources.injection.proxy)
    return tuple(_container(c, sources, probes.stories(c, known)) for c in sources.pod.containers)


def kind_of(container: Container, injection: Injection) -> Literal["init", "sidecar", "app", "ephemeral"]:
    """The kind as a user thinks of it: the proxy beside an application is a sidecar in both layouts.

    Up to 1.17 the template gave istio-init a meaningless ``restartPolicy: Always``: it still runs once.
    """
    if container.name in INIT_NAMES and container.kind == "sidecar":
        return "init"
    if container is injection.proxy and injection.mode in ("sidecar", "grpc") and container.kind == "app":
        return "sidecar"
    return container.kind


def _container(container: Container, sources: Sources, checks: tuple[ProbeStory, ...]) -> ContainerStory:
    injection = sources.injection
    ours = container.name in injection.ours
    arguments = _arguments(container, sources) if ours else _plain_arguments(container)
    return ContainerStory(
        container=container,
        kind=kind_of(container, injection),
        by_mesh=ours,
        role=_role(container, injection, ours),
        arguments=arguments,
        env=tuple(_env(e, sources, ours) for e in container.env),
        mounts=tuple(_mount(m, sources, ours) for m in container.mounts),
        probes=checks,
        ports=tuple(
            PortStory(p.number, p.name, p.protocol, _port_meaning(p.number, injection, ours)) for p in container.ports
        ),
    )


def _role(container: Container, injection: Injection, ours: bool) -> str:
    if not ours:
        if container.kind == "ephemeral":
            return _DEBUG if injection.init is not None else "added to the running pod to debug it"
        if container.name in injection.proxies:
            return "another proxy of the mesh (Envoy, started by pilot-agent) beside the one that is described"
        if container.name in _OTHERS_ROLE:
            return _OTHERS_ROLE[container.name]
        if container.name in MESH_NAMES:
            return _under_that_name(container)
        if container.kind == "init":
            return "an init container of the user: runs to its end before the next one starts"
        if container.kind == "sidecar":
            return "a native sidecar of the user: started before the application, keeps running beside it"
        return _KNOWN_ROLE.get(container.name, "the application") if injection.mesh != "istio" else "the application"
    if container is injection.proxy:
        return _proxy_role(injection)
    own = own_program(container) if container is injection.init else ""
    if own:
        return f"has the name of the mesh's, but {own}: whether it writes rules cannot be told"
    known = CONTAINERS.get(container.name)
    return known.meaning if known else f"added by the injector; {UNKNOWN}"


def _under_that_name(container: Container) -> str:
    """A user's container with a name of the mesh's: the injector merges it with its own where it takes the pod."""
    if container.image == "auto":
        return f"a placeholder of the user for {container.name}: the injector fills it in where it takes the pod"
    return (
        f"the user's own, though its name is {container.name}: the mesh did not add it; where the injector takes a pod "
        "with it, it merges it with its own"
    )


_DEBUG = "added to the running pod to debug it; its connections are captured like the application's"
_OTHERS_ROLE = {
    "linkerd-proxy": "Linkerd's proxy: the pod's connections pass through it",
    "linkerd-init": "writes the rules that send the pod's connections through Linkerd's proxy",
    "linkerd-network-validator": "checks that Linkerd's CNI plugin wrote its rules",
    "kuma-sidecar": "Kuma's proxy (Envoy): the pod's connections pass through it",
    "kuma-init": "writes the rules that send the pod's connections through Kuma's proxy",
    "kuma-validation": "checks that Kuma's CNI plugin wrote its rules",
    "consul-dataplane": "Consul's proxy (Envoy): the pod's connections pass through it",
    "consul-connect-inject-init": "registers the pod with Consul and writes the rules for its proxy",
}
_PROGRAMS = ("istio-iptables", "pilot-agent")


def own_program(init: Container) -> str:
    """What the container runs in place of Istio's program; empty where it runs that."""
    program = init.command[0] if init.command else ""
    if program and program.rpartition("/")[2] not in _PROGRAMS:
        return f"runs something of the user ({' '.join((*init.command, *init.args))})"
    first = init.args[0] if init.args else ""
    if not first and not program:
        return "has no arguments"
    if first and not first.startswith("-") and first.rpartition("/")[2] not in _PROGRAMS:
        return f"runs something of the user ({' '.join(init.args)})"
    return ""


_KNOWN_ROLE = {
    "discovery": "istiod, the mesh's control plane: injects, signs certificates and configures all proxies",
    "install-cni": "the node agent of istio-cni: installs the CNI plugin and redirects the traffic of ambient pods",
}


def _proxy_role(injection: Injection) -> str:
    if injection.agent_mode == "waypoint":
        return "the waypoint's proxy (Envoy): requests for the services that use it pass through it"
    if injection.agent_mode == "ztunnel":
        return "ztunnel: the node's proxy, which the pods of an ambient mesh share"
    if injection.mode == "gateway":
        return "the gateway's proxy (Envoy): it is the application of this pod, and nothing in the pod is captured"
    if injection.mode == "grpc":
        return "the agent alone, without Envoy: fetches certificates and configuration for the gRPC application"
    role = CONTAINERS["istio-proxy"].meaning
    if injection.proxy is not None and injection.proxy.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE":
        role = (
            "the proxy (Envoy, started and watched by pilot-agent). Nothing is captured here (interception mode NONE): "
            "only connections to the ports that it opens itself pass through it"
        )
    if injection.native:
        return (
            f"{role}. It is a native sidecar: an init container that keeps running, so it starts before the application"
        )
    return f"{role}. It is an ordinary container, started together with the application"


def _plain_arguments(container: Container) -> tuple[ArgumentStory, ...]:
    return tuple(ArgumentStory(word, None, "the container's own", "pod template") for word in container.args)


def parsed(container: Container) -> tuple[Argument, ...]:
    """The arguments of a container of the mesh, read as its program reads them."""
    return _parsed(container.args, _is_iptables(container))


@lru_cache(maxsize=512)
def _parsed(words: tuple[str, ...], iptables: bool) -> tuple[Argument, ...]:
    """Most pods of a mesh have the same arguments."""
    return parse(words, IPTABLES_SHAPES if iptables else AGENT_SHAPES)


def _is_iptables(container: Container) -> bool:
    return container.name in INIT_NAMES or container.args[:1] == ("istio-iptables",)


def _arguments(container: Container, sources: Sources) -> tuple[ArgumentStory, ...]:
    if container.name == "enable-core-dump":
        return tuple(ArgumentStory(word, None, _CORE_DUMP, "injection template") for word in container.args)
    arguments = parsed(container)
    catalog = IPTABLES if _is_iptables(container) else AGENT
    commands = ZTUNNEL_COMMANDS if sources.injection.agent_mode == "ztunnel" else AGENT_COMMANDS
    ours = container.args[:1] in (("proxy",), ("istio-iptables",)) or not container.args
    around = effects.context(arguments, sources.pod, sources.injection) if catalog is IPTABLES else None
    found = []
    for argument in arguments:
        known = catalog.get(argument.name) if argument.name else commands.get(argument.flag)
        known = known if ours else None
        effect = effects.of(argument, around) if known and around else ""
        found.append(_argument(argument, known, effect, sources))
    return tuple(found)


def _argument(argument: Argument, known: Known | None, effect: str, sources: Sources) -> ArgumentStory:
    if known is None:
        if _overridden(argument, sources.pod):
            words = "written by the user for this container, in place of the template's arguments"
            return ArgumentStory(argument.flag, argument.value, words, "annotation proxy.istio.io/overrides")
        return ArgumentStory(argument.flag, argument.value, UNKNOWN, "unknown", known=False)
    meaning = f"{known.meaning}. Here: {effect}" if effect else known.meaning
    return ArgumentStory(
        argument.flag,
        argument.value,
        meaning,
        origins.of_argument(argument, sources),
        effect,
        default=known.default,
        releases=known.releases,
    )


def _overridden(argument: Argument, pod: Pod) -> bool:
    text = pod.annotations.get("proxy.istio.io/overrides", "")
    return f'"{argument.flag}' in text or (argument.value is not None and f'"{argument.value}"' in text)


def _env(variable: EnvVar, sources: Sources, ours: bool) -> EnvStory:
    known = ENVIRONMENT.get(variable.name)
    value, taken_from = variable.value, variable.source
    if value is None:
        value = _resolved(variable, sources.pod)
    source = sources.metadata.get(variable.name, "") if ours else ""
    decoded = decode(variable.name, value) if value and (known or ours) else ()
    if known is not None:
        return EnvStory(variable.name, value, known.meaning, taken_from, decoded, source)
    if variable.name.startswith((META_PREFIX, META_JSON_PREFIX)):
        return EnvStory(variable.name, value, META_MEANING, taken_from, decoded, source)
    if not ours:
        return EnvStory(variable.name, value, "the application's own", taken_from)
    if source:
        return EnvStory(
            variable.name, value, "a setting of the user for the proxy (proxyMetadata)", taken_from, (), source
        )
    return EnvStory(variable.name, value, UNKNOWN, taken_from, (), source, known=_theirs(variable.name, sources.pod))


def _theirs(name: str, pod: Pod) -> bool:
    """Whether the user wrote it for the proxy's container: then it is no gap in the catalog."""
    return f'"{name}"' in pod.annotations.get("proxy.istio.io/overrides", "")


def _resolved(variable: EnvVar, pod: Pod) -> str | None:
    match variable.reference:
        case "metadata.name":
            return (pod.name or None) if not pod.template_of else None
        case "metadata.namespace":
            return pod.namespace or None
        case "status.podIP":
            return pod.ip or None
        case "status.hostIP":
            return pod.host_ip or None
        case "spec.nodeName":
            return pod.node or None
        case "spec.serviceAccountName":
            return pod.service_account or None
        case reference if reference.startswith("metadata.labels['"):
            return pod.labels.get(reference[17:-2])
        case reference if reference.startswith("metadata.annotations['"):
            return pod.annotations.get(reference[22:-2])
        case _:
            return None


def _mount(mount: Mount, sources: Sources, ours: bool) -> MountStory:
    known = MOUNTS.get(mount.path.rstrip("/")) or VOLUMES.get(mount.volume)
    if known is not None and (ours or mount.volume in VOLUMES or "serviceaccount" in mount.path):
        return MountStory(mount.path, mount.volume, mount.read_only, known.meaning)
    if not ours:
        return MountStory(mount.path, mount.volume, mount.read_only, "the application's own")
    if _user_volume(mount.volume, sources.pod):
        return MountStory(mount.path, mount.volume, mount.read_only, "a volume of the user for the proxy")
    return MountStory(mount.path, mount.volume, mount.read_only, UNKNOWN, known=False)


def _user_volume(name: str, pod: Pod) -> bool:
    keys = ("sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount", "proxy.istio.io/overrides")
    return any(f'"{name}"' in pod.annotations.get(key, "") for key in keys)


def _port_meaning(number: int, injection: Injection, ours: bool) -> str:
    ports = ZTUNNEL_PORTS if injection.agent_mode == "ztunnel" else PORTS
    known = ports.get(str(number)) if ours else None
    return known.meaning if known else ""
