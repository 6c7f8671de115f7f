"""Transport and policies where nothing was recorded of a proxy: each case is what istiod makes of the resources."""

from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio.mesh_config import MeshConfig
from meshctl.path import auto_mtls, policies, registry, resource_hosts, wants
from meshctl.path.hosts import Host
from meshctl.path.model import Request
from meshctl.path.scene import Scene
from meshctl.path.wire import Connection
from tests.path.test_assumed import a, endpoints, pod, scene, service

WEB = service("web", "10.96.0.1", (80, "http"))
SLICE = endpoints("web", ("web-1", "10.0.0.11"))
POD = pod("web-1", "10.0.0.11", app="web")
CLUSTER = "outbound|80||web.shop.svc.cluster.local"


def opened(place: Scene, cluster: str = CLUSTER, address: str = "10.96.0.1", **host: Any) -> Connection:
    """The connection that the caller's proxy opens to the first host of a cluster."""
    station = place.station(place.pods[0])
    picked = resource_hosts.hosts(place, station, cluster, address, 80)
    made = replace(picked.chosen[0], **host) if host else picked.chosen[0]
    return auto_mtls.opened(place, station, cluster, made, Request(), 1, False)


def mesh(*objects: dict[str, Any], services: Any = (WEB,), slices: Any = (SLICE,), pods: Any = (POD,)) -> Scene:
    return scene(*objects, services=services, slices=slices, pods=pods)


