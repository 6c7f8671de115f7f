"""Mesh resources as models, and the rules by which Istio chooses among them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.istio import mesh, mesh_config, virtual_service
from meshctl.istio.destination_rule import rule_for
from meshctl.istio.entries import sidecar_for
from meshctl.istio.mesh import about, entry_for, virtual_services_of
from meshctl.istio.mesh_config import MeshConfig
from meshctl.istio.resource import Meta, host_fits
from meshctl.istio.security import authorization_for, peer_mode
from meshctl.origin import Origin


def resource(name: str, spec: Any, namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def a_mesh(**kinds: list[dict[str, Any]]) -> mesh.Mesh:
    return mesh.read({plural: (f"{plural}.json", items) for plural, items in kinds.items()}, MeshConfig())


def test_short_hosts_are_in_the_namespace_of_the_resource() -> None:
    meta = Meta("VirtualService", "shop", "x", Origin(""))
    assert meta.host("web") == "web.shop.svc.cluster.local"
    assert meta.host("web.other") == "web.other"
    assert meta.host("*") == "*"


def test_wildcards_cover_what_is_below_them_only() -> None:
    assert host_fits("*.example.com", "a.example.com")
    assert not host_fits("*.example.com", "example.com")
    assert host_fits("*", "anything")


def test_a_virtual_service_keeps_rules_in_order_with_their_place() -> None:
    spec = {
        "hosts": ["web"],
        "http": [
            {
                "name": "a",
                "match": [{"uri": {"prefix": "/a"}, "headers": {"X-Y": {"exact": "1"}}}],
                "redirect": {"uri": "/"},
            },
            {
                "route": [
                    {"destination": {"host": "web", "subset": "v1"}, "weight": 80},
                    {"destination": {"host": "web"}},
                ]
            },
        ],
    }
    found = virtual_service.parse(resource("web", spec), "vs.json", 3)
    assert found.hosts == ("web.shop.svc.cluster.local",)
    assert found.gateways == ("mesh",)
    assert found.http[0].redirect_code == 301
    assert found.http[0].matches[0].headers[0][0] == "x-y"
    assert [d.weight for d in found.http[1].destinations] == [80, 0]
    assert found.http[1].path == "items[3].spec.http[1]"


def test_faults_and_retries() -> None:
    spec = {
        "hosts": ["web"],
        "http": [
            {
                "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 50}}, "delay": {"fixedDelay": "2s"}},
                "retries": {"attempts": 0},
                "mirror": {"host": "shadow"},
                "mirrorPercentage": {"value": 25},
            }
        ],
    }
    rule = virtual_service.parse(resource("web", spec), "", 0).http[0]
    assert rule.fault is not None
    assert (rule.fault.abort_percent, rule.fault.abort_status, rule.fault.delay_percent) == (50, 503, 0)
    assert rule.attempts == 0
    assert rule.mirrors[0].weight == 25


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ({}, 100),
        ({"mirrorPercentage": {"value": 25}}, 25),
        ({"mirrorPercentage": {}}, 0),
        ({"mirrorPercent": 40}, 40),
        ({"mirrorPercent": 40, "mirrorPercentage": {"value": 5}}, 5),
    ],
)
def test_the_share_of_copies(said: dict[str, Any], share: int) -> None:
    spec = {"hosts": ["web"], "http": [{"mirror": {"host": "shadow"}, **said}]}
    assert [m.weight for m in virtual_service.parse(resource("web", spec), "", 0).http[0].mirrors] == [share]
    spec = {"hosts": ["web"], "http": [{"mirrors": [{"destination": {"host": "shadow"}}]}]}
    assert [m.weight for m in virtual_service.parse(resource("web", spec), "", 0).http[0].mirrors] == [100]


def test_the_nearest_destination_rule_wins() -> None:
    found = a_mesh(
        destinationrules=[
            resource("root", {"host": "*.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}, "istio-system"),
            resource("home", {"host": "web", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
            resource("mine", {"host": "web.shop.svc.cluster.local"}, "caller"),
        ]
    )

    def chosen(caller: str, host: str) -> str:
        rule = rule_for(found.destination_rules, host, caller, "shop", "istio-system")
        return rule.meta.name if rule else ""

    assert chosen("caller", "web.shop.svc.cluster.local") == "mine"
    assert chosen("else", "web.shop.svc.cluster.local") == "home"
    assert chosen("else", "other.shop.svc.cluster.local") == "root"


def test_peer_modes_go_from_port_to_workload_to_namespace_to_mesh() -> None:
    found = a_mesh(
        peerauthentications=[
            resource("mesh", {"mtls": {"mode": "STRICT"}}, "istio-system"),
            resource("space", {"mtls": {"mode": "PERMISSIVE"}}),
            resource(
                "one",
                {
                    "selector": {"matchLabels": {"app": "web"}},
                    "mtls": {"mode": "STRICT"},
                    "portLevelMtls": {"81": {"mode": "DISABLE"}},
                },
            ),
        ]
    )

    def mode(namespace: str, app: str, port: int) -> str:
        return peer_mode(found.peer_authentications, namespace, {"app": app}, port, "istio-system").mode

    assert mode("shop", "web", 81) == "DISABLE"
    assert mode("shop", "web", 80) == "STRICT"
    assert mode("shop", "db", 80) == "PERMISSIVE"
    assert mode("else", "db", 80) == "STRICT"
    assert peer_mode((), "x", {}, 80, "istio-system").decided_by is None


def test_policies_apply_by_namespace_and_selector() -> None:
    found = a_mesh(
        authorizationpolicies=[
            resource(
                "web",
                {
                    "selector": {"matchLabels": {"app": "web"}},
                    "action": "DENY",
                    "rules": [{"to": [{"operation": {"notPaths": ["/a"]}}]}],
                },
            ),
            resource("all", {}, "istio-system"),
            resource("other", {}, "other"),
        ]
    )
    names = [
        p.meta.name for p in authorization_for(found.authorization_policies, "shop", {"app": "web"}, "istio-system")
    ]
    assert names == ["web", "all"]
    term = found.authorization_policies[0].rules[0].operations[0][0]
    assert (term.field, term.values, term.negated) == ("paths", ("/a",), True)


def test_the_sidecar_of_a_workload_wins_over_that_of_its_namespace() -> None:
    found = a_mesh(
        sidecars=[
            resource("space", {"egress": [{"hosts": ["./*"]}]}),
            resource(
                "one",
                {"workloadSelector": {"labels": {"app": "web"}}, "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
            ),
        ]
    )
    one = sidecar_for(found.sidecars, "shop", {"app": "web"}, "istio-system")
    space = sidecar_for(found.sidecars, "shop", {"app": "db"}, "istio-system")
    assert one is not None
    assert one.outbound_mode == "REGISTRY_ONLY"
    assert space is not None
    assert space.meta.name == "space"


def test_entries_and_virtual_services_are_found_by_their_most_specific_host() -> None:
    found = a_mesh(
        serviceentries=[
            resource("wide", {"hosts": ["*.example.com"]}),
            resource("exact", {"hosts": ["a.example.com"]}),
        ],
        virtualservices=[
            resource("wide", {"hosts": ["*.example.com"]}),
            resource("exact", {"hosts": ["a.example.com"]}),
            resource("gate", {"hosts": ["a.example.com"], "gateways": ["front"]}),
        ],
    )
    entry = entry_for(found, "a.example.com", "shop")
    assert entry is not None
    assert entry.meta.name == "exact"
    assert [v.meta.name for v in about(virtual_services_of(found, "shop"), "a.example.com")] == ["exact", "wide"]
    assert [v.meta.name for v in about(virtual_services_of(found, "shop", "shop/front"), "a.example.com")] == ["gate"]


def test_mesh_config_has_istios_defaults() -> None:
    assert mesh_config.parse(None, "x") == MeshConfig(outbound_mode="")
    text = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\nenableAutoMtls: false\ntrustDomain: td\n"
    found = mesh_config.parse({"data": {"mesh": text}}, "x")
    assert (found.outbound_mode, found.auto_mtls, found.trust_domain) == ("REGISTRY_ONLY", False, "td")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["hosts", "http", "match", "uri", "route", "tls", "rules", "mode"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["hosts", "http", "tcp", "tls", "egress", "servers", "rules", "mtls", "ports"]), JSON
    )
)
@settings(deadline=None, max_examples=100)
def test_no_spec_breaks_the_readers(spec: dict[str, Any]) -> None:
    items = [resource("x", spec)]
    kinds = ("virtualservices", "destinationrules", "peerauthentications", "authorizationpolicies", "gateways")
    a_mesh(**dict.fromkeys((*kinds, "requestauthentications", "sidecars", "serviceentries"), items))
