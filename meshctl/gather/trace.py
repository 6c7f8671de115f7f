"""The scene of a trace: every object of the cluster once, and each pod's and node's parts when a path leads there."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from meshctl.envoy import clusters_json, config_dump
from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.errors import MeshctlError, NoAccess
from meshctl.frozen import dataclass
from meshctl.gather import netns as namespaces
from meshctl.gather.scope import Scope
from meshctl.injection.mode import Injection, recognise
from meshctl.istio import api_routes, mesh_config
from meshctl.istio import mesh as istio_mesh
from meshctl.kube import services as kube_services
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.node_dump import NodeDump
from meshctl.kube.pod_list import Head, PodList
from meshctl.kube.pods import Pod
from meshctl.netfilter import expected, iproute, iptables_save, nft_json, routing
from meshctl.netfilter import release as releases
from meshctl.netfilter.capture import Capture, Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_cni import of_annotations
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Family, Ruleset
from meshctl.path import ambient, netns
from meshctl.path.scene import NodeView, Owner, RulesFrom, Scene, Station
from meshctl.sources import kinds
from meshctl.sources.world import Kind, Objects, Part, World
from meshctl.uncollected import uncollected

_API_KINDS = (kinds.K8S_GATEWAYS, kinds.HTTP_ROUTES, kinds.GRPC_ROUTES, kinds.TCP_ROUTES, kinds.TLS_ROUTES)
_CLUSTER_KINDS = (kinds.PODS, kinds.SERVICES, kinds.ENDPOINT_SLICES, kinds.NAMESPACES, kinds.NODES)
_RULE_FILES = (
    ("netns/iptables-save.txt", "ipv4", "nft"),
    ("netns/iptables-legacy-save.txt", "ipv4", "legacy"),
    ("netns/ip6tables-save.txt", "ipv6", "nft"),
    ("netns/ip6tables-legacy-save.txt", "ipv6", "legacy"),
)
_NODE_DUMPS: tuple[tuple[str, Family], ...] = (
    ("netns/iptables-save.txt", "ipv4"),
    ("netns/ip6tables-save.txt", "ipv6"),
)
_NETNS = (
    "netns/sockets.txt",
    "netns/processes.json",
    "netns/ip-address.json",
    "netns/ip-route.json",
    "netns/ip-rule.json",
    "netns/resolv.conf",
)


def scene(world: World, scope: Scope | None = None) -> Scene:
    """Fetch the cluster's objects; parts of pods and nodes follow when they are asked for."""
    with uncollected():
        return _scene(world, scope)


def _scene(world: World, scope: Scope | None) -> Scene:
    place = _reachable(world, scope or Scope())

    def _objects(world: World, kind: Kind) -> Objects:
        return world.objects(kind, place if kind.namespaced else None)

    prefetch = getattr(world, "prefetch", None)
    if callable(prefetch):
        prefetch([(kind, place if kind.namespaced else None) for kind in (*_CLUSTER_KINDS, *kinds.OF_THE_MESH)])
    pods = _objects(world, kinds.PODS)
    everyone = PodList(pods.items, pods.source)
    services, slices = _objects(world, kinds.SERVICES), _objects(world, kinds.ENDPOINT_SLICES)
    listed = {kind.plural: _objects(world, kind) for kind in kinds.OF_THE_MESH}
    raw_mesh = {plural: (found.source, found.items) for plural, found in listed.items()}
    root = _root(world)
    config_map = world.one(kinds.CONFIG_MAPS, root, "istio")
    config = mesh_config.parse(config_map, f"{world.name}/resources/configmap.{root}.istio.json")
    listed_too = (services, slices, _objects(world, kinds.NAMESPACES), nodes := _objects(world, kinds.NODES))
    namespaces = tuple(map(_name, listed_too[2].items))
    by_name = {_name(raw): raw for raw in nodes.items}
    names = tuple(by_name) or tuple(sorted({head.node for head in everyone.heads if head.node}))
    return Scene(
        pods=everyone,
        services=kube_services.read(services.items, slices.items, (services.source, slices.source)),
        mesh=istio_mesh.read(raw_mesh, config),
        namespaces=namespaces or tuple(sorted({head.namespace for head in everyone.heads})),
        recorded=world.namespaces(),
        services_gap="" if services.recorded else services.gap or "not recorded",
        endpoints_gap="" if slices.recorded else slices.gap or "not recorded",
        gaps=tuple(found.gap for found in (*listed_too, *listed.values()) if found.broken),
        unread=frozenset(
            plural for plural, found in listed.items() if found.broken or (world.live and not found.recorded)
        ),
        load_api=lambda: _api(world, place),
        load_station=lambda pod: station(world, pod),
        load_node=lambda name: _node(world, name, by_name.get(name), everyone.heads),
        nodes=names,
        now=world.now(),
        ztunnel=lambda node: _ztunnel(world, everyone, node),
        answered=lambda pod, port: _answered(world, pod, port),
    )