class TestDestinationRules:
    @pytest.mark.parametrize(
        ("policy", "subset", "layer"),
        [
            ({}, None, "mtls"),
            ({"tls": {"mode": "DISABLE"}}, None, "plaintext"),
            ({"tls": {"mode": "DISABLE"}}, {}, "plaintext"),
            ({"tls": {"mode": "DISABLE"}}, {"portLevelSettings": [{"port": {"number": 80}}]}, "mtls"),
            ({"tls": {"mode": "DISABLE"}}, {"portLevelSettings": [{"port": {"number": 81}}]}, "plaintext"),
            ({"tls": {"mode": "DISABLE"}}, {"tls": {"mode": "SIMPLE"}}, "tls"),
            ({"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}, {}, "plaintext"),
            ({"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 80}}]}, None, "mtls"),
            ({"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 80}}]}, {}, "mtls"),
            ({"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 81}}]}, None, "plaintext"),
        ],
    )
    def test_the_settings_of_a_port_inherit_nothing(self, policy: Any, subset: Any, layer: str) -> None:
        parts = [] if subset is None else [{"name": "v1", **({"trafficPolicy": subset} if subset else {})}]
        rule = a("DestinationRule", "r", {"host": "web", "trafficPolicy": policy, "subsets": parts})
        name = CLUSTER if subset is None else CLUSTER.replace("||", "|v1|")
        assert opened(mesh(rule), name).layer == layer

    def test_the_name_that_is_asked_for(self) -> None:
        own = {"port": {"number": 80}, "tls": {"mode": "ISTIO_MUTUAL", "sni": "db.example.com"}}
        for policy in ({"tls": own["tls"]}, {"portLevelSettings": [own]}):
            rule = a("DestinationRule", "r", {"host": "web", "trafficPolicy": policy})
            found = opened(mesh(rule))
            assert (found.layer, found.sni) == ("mtls", "db.example.com")
        rule = a("DestinationRule", "r", {"host": "web", "trafficPolicy": {"tls": {"mode": "SIMPLE", "sni": "a"}}})
        assert opened(mesh(rule)).sni == "a"
        assert opened(mesh()).sni == "outbound_.80_._.web.shop.svc.cluster.local"


class TestAutomaticMtls:
    def entry(self, **spec: Any) -> dict[str, Any]:
        ports = [{"number": 80, "name": "tcp", "protocol": "TCP"}]
        whole = {"hosts": ["db.example.com"], "ports": ports, "resolution": "STATIC", "location": "MESH_INTERNAL"}
        return a("ServiceEntry", "db", {**whole, **spec})

    @pytest.mark.parametrize(
        ("end", "spec", "layer"),
        [
            ({}, {}, "plaintext"),
            ({"labels": {"security.istio.io/tlsMode": "istio"}}, {}, "mtls"),
            ({"labels": {"security.istio.io/tlsMode": "istio"}}, {"location": "MESH_EXTERNAL"}, "plaintext"),
            ({"serviceAccount": "vm"}, {}, "mtls"),
            ({"serviceAccount": "vm", "labels": {"security.istio.io/tlsMode": "disabled"}}, {}, "plaintext"),
        ],
    )
    @pytest.mark.parametrize("address", ["10.0.0.11", "192.0.2.7"])
    def test_a_listed_endpoint_says_itself_whether_it_has_a_proxy(
        self, end: Any, spec: Any, layer: str, address: str
    ) -> None:
        """Whether a pod with a proxy is at its address does not count (``getTLSModeFromWorkloadEntry``)."""
        place = mesh(self.entry(endpoints=[{"address": address, **end}], **spec))
        assert opened(place, "outbound|80||db.example.com").layer == layer

    def test_pods_that_a_service_entry_selects(self) -> None:
        chosen = {"workloadSelector": {"labels": {"app": "web"}}}
        assert opened(mesh(self.entry(**chosen)), "outbound|80||db.example.com").layer == "mtls"
        place = mesh(self.entry(**chosen, location="MESH_EXTERNAL"))
        assert opened(place, "outbound|80||db.example.com").layer == "plaintext"

    def test_an_endpoint_s_labels_choose_its_peer_authentication(self) -> None:
        off = a("PeerAuthentication", "p", {"selector": {"matchLabels": {"app": "vm"}}, "mtls": {"mode": "DISABLE"}})
        labels = {"security.istio.io/tlsMode": "istio", "app": "vm"}
        place = mesh(off, self.entry(endpoints=[{"address": "10.0.0.11", "labels": labels}]))
        assert opened(place, "outbound|80||db.example.com").layer == "plaintext"

    @pytest.mark.parametrize(
        ("spec", "layer"),
        [
            ({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "DISABLE"}}, "plaintext"),
            ({"mtls": {"mode": "DISABLE"}}, "plaintext"),
            ({"mtls": {"mode": "STRICT"}}, "mtls"),
        ],
    )
    def test_what_the_namespace_demands_counts_for_all_of_its_services(self, spec: Any, layer: str) -> None:
        assert opened(mesh(a("PeerAuthentication", "p", spec))).layer == layer
        strict = {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}}
        both = mesh(a("PeerAuthentication", "p", spec), a("PeerAuthentication", "q", strict))
        if "selector" not in spec:
            assert opened(both).layer == layer

    def test_of_a_headless_service_the_labels_count(self) -> None:
        bare = service("web", "None", (80, "http"))
        ends = endpoints("web", ("web-1", "10.0.0.11"), ("web-2", "10.0.0.12"))
        off = a("PeerAuthentication", "p", {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "DISABLE"}})
        other = pod("web-2", "10.0.0.12", **{"security.istio.io/tlsMode": ""})
        for pods, sure, layer in (
            ((POD, pod("web-2", "10.0.0.12")), True, "mtls"),
            ((POD, other), True, "plaintext"),
            ((POD,), False, "plaintext"),
            ((other,), True, "plaintext"),
        ):
            place = mesh(off, services=(bare,), slices=(ends,), pods=pods)
            found = opened(place, address="10.0.0.11")
            assert (found.layer, found.unsure) == (layer, not sure)

    def test_a_pod_that_was_not_recorded(self) -> None:
        place = mesh(pods=())
        found = opened(place)
        assert (found.mtls, found.unsure) == (None, True)
        host = Host(address="10.0.0.11", port=80, pod="shop/web-1", health="healthy")
        said = wants.sender(place, place.station(place.pods[0]), CLUSTER, host)
        assert "shop/web-1 was not recorded" in said
        assert opened(place, pod="").mtls == "none"  # an endpoint that is no pod has no proxy


class TestPeerAuthentications:
    def place(self, *specs: Any, namespace: str = "shop") -> Scene:
        made = [
            a("PeerAuthentication", f"p{n}", spec, namespace, created=f"2026-01-0{n + 1}")
            for n, spec in enumerate(specs)
        ]
        return mesh(*made, pods=(pod("web-1", "10.0.0.11", namespace, app="web"),))

    def refuses(self, place: Scene) -> bool:
        conn = Connection(source="10.0.0.5", sender=None, layer="plaintext", request=Request())
        return policies.inbound(place, place.station(place.pods[1]), 80, conn).refusal is not None

    def test_of_several_for_a_workload_the_oldest_counts_alone(self) -> None:
        chosen = {"selector": {"matchLabels": {"app": "web"}}}
        young = {**chosen, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "STRICT"}}}
        assert not self.refuses(self.place({**chosen, "mtls": {"mode": "PERMISSIVE"}}, young))
        assert not self.refuses(self.place(chosen, young))
        assert self.refuses(self.place(young, chosen))
        assert self.refuses(self.place({"mtls": {"mode": "STRICT"}}, {"mtls": {"mode": "PERMISSIVE"}}))
        assert not self.refuses(self.place({}, {"mtls": {"mode": "STRICT"}}))

    def test_selectors_in_the_root_namespace_select_nothing(self) -> None:
        chosen = {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}}
        assert not self.refuses(self.place(chosen, namespace="istio-system"))
        assert self.refuses(self.place({"mtls": {"mode": "STRICT"}}, namespace="istio-system"))


class TestPolicies:
    def refuses(self, rule: Any, config: MeshConfig | None = None, ips: Any = (), **conn: Any) -> bool | None:
        tcp = service("web", "10.96.0.1", (80, "tcp" if conn.pop("tcp", False) else "http"))
        owner = pod("web-1", "10.0.0.11", app="web")
        owner["status"]["podIPs"] = [{"ip": ip} for ip in ips or ("10.0.0.11",)]
        place = mesh(a("AuthorizationPolicy", "p", {"rules": [rule]}), services=(tcp,), pods=(owner,))
        place.mesh = replace(place.mesh, config=config or MeshConfig())
        given = {"source": "10.0.0.5", "sender": None, "layer": "mtls", "request": Request(), **conn}
        found = policies.inbound(place, place.station(place.pods[1]), 80, Connection(**given))
        return None if found.undecided else found.refusal is not None

    def test_the_client_s_address_on_a_port_for_tcp(self) -> None:
        for block, refused in (("10.0.0.0/8", False), ("192.0.2.0/24", True)):
            blocks = {"from": [{"source": {"remoteIpBlocks": [block]}}]}
            when = {"when": [{"key": "remote.ip", "values": [block]}]}
            for rule in (blocks, when):
                assert self.refuses(rule, tcp=True, request=Request(protocol="tcp")) is refused

    @pytest.mark.parametrize(
        ("written", "domain", "aliases", "shown", "refused"),
        [
            ("cluster.local", "td", (), "td", False),
            ("cluster.local", "td", ("old",), "old", False),
            ("old", "td", ("old",), "td", False),
            ("td", "td", ("old",), "old", False),
            ("o*", "td", ("old",), "td", False),
            ("*d", "td", ("new",), "new", False),
            ("other", "td", ("old",), "td", True),
            ("cluster.local", "td", (), "cluster.local", True),
            ("cluster.local", "cluster.local", (), "td", True),
            ("*", "td", (), "anything", False),
        ],
    )
    def test_trust_domains(self, written: str, domain: str, aliases: Any, shown: str, refused: bool) -> None:
        config = MeshConfig(trust_domain=domain, trust_domain_aliases=aliases)
        principal = f"{written}/ns/shop/sa/client"
        for rule in (
            {"from": [{"source": {"principals": [principal]}}]},
            {"when": [{"key": "source.principal", "values": [principal]}]},
        ):
            assert self.refuses(rule, config, principal=f"spiffe://{shown}/ns/shop/sa/client") is refused

    def test_the_workload_s_own_address(self) -> None:
        rule = {"when": [{"key": "destination.ip", "values": ["10.0.0.0/24"]}]}
        assert self.refuses(rule) is False
        assert self.refuses({"when": [{"key": "destination.ip", "values": ["10.9.0.0/24"]}]}) is True
        assert self.refuses(rule, ips=("10.0.0.11", "fd00::11")) is None


@pytest.mark.parametrize(
    ("capture", "address", "kind"), [("", "93.184.216.34", "names"), ("true", "240.240.0.7", "own")]
)
def test_addresses_that_istiod_allocated_are_for_proxies_that_capture_dns(
    capture: str, address: str, kind: str
) -> None:
    ports = [{"number": 443, "name": "tls", "protocol": "TLS"}]
    entry = a("ServiceEntry", "api", {"hosts": ["api.example.com"], "ports": ports, "resolution": "DNS"})
    entry["status"] = {"addresses": [{"host": "api.example.com", "value": "240.240.0.7"}]}
    caller = pod("app", "10.0.0.1")
    env = [{"name": "ISTIO_META_DNS_CAPTURE", "value": capture}] if capture else []
    caller["spec"]["containers"].append({"name": "istio-proxy", "image": "istio/proxyv2:1.30.3", "env": env})
    place = scene(entry, pods=(caller,))
    station = place.station(next(one for one in place.pods if one.container("istio-proxy") is not None))
    assert registry.listener(place, station, address, 443).kind == kind


def test_pods_that_look_alike_may_differ_in_what_they_capture() -> None:
    ports = [{"number": 443, "name": "tls", "protocol": "TLS"}]
    entry = a("ServiceEntry", "api", {"hosts": ["api.example.com"], "ports": ports, "resolution": "DNS"})
    entry["status"] = {"addresses": [{"host": "api.example.com", "value": "240.240.0.7"}]}
    pods = []
    for number, env in enumerate(([], [{"name": "ISTIO_META_DNS_CAPTURE", "value": "true"}]), 1):
        made = pod("app", f"10.0.0.{number}")
        made["metadata"]["name"] = f"app-{number}"
        made["spec"]["containers"].append({"name": "istio-proxy", "image": "istio/proxyv2:1.30.3", "env": env})
        pods.append(made)
    place = scene(entry, pods=tuple(pods))
    stations = [place.station(one) for one in place.pods if one.container("istio-proxy") is not None]
    assert [registry.listener(place, one, "240.240.0.7", 443).kind for one in stations] == ["names", "own"]
