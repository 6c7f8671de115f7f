"""Services and EndpointSlices, whatever the API (or a careless hand) puts in them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.kube import services

RAW = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}},
    "spec": {
        "type": "NodePort",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1", "fd00::1"],
        "externalIPs": ["192.0.2.9"],
        "selector": {"app": "web"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "main", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
}
SLICE = {
    "metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"name": "http", "port": 8080}],
    "endpoints": [
        {
            "addresses": ["10.1.0.1"],
            "conditions": {"ready": True},
            "nodeName": "n",
            "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop"},
        },
        {"addresses": ["10.1.0.2"], "conditions": {"ready": False, "serving": True, "terminating": True}},
        {"addresses": ["10.1.0.3"], "conditions": {}},
    ],
}


def test_a_service_is_found_by_all_its_addresses_and_its_node_port() -> None:
    found = services.read([RAW], [SLICE])
    web = found.named("web", "shop")
    assert web is not None
    for address in ("10.0.0.1", "fd00::1", "192.0.2.9", "203.0.113.1"):
        assert found.at(address) is web
    assert found.at("10.0.0.2") is None
    hit = found.at_node_port(30080)
    assert hit is not None
    assert hit[1].number == 80
    assert web.full_name == "web.shop.svc.cluster.local"


def test_endpoints_keep_their_conditions_and_pods() -> None:
    found = services.read([RAW], [SLICE])
    web = found.named("web", "shop")
    assert web is not None
    first, second, third = found.endpoints(web)
    assert (first.pod, first.ready, first.port("http")) == ("shop/web-1", True, 8080)
    assert (second.ready, second.serving, second.terminating) == (False, True, True)
    assert third.ready


def test_a_selector_that_is_not_there_selects_nothing() -> None:
    assert not services.service({"metadata": {"name": "x"}, "spec": {}}).selects({"app": "web"})
    assert services.service(RAW).selects({"app": "web", "more": "x"})


def test_what_is_no_address_is_none() -> None:
    spec = {"clusterIPs": ["10.0.0.1", "x", 7], "externalIPs": ["elb.example", "192.0.2.9"]}
    found = services.service({"metadata": {"name": "a"}, "spec": spec})
    assert (found.addresses, found.external_addresses) == (("10.0.0.1",), ("192.0.2.9",))


def test_headless_has_no_address() -> None:
    web = services.service({"metadata": {"name": "x"}, "spec": {"clusterIP": "None"}})
    assert web.headless
    assert web.addresses == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status", "ports", "endpoints"]), JSON))
@settings(deadline=None, max_examples=100)
def test_no_object_breaks_the_readers(raw: dict[str, object]) -> None:
    services.service(raw)
    services.endpoint_slice(raw)


def test_what_lies_between_two_cluster_ips_is_of_their_range() -> None:
    def at(*addresses: str) -> services.Services:
        return services.read(
            [{"metadata": {"name": a, "namespace": "x"}, "spec": {"clusterIP": a}} for a in addresses], []
        )

    found = at("10.96.0.1", "10.105.2.3", "None")
    assert found.in_range("10.99.99.99")
    assert not found.in_range("10.110.0.1")
    assert not found.in_range("10.95.0.1")
    assert not found.in_range("fd00::5")
    assert not at("10.96.0.1", "192.168.3.4").in_range("172.16.0.1")  # two ranges, and what is between them
    assert not at().in_range("10.96.0.1")
    assert at("fd00::1", "fd00::ffff").in_range("fd00::77")