def _api(world: World, place: str | None) -> api_routes.Converted:
    """The Gateway API's resources, fetched where a proxy's configuration is not there to say what came of them."""
    found = {kind: world.objects(kind, place) for kind in _API_KINDS}
    return api_routes.convert({kind.file_stem: (listed.source, listed.items) for kind, listed in found.items()})


def _name(raw: Mapping[str, Any]) -> str:
    return str((raw.get("metadata") or {}).get("name", ""))


def _root(world: World) -> str:
    told = getattr(world, "root_namespace", None)
    return str(told()) if callable(told) else "istio-system"


def _reachable(world: World, scope: Scope) -> str | None:
    """All namespaces (None), or the only one whose pods the user may list. Raises NoAccess where there is none."""
    try:
        world.objects(kinds.PODS)
    except NoAccess:
        place = scope.namespace or world.default_namespace()
        if not place:
            raise
        return place
    return None


# --- a pod -----------------------------------------------------------------------------------------------------------


def inbound_station(world: World, pod: Pod) -> Station:
    """A pod as others call it: of a sidecar's configuration only what concerns inbound traffic, a tenth of it."""
    return _station(world, pod, _inbound_only if recognise(pod).mode in ("sidecar", "native-sidecar") else None)


def _inbound_only(content: bytes) -> bytes:
    """A config dump without what a sidecar uses for outbound traffic only; as it is where it cannot be read."""
    try:
        document = json.loads(content)
        for part in document["configs"]:
            for key in [k for k in part if k.startswith(("dynamic_", "static_")) and isinstance(part[k], list)]:
                part[key] = [one for one in part[key] if not _of_outbound(one)]
        return json.dumps(document).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return content


def _of_outbound(resource: dict[str, Any]) -> bool:
    """Whether a resource of a dump is one of Istio's for outbound traffic: clusters, endpoints, routes, listeners."""
    for key, name in (("cluster", "name"), ("endpoint_config", "cluster_name")):
        if str(resource.get(key, {}).get(name, "")).startswith("outbound|"):
            return True
    if "route_config" in resource:
        return not str(resource["route_config"].get("name", "")).startswith("inbound")
    listener = resource.get("active_state", {}).get("listener", {})
    return bool(listener.get("traffic_direction") == "OUTBOUND")


def station(world: World, pod: Pod) -> Station:
    """All parts of a pod that a path looks at; what is missing or broken is a gap."""
    with uncollected():
        return _station(world, pod, None)


def _station(world: World, pod: Pod, trim: Callable[[bytes], bytes] | None) -> Station:
    injection = recognise(pod)
    gaps: dict[str, str] = {}
    wanted = [name for name, _, _ in _RULE_FILES] + ["netns/nft.json", *_NETNS]
    if injection.proxy is not None:
        wanted.append("envoy/config_dump.json")
    runtime = _runtime_names(world, pod, injection)
    wanted += ["runtime/sandbox.json", *runtime.values()]
    parts = world.parts(pod.namespace, pod.name, wanted)
    for name, part in parts.items():
        if not part.there and part.gap:
            gaps[name] = part.gap
    if trim is not None and (dump := parts.get("envoy/config_dump.json")) is not None and dump.content is not None:
        parts = {**parts, "envoy/config_dump.json": Part(dump.source, trim(dump.content))}
    rulesets, rules_from = _rules_of(parts, pod, injection, gaps)
    network = _network(parts, pod, gaps)
    sockets = _text(parts, "netns/sockets.txt")
    containers = _containers(pod)
    processes = _optional(parts, "netns/processes.json", netns.processes, gaps) or ()
    return Station(
        pod=pod,
        mode=injection.mode,
        version=str(injection.release),
        rulesets=rulesets,
        rules_from=rules_from,
        proxy=_optional_bytes(parts, "envoy/config_dump.json", config_dump.parse, gaps),
        live=_Live(world, pod, gaps) if injection.proxy is not None else None,
        sockets=_sockets(sockets, injection, gaps),
        sockets_source=sockets[1] if sockets is not None else "",
        processes=processes,
        owners=_owners(pod, injection, processes, containers, {n: parts[f] for n, f in runtime.items()}),
        network=network,
        resolver=_resolver(parts),
        proxy_uid=_proxy_id(injection, "user"),
        proxy_gid=_proxy_id(injection, "group"),
        containers=containers,
        gaps=gaps,
    )


