"""A pod as a path looks at it: its rules, its proxy, its sockets, and as whom its application runs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from meshctl import json_text
from meshctl.envoy import clusters_json, config_dump, server_info
from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.reading import Json
from meshctl.envoy.server_info import Certificate
from meshctl.errors import MeshctlError
from meshctl.gather.parts import optional, optional_bytes, text_of
from meshctl.gather.walked_rules import RULE_FILES, network_of, rules_of
from meshctl.injection.mode import Injection, recognise
from meshctl.kube import ss
from meshctl.kube.pods import Pod
from meshctl.path import netns
from meshctl.path.scene import Owner, Station
from meshctl.sources.world import Part, World
from meshctl.uncollected import uncollected

_NETNS = (
    "netns/sockets.txt",
    "netns/processes.json",
    "netns/ip-address.json",
    "netns/ip-route.json",
    "netns/ip-rule.json",
    "netns/resolv.conf",
)


def inbound_station(world: World, pod: Pod) -> Station:
    """A pod as others call it: of a sidecar's configuration only what concerns inbound traffic, a tenth of it."""
    return _station(world, pod, _inbound_only if recognise(pod).mode in ("sidecar", "native-sidecar") else None)


def _inbound_only(content: bytes) -> bytes:
    """A config dump without what a sidecar uses for outbound traffic only; as it is where it cannot be read."""
    try:
        document = json_text.loads(content)
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
    wanted = [name for name, _, _ in RULE_FILES] + ["netns/nft.json", *_NETNS]
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
    rulesets, rules_from = rules_of(parts, pod, injection, gaps)
    if rules_from == "seen":  # by one listing or another: what the others would say again is no gap
        for name, _, _ in RULE_FILES:
            if not parts[name].there:
                gaps.pop(name, None)
    network = network_of(parts, pod, gaps)
    sockets = text_of(parts, "netns/sockets.txt")
    containers = _containers(pod)
    processes = optional(parts, "netns/processes.json", netns.processes, gaps) or ()
    return Station(
        pod=pod,
        mode=injection.mode,
        version=injection.release.text,
        revision=injection.revision,
        trust_domain=(injection.proxy.env_value("TRUST_DOMAIN") or "") if injection.proxy is not None else "",
        rulesets=rulesets,
        rules_from=rules_from,
        rules_broken=_broken(parts, gaps) if rules_from == "assumed" else "",
        proxy=optional_bytes(parts, "envoy/config_dump.json", config_dump.parse, gaps),
        live=_Live(world, pod, gaps) if injection.proxy is not None else None,
        load_certificates=_certificates(world, pod, gaps) if injection.proxy is not None else lambda: None,
        sockets=_sockets(sockets, injection, gaps),
        sockets_source=sockets[1] if sockets is not None else "",
        processes=processes,
        owners=_owners(pod, injection, processes, containers, {n: parts[f] for n, f in runtime.items()}),
        network=network,
        resolver=_resolver(parts),
        proxy_uid=injection.proxy_user,
        proxy_gid=injection.proxy_group,
        containers=containers,
        gaps=gaps,
    )


def _broken(parts: Mapping[str, Part], gaps: Mapping[str, str]) -> str:
    """What is wrong with a dump of the rules that is there; empty where none is broken."""
    names = (*(name for name, _, _ in RULE_FILES), "netns/nft.json")
    return next((gaps[n] for n in names if n in gaps and (part := parts.get(n)) is not None and part.there), "")


def _sockets(
    text: tuple[str, str] | None, injection: Injection, gaps: dict[str, str]
) -> tuple[netns.Socket, ...] | None:
    """The listening sockets; None where the listing is not whole: what it lacks would count as not listening."""
    if text is None:
        return None
    found = netns.sockets(text[0])
    if not ss.is_whole(text[0]) or (not found and injection.proxy is not None):
        gaps["netns/sockets.txt"] = f"{text[1]}: not a whole listing of ss"
        return None
    return found


def _certificates(world: World, pod: Pod, gaps: dict[str, str]) -> Callable[[], tuple[Certificate, ...] | None]:
    """What ``/certs`` said, fetched once, when mutual TLS is looked at; None where it is not there or broken."""

    @cache
    def load() -> tuple[Certificate, ...] | None:
        parts = world.parts(pod.namespace, pod.name, ["envoy/certs.json"])
        found: tuple[Certificate, ...] | None = optional_bytes(
            parts, "envoy/certs.json", server_info.certificates, gaps
        )
        return found

    return load


class _Live(Mapping[str, ClusterHosts]):
    """What ``/clusters`` said, fetched when a cluster is asked for, and parsed cluster by cluster."""

    def __init__(self, world: World, pod: Pod, gaps: dict[str, str]) -> None:
        self._world, self._pod, self._gaps = world, pod, gaps
        self._raw: dict[str, Json] | None = None
        self._parsed: dict[str, ClusterHosts] = {}

    def _load(self) -> dict[str, Json]:
        if self._raw is None:
            part = self._world.part(self._pod.namespace, self._pod.name, "envoy/clusters.json")
            try:
                self._raw = clusters_json.statuses(part.content or b"{}", part.source)
            except MeshctlError as error:
                self._raw = {}
                self._gaps["envoy/clusters.json"] = f"{error}; left out"
        return self._raw

    def __getitem__(self, name: str) -> ClusterHosts:
        if name not in self._parsed:
            one = self._load()[name]
            try:
                self._parsed[name] = clusters_json.hosts(one)
            except MeshctlError as error:
                self._gaps["envoy/clusters.json"] = str(error)
                del self._load()[name]
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


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
        user = json_text.loads(part.content)["info"]["runtimeSpec"]["process"]["user"]
        return int(user.get("uid", 0)), int(user.get("gid", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _resolver(parts: Mapping[str, Part]) -> netns.Resolver | None:
    text = text_of(parts, "netns/resolv.conf")
    if text is not None:
        return netns.resolv_conf(*text)
    sandbox = parts.get("runtime/sandbox.json")
    if sandbox is None or sandbox.content is None:
        return None
    try:
        config = json_text.loads(sandbox.content)["info"]["config"]["dns_config"]
        ndots = next((int(o[6:]) for o in config.get("options", ()) if o.startswith("ndots:")), 1)
        return netns.Resolver(
            tuple(config.get("servers", ())), tuple(config.get("searches", ())), ndots, sandbox.source
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
