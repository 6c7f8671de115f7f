"""All that a trace may look at: the cluster's objects, and per pod what was found in its namespace and its proxy.

A `Scene` asks its loaders for a pod's or node's evidence when a path first leads there, and keeps it; what is missing
is said in `Station.gaps`, never raised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any, Literal, TypeAlias

from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.server_info import Certificate
from meshctl.frozen import dataclass
from meshctl.injection.mode import Mode
from meshctl.istio.api_routes import Converted
from meshctl.istio.entries import WorkloadEntry
from meshctl.istio.extensions import Extension
from meshctl.istio.mesh import Mesh
from meshctl.istio.mesh_config import MeshConfig
from meshctl.kube.network_policies import NetworkPolicies
from meshctl.kube.pod_list import heads
from meshctl.kube.pods import ENDED, Pod
from meshctl.kube.services import Services
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.routing import Network, Route
from meshctl.path.netns import Process, Resolver, Socket

RulesFrom: TypeAlias = Literal["seen", "assumed", "none"]

SYSTEM = "kube-system"
"""The namespace that Kubernetes itself has in every cluster."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the sending socket; None where that is not known. `source` says how it is known."""

    uid: int | None
    gid: int | None
    source: str
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A pod with all that was found of it; None means that it was not looked at (see `gaps`, by part).

    `load_certificates` reads what the proxy says of its certificates when a path first asks for it. `rules_broken` says
    which dump of the rules is there and cannot be read, where others are assumed in its place.
    """

    pod: Pod
    mode: Mode
    version: str = ""
    revision: str = ""
    trust_domain: str = ""
    rulesets: tuple[Ruleset, ...] = ()
    rules_from: RulesFrom = "none"
    rules_broken: str = ""
    proxy: ConfigDump | None = None
    live: Mapping[str, ClusterHosts] | None = None
    load_certificates: Callable[[], tuple[Certificate, ...] | None] = lambda: None
    sockets: tuple[Socket, ...] | None = None
    sockets_source: str = ""
    processes: tuple[Process, ...] = ()
    owners: tuple[Owner, ...] = ()
    network: Network = field(default_factory=Network)
    resolver: Resolver | None = None
    proxy_uid: int = 1337
    proxy_gid: int = 1337
    containers: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.pod.namespace}/{self.pod.name}"

    def own_ip(self, like: str) -> str:
        """The pod's own address of the family that another one is of; empty where it has none."""
        own = (self.pod.ip, *self.pod.ips)
        return next((ip for ip in own if ip and (":" in ip) == (":" in like)), "")

    @property
    def has_proxy(self) -> bool:
        """Whether the pod has an Envoy of its own, recorded or not."""
        return self.mode in ("sidecar", "native-sidecar", "gateway")

    @property
    def identity(self) -> str:
        """The service account as the mesh's certificates name it, without the trust domain."""
        return f"ns/{self.pod.namespace}/sa/{self.pod.service_account or 'default'}"


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What a node does with packets beside kube-proxy's choice; `routes` None: not recorded."""

    rulesets: tuple[Ruleset, ...]
    routes: tuple[Route, ...] | None


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node: its addresses, the range of its pods, and its own rules about an address (none: not recorded).

    `beside` are those beside kube-proxy's that stop or translate what passes it, what it takes or what it sends; None
    where there are none, or where that is not recorded;
    `behind` are the rules behind kube-proxy's that translate what comes to the node itself, None for none.
    `without_kube_proxy`: its rules were recorded, and none of them is kube-proxy's. `unread`: why nft's own tables,
    which are there, cannot be read.
    """

    name: str
    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...]
    rules_about: Callable[[str], tuple[Ruleset, ...]] = lambda _address: ()
    gap: str = ""
    beside: Callable[[], NodeRules | None] = lambda: None
    without_kube_proxy: bool = False
    behind: Callable[[], NodeRules | None] = lambda: None
    unread: str = ""


Extensions = tuple[tuple[Extension, ...], tuple[str, ...]]
"""EnvoyFilters and WasmPlugins, and which of the two kinds could not be read."""


@dataclass(slots=True)
class Scene:
    """The cluster, with loaders for what costs something to read.

    `recorded` are the namespaces whose objects are known, empty for all; `only` is the one that the user may read, if
    there is but one: others may be there that nothing names. `compares`: whether a proxy's configuration is compared
    with the resources that it should come from.
    `gone`: whether the cluster says now that a pod (``namespace/name``) is not there; a recording cannot be asked.
    `namespace_labels` and `node_labels` are those of what was recorded. `network_policies` gives a namespace's,
    `ingresses` and `workload_entries` all there are, None where they could not be read; `settings_of` is by revision.
    """

    pods: Sequence[Pod]
    services: Services
    mesh: Mesh
    namespaces: tuple[str, ...]
    recorded: tuple[str, ...]
    load_station: Callable[[Pod], Station]
    load_node: Callable[[str], NodeView]
    nodes: tuple[str, ...] = ()
    services_gap: str = ""
    endpoints_gap: str = ""
    gaps: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()
    now: datetime | None = None
    load_api: Callable[[], Converted] | None = None
    settings_of: Callable[[str], MeshConfig] = lambda _revision: MeshConfig()
    ztunnel: Callable[[str], object] = lambda _node: None
    answered: Callable[[Pod, int], str] = lambda _pod, _port: ""
    gone: Callable[[str], bool] = lambda _key: False
    compares: bool = True
    only: str = ""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    extensions: Callable[[], Extensions] = lambda: ((), ())
    workload_entries: Callable[[], tuple[WorkloadEntry, ...] | None] = lambda: ()
    ingresses: Callable[[], Sequence[Mapping[str, Any]] | None] = lambda: ()
    network_policies: Callable[[str], NetworkPolicies] = lambda _namespace: NetworkPolicies()
    cache: dict[object, object] = field(default_factory=dict)
    _stations: dict[str, Station] = field(default_factory=dict)
    _nodes: dict[str, NodeView] = field(default_factory=dict)
    _by_ip: dict[str, int] = field(default_factory=dict)
    _by_name: dict[str, int] = field(default_factory=dict)
    _by_endpoint: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, pod in enumerate(heads(self.pods)):
            self._by_name.setdefault(f"{pod.namespace}/{pod.name}", index)
            if pod.host_network or pod.phase in ENDED:
                continue
            for address in (*pod.ips, pod.ip):
                if address:
                    self._by_ip.setdefault(address, index)

    @property
    def all_recorded(self) -> bool:
        """Whether the pods of every namespace are known: a list without that of Kubernetes is not all of them."""
        whole = not self.only and SYSTEM in self.namespaces
        return whole and (not self.recorded or set(self.namespaces) <= set(self.recorded))

    @property
    def told(self) -> Mesh:
        """The mesh's resources with the Gateway API's among them, which are read when this is first asked for."""
        if self.load_api is not None:
            self.mesh = replace(self.mesh, api=self.load_api())
            self.load_api = None
        return self.mesh

    def settings(self, station: Station) -> MeshConfig:
        """The mesh's settings as the control plane of a pod's revision has them."""
        usual = station.revision in ("", "default")
        own = self.mesh.config if usual else self.settings_of(station.revision)
        found = own if own.source else self.mesh.config
        return found if found.source or not station.trust_domain else replace(found, trust_domain=station.trust_domain)

    def station(self, pod: Pod) -> Station:
        """A pod's evidence, read once."""
        key = f"{pod.namespace}/{pod.name}"
        if key not in self._stations:
            self._stations[key] = with_whole_proxy(self.load_station(pod))
        return self._stations[key]

    def without_broken_proxy(self, error: str) -> bool:
        """Go on without the proxy's configuration that an error is about; False where it is about none."""
        for key, station in self._stations.items():
            if station.proxy is not None and error.startswith(station.proxy.source):
                gaps = {**station.gaps, "envoy/config_dump.json": error}
                self._stations[key] = replace(station, proxy=None, gaps=gaps)
                return True
        return False

    def node(self, name: str) -> NodeView:
        """A node's evidence, read once."""
        if name not in self._nodes:
            self._nodes[name] = self.load_node(name)
        return self._nodes[name]

    def pod_at(self, address: str) -> Pod | None:
        """The pod with a network of its own that has this address."""
        index = self._by_ip.get(address)
        return None if index is None else self.pods[index]

    def ended_at(self, address: str) -> Pod | None:
        """The pod that had an address and has ended, where none has it now."""
        known = enumerate(heads(self.pods))
        ended = ((i, h) for i, h in known if h.phase in ENDED and not h.host_network)
        return next((self.pods[i] for i, h in ended if address in (h.ip, *h.ips)), None)

    def pod_named(self, key: str) -> Pod | None:
        """A pod by ``namespace/name``."""
        index = self._by_name.get(key)
        return None if index is None else self.pods[index]

    def pods_of_node_network(self, node: str) -> list[Pod]:
        """The pods that share a node's own network."""
        known = enumerate(heads(self.pods))
        return [self.pods[index] for index, head in known if head.host_network and head.node == node]

    def pods_in(self, namespace: str) -> list[Pod]:
        """The pods of a namespace; no others are read."""
        return [self.pods[index] for index, head in enumerate(heads(self.pods)) if head.namespace == namespace]

    def pods_on(self, node: str) -> list[Pod]:
        """The pods of a node that have not ended, with networks of their own."""
        known = enumerate(heads(self.pods))
        return [
            self.pods[index]
            for index, head in known
            if head.node == node and not head.host_network and head.phase not in ENDED
        ]

    def node_at(self, address: str) -> NodeView | None:
        """The node that has this address."""
        return next((self.node(name) for name in self.nodes if address in self.node(name).addresses), None)

    def endpoint_pod(self, address: str) -> str:
        """The pod (``namespace/name``) that an EndpointSlice names for an address, empty for none."""
        if not self._by_endpoint:
            for part in self.services.slices:
                for endpoint in part.endpoints:
                    if endpoint.pod:
                        self._by_endpoint.setdefault(endpoint.address, endpoint.pod)
        return self._by_endpoint.get(address, "")

    def endpoint_of(self, address: str) -> str:
        """The Service (``namespace/name``) of which an EndpointSlice has an address, empty for none."""
        found = (part for part in self.services.slices if any(e.address == address for e in part.endpoints))
        return next((f"{part.namespace}/{part.service}" for part in found), "")

    def in_pod_range(self, address: str) -> bool:
        """Whether an address lies in a node's pod range, so that a pod outside of the recording may have it."""
        wanted = ip_address(address)
        return any(_inside(wanted, text) for name in self.nodes for text in self.node(name).pod_ranges)

    def node_of(self, address: str) -> str:
        """The node whose pod has an address, or may have it by the node's range; empty where there is none."""
        pod = self.pod_at(address)
        if pod is not None:
            return pod.node
        wanted = ip_address(address)
        return next((n for n in self.nodes if any(_inside(wanted, text) for text in self.node(n).pod_ranges)), "")

    def principal(self, station: Station) -> str:
        """The SPIFFE id that a pod's certificate carries: as recorded, else as istiod issues it."""
        shown = (one.principal for one in station.load_certificates() or () if one.kind == "certificate")
        return next(filter(None, shown), f"spiffe://{self.settings(station).trust_domain}/{station.identity}")


def with_whole_proxy(station: Station) -> Station:
    """A pod without a configuration that is there in part only: what it lacks would count as not configured."""
    dump = station.proxy
    lacking = [part for part in ("Listeners", "Clusters") if dump is not None and not dump.has(part)]
    if dump is None or not lacking:
        return station
    why = f"{dump.source} has no {' and no '.join(part.lower() for part in lacking)}, so it is left out"
    return replace(station, proxy=None, gaps={**station.gaps, "envoy/config_dump.json": why})


def _inside(wanted: object, text: str) -> bool:
    try:
        return wanted in ip_network(text, strict=False)
    except (ValueError, TypeError):
        return False