_STATES = frozenset(
    ("LISTEN", "UNCONN", "ESTAB", "TIME-WAIT", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT")
) | {"LAST-ACK", "CLOSING", "State", "Netid"}


def _sockets(
    text: tuple[str, str] | None, injection: Injection, gaps: dict[str, str]
) -> tuple[netns.Socket, ...] | None:
    """The listening sockets; None where the listing is not whole: what it lacks would count as not listening."""
    if text is None:
        return None
    found = netns.sockets(text[0])
    strange = any(line.split() and not _STATES.intersection(line.split()[:2]) for line in text[0].splitlines())
    broken = strange or (text[0] and not text[0].endswith("\n"))
    if broken or (not found and injection.proxy is not None):
        gaps["netns/sockets.txt"] = f"{text[1]}: not a whole listing of ss"
        return None
    return found


def _text(parts: Mapping[str, Part], name: str) -> tuple[str, str] | None:
    part = parts.get(name)
    if part is None or part.content is None:
        return None
    return part.content.decode("utf-8", "replace"), part.source


def _optional(parts: Mapping[str, Part], name: str, parse: Any, gaps: dict[str, str]) -> Any:
    """Parse a text part; where it is missing or broken, None and a gap."""
    found = _text(parts, name)
    if found is None:
        return None
    try:
        return parse(*found)
    except MeshctlError as error:
        gaps[name] = str(error)
        return None


def _optional_bytes(parts: Mapping[str, Part], name: str, parse: Any, gaps: dict[str, str]) -> Any:
    part = parts.get(name)
    if part is None or part.content is None:
        return None
    try:
        return parse(part.content, part.source)
    except MeshctlError as error:
        gaps[name] = str(error)
        return None


@dataclass(frozen=True, slots=True)
class _Found:
    """The rules of a pod's dumps: `seen` are the families that are known, `named` whether by name only in part."""

    rulesets: tuple[Ruleset, ...]
    seen: frozenset[str]
    named: bool = False


def _rules(parts: Mapping[str, Part], gaps: dict[str, str]) -> _Found:
    """The rules that were seen: a dump that is broken counts as none, for its end may be what matters."""
    found: list[Ruleset] = []
    there: dict[str, bytes] = {}
    for name, family, backend in _RULE_FILES:
        text = _text(parts, name)
        if text is None:
            continue
        try:
            found.append(iptables_save.parse(text[0], text[1], family, backend))  # type: ignore[arg-type]
            there[name] = parts[name].content or b""
        except MeshctlError as error:
            gaps[name] = str(error)
    listing = _text(parts, namespaces.LISTING)
    whole = namespaces.seen(there, gaps) >= {"ipv4", "ipv6"}
    if listing is not None and (not whole or _has_native_tables(listing[0])):
        try:
            found += nft_json.parse(*listing)
            there[namespaces.LISTING] = b""
        except MeshctlError as error:
            gaps[namespaces.LISTING] = str(error)
            if whole:  # native tables are there, and they cannot be read
                return _Found((), frozenset())
    try:
        merged = merge(found)
    except MeshctlError as error:
        gaps["netns/iptables-save.txt"] = str(error)
        return _Found((), frozenset())
    return _Found(merged, namespaces.seen(there, gaps), any(r.through_nft and not r.empty for r in merged))


def _families(pod: Pod) -> frozenset[str]:
    """The families that the pod has addresses of."""
    told = frozenset("ipv6" if ":" in ip else "ipv4" for ip in pod.ips or (pod.ip,) if ip)
    return told or frozenset(("ipv4",))


def _rules_of(
    parts: Mapping[str, Part], pod: Pod, injection: Injection, gaps: dict[str, str]
) -> tuple[tuple[Ruleset, ...], RulesFrom]:
    """The rules that were seen, else those that the pod's arguments ask for.

    nft knows some of iptables' matches by name only: where such a listing shows no difference from what the arguments
    ask for, these are taken, since they can be walked.
    """
    found = _rules(parts, gaps)
    known = found.seen >= _families(pod)
    if pod.host_network or (known and not found.named):
        return found.rulesets, "seen" if known else "none"
    wanted = _assumed(pod, injection, gaps)
    if wanted is None and not known and _uncaptured(injection):
        return (), "assumed"
    if wanted is None:
        return (found.rulesets, "seen") if known else ((), "none")
    from meshctl.netfilter.drift import compare  # seldom needed, and costs start-up time

    if known and not compare(wanted, found.rulesets, recorded=found.seen).in_sync:  # type: ignore[arg-type]
        return found.rulesets, "seen"
    return wanted.rulesets, "assumed"


def _uncaptured(injection: Injection) -> bool:
    """Whether nothing writes rules for the pod: interception mode NONE has neither istio-init nor the CNI plugin."""
    proxy = injection.proxy
    return injection.init is None and proxy is not None and proxy.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE"


_TABLE = re.compile(r'"table":\s*\{[^{}]*"family":\s*"(\w+)"[^{}]*"name":\s*"([^"]+)"')
_OF_IPTABLES = frozenset(("nat", "mangle", "raw", "filter", "security"))


def _has_native_tables(text: str) -> bool:
    """Whether a listing holds more than what iptables-save shows as well: reading it costs as much as all the rest."""
    return any(family not in ("ip", "ip6") or name not in _OF_IPTABLES for family, name in _TABLE.findall(text))


def _network(parts: Mapping[str, Part], pod: Pod, gaps: dict[str, str]) -> routing.Network:
    addresses = _optional(parts, "netns/ip-address.json", iproute.parse_addresses, gaps)
    routes = _optional(parts, "netns/ip-route.json", iproute.parse_routes, gaps)
    rules = _optional(parts, "netns/ip-rule.json", iproute.parse_rules, gaps)
    known = addresses if addresses is not None else routing.given_addresses(ip for ip in pod.ips or (pod.ip,) if ip)
    return routing.assemble(known, routes, rules, complete=addresses is not None and routes is not None)


def _assumed(pod: Pod, injection: Injection, gaps: dict[str, str]) -> expected.Expected | None:
    """The rules that the pod's arguments (or annotations) ask for; None for none, or where that cannot be told."""
    wanted = _capture(pod, injection)
    if wanted is None:
        return None
    capture, release = wanted
    addresses = tuple(ip for ip in pod.ips or (pod.ip,) if ip)
    try:
        return expected.predict(capture, release, Network(addresses=addresses))
    except MeshctlError as error:
        gaps["netns/iptables-save.txt"] = f"{gaps.get('netns/iptables-save.txt', '')}; {error}".lstrip("; ")
        return None


def _capture(pod: Pod, injection: Injection) -> tuple[Capture, releases.Release] | None:
    release = releases.tell(image=injection.proxy.image if injection.proxy else "", revision=injection.revision).release
    env = {e.name: e.value or "" for e in (injection.init.env if injection.init else ())}
    try:
        if injection.init is not None and injection.init.name == "istio-init":
            return of_arguments(injection.init.args, env, release), release
        if injection.cni and injection.proxy is not None:
            proxy_env = {e.name: e.value or "" for e in injection.proxy.env}
            security = injection.proxy.security
            return (
                of_annotations(pod.annotations, proxy_env, release, uid=security.user, gid=security.group),
                release,
            )
        if injection.mode == "ambient":
            return of_ambient(pod.annotations), release
    except MeshctlError:
        return None
    return None


class _Live(Mapping[str, ClusterHosts]):
    """What ``/clusters`` said, fetched when a cluster is asked for, and parsed cluster by cluster."""

    def __init__(self, world: World, pod: Pod, gaps: dict[str, str]) -> None:
        self._world, self._pod, self._gaps = world, pod, gaps
        self._raw: dict[str, Any] | None = None
        self._source = ""
        self._parsed: dict[str, ClusterHosts] = {}

    def _load(self) -> dict[str, Any]:
        if self._raw is None:
            part = self._world.part(self._pod.namespace, self._pod.name, "envoy/clusters.json")
            self._source = part.source
            try:
                statuses = json.loads(part.content or b"{}").get("cluster_statuses", ())
                self._raw = {str(one.get("name", "")): one for one in statuses}
            except (ValueError, AttributeError, TypeError, RecursionError):
                self._raw = {}
                self._gaps["envoy/clusters.json"] = f"{self._source}: not what /clusters?format=json says; left out"
        return self._raw

    def __getitem__(self, name: str) -> ClusterHosts:
        if name not in self._parsed:
            one = self._load()[name]
            try:
                self._parsed |= clusters_json.parse(json.dumps({"cluster_statuses": [one]}), self._source)
            except MeshctlError as error:
                self._gaps["envoy/clusters.json"] = str(error)
                del self._load()[name]
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


# --- who sends -------------------------------------------------------------------------------------------------------


def _containers(pod: Pod) -> Mapping[str, str]:
    found = {}
    for container in pod.containers:
        if container.status is not None and container.status.container_id:
            found[container.status.container_id.rpartition("/")[2]] = container.name
    return found


def _runtime_names(world: World, pod: Pod, injection: Injection) -> Mapping[str, str]:
    """The runtime's last record of each container of the application, by the container's name."""
    apps = [c.name for c in pod.app_containers if c.name not in injection.ours]
    listed = world.part_names(pod.namespace, pod.name, "runtime") if apps else ()
    found = {}
    for name in apps:
        records = sorted(n for n in listed if n.startswith(f"container-{name}."))
        if records:
            found[name] = f"runtime/{records[-1]}"
    return found


def _owners(
    pod: Pod,
    injection: Injection,
    processes: Sequence[netns.Process],
    containers: Mapping[str, str],
    records: Mapping[str, Part],
) -> tuple[Owner, ...]:
    """The owners that an application's connection may have: by process, by the runtime's record, by status or spec."""
    found: list[Owner] = []
    for container in pod.app_containers:
        name = container.name
        if name in injection.ours and injection.mode != "gateway":
            continue
        recorded = _runtime_user(records.get(name))
        security = container.security
        user = security.user if security.user is not None else pod.security.user
        group = security.group if security.group is not None else pod.security.group
        told = container.status.user if container.status is not None else None
        if recorded is not None or told is not None:
            user, group = recorded or told or (user, group)
        uids = sorted({p.uid for p in processes if containers.get(p.container) == name})
        if uids:
            found += [Owner(uid, group, f"the processes of container {name}", name) for uid in uids]
        elif recorded is not None:
            found.append(Owner(user, group, f"the runtime's record of {name}", name))
        elif told is not None:
            found.append(Owner(user, group, f"what the kubelet says of {name}", name))
        else:
            source = "not recorded, and not in the spec" if user is None else f"the spec of container {name}"
            found.append(Owner(user, group, source, name))
    return tuple(dict.fromkeys(found))


def _runtime_user(part: Part | None) -> tuple[int, int] | None:
    if part is None or part.content is None:
        return None
    try:
        user = json.loads(part.content)["info"]["runtimeSpec"]["process"]["user"]
        return int(user.get("uid", 0)), int(user.get("gid", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _proxy_id(injection: Injection, which: str) -> int:
    security = injection.proxy.security if injection.proxy is not None else None
    value = getattr(security, which, None) if security is not None else None
    return value if isinstance(value, int) else 1337


def _resolver(parts: Mapping[str, Part]) -> netns.Resolver | None:
    text = _text(parts, "netns/resolv.conf")
    if text is not None:
        return netns.resolv_conf(*text)
    sandbox = parts.get("runtime/sandbox.json")
    if sandbox is None or sandbox.content is None:
        return None
    try:
        config = json.loads(sandbox.content)["info"]["config"]["dns_config"]
        ndots = next((int(o[6:]) for o in config.get("options", ()) if o.startswith("ndots:")), 1)
        return netns.Resolver(
            tuple(config.get("servers", ())), tuple(config.get("searches", ())), ndots, sandbox.source
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


# --- nodes -----------------------------------------------------------------------------------------------------------


def _node(world: World, name: str, raw: Mapping[str, Any] | None, pods: Sequence[Head]) -> NodeView:
    flaws: list[Flaw] = []
    whole = Fields(raw, f"Node {name}", flaws)
    status, spec = whole.below("status"), whole.below("spec")
    addresses = [a.text("address") for a in status.each("addresses") if a.text("type") != "Hostname"]
    if not addresses:
        addresses = sorted({pod.host_ip for pod in pods if pod.node == name and pod.host_ip})
    ranges = spec.texts("podCIDRs") or ((spec.text("podCIDR"),) if spec.text("podCIDR") else ())
    if not ranges:
        own = [ip for pod in pods if pod.node == name and not pod.host_network for ip in (pod.ips or (pod.ip,)) if ip]
        ranges = tuple(dict.fromkeys(f"{ip}/{64 if ':' in ip else 24}" for ip in own))
    dumps, native, gap = _node_rules(world, name)
    parsed: dict[str, tuple[Ruleset, ...]] = {}
    return NodeView(name, tuple(addresses), ranges, lambda address: _about(dumps, native, parsed, address), gap)


_NodeDumps: TypeAlias = Mapping[Family, tuple[NodeDump, str]]


def _node_rules(world: World, name: str) -> tuple[_NodeDumps, tuple[Ruleset, ...], str]:
    """The node's dumps of iptables, cut but not parsed, its native nft tables, and why there are none."""
    dumps: dict[Family, tuple[NodeDump, str]] = {}
    gap = ""
    for part_name, family in _NODE_DUMPS:
        part = world.node_part(name, part_name)
        if part.content is not None:
            dumps[family] = (NodeDump(part.content.decode("utf-8", "replace")), part.source)
        elif family == "ipv4":
            gap = part.gap
    native: tuple[Ruleset, ...] = ()
    listing = world.node_part(name, "netns/nft.json")
    if listing.content is not None and b'"kube-proxy' in listing.content:
        try:
            native = nft_json.parse(listing.content.decode("utf-8", "replace"), listing.source)
        except MeshctlError as error:
            gap = str(error)
    known = native or any(dump.of_kube_proxy for dump, _ in dumps.values())
    return dumps, native, "" if known else gap


def _about(
    dumps: _NodeDumps, native: tuple[Ruleset, ...], parsed: dict[str, tuple[Ruleset, ...]], address: str
) -> tuple[Ruleset, ...]:
    family: Family = "ipv6" if ":" in address else "ipv4"
    if native or family not in dumps:
        return native
    dump, source = dumps[family]
    text = dump.about(address)
    if text not in parsed:
        try:
            parsed[text] = (iptables_save.parse(text, source, family, strict=False),)
        except MeshctlError:
            parsed[text] = ()
    return parsed[text]


def _ztunnel(world: World, pods: PodList, node: str) -> ambient.Ztunnel | None:
    for pod in (pods[index] for index, head in enumerate(pods.heads) if head.node == node):
        if "ztunnel" in (pod.labels.get("app"), pod.labels.get("app.kubernetes.io/name")):
            part = world.part(pod.namespace, pod.name, "ztunnel/config_dump.json")
            if part.content is not None:
                return ambient.read(part.content, part.source)
    return None


def _answered(world: World, pod: Pod, port: int) -> str:
    """A line of the pod's proxy that shows the application answering on a port; empty where there is none."""
    content = world.part(pod.namespace, pod.name, "logs/istio-proxy.txt").content or b""
    marks = (f"inbound|{port}||".encode(), b" via_upstream ")
    for line in reversed(content.splitlines()):
        if all(mark in line for mark in marks):
            return line.decode("utf-8", "replace")
    return ""
