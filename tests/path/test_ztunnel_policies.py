"""AuthorizationPolicies as ztunnel enforces them where what it was told was not recorded."""

from typing import Any

import pytest

from meshctl.istio.mesh_config import MeshConfig
from meshctl.path import ambient
from meshctl.path.model import End, Request
from meshctl.path.wire import Connection
from tests.path.test_assumed import a, pod, scene

WHO = "spiffe://example.org/ns/shop/sa/client"


def ends(*policies: dict[str, Any], who: str = WHO, aliases: tuple[str, ...] = ()) -> End | None:
    """What becomes of a connection to a pod of ztunnel's; None where it is let in."""
    config = MeshConfig(trust_domain="example.org", trust_domain_aliases=aliases)
    made = [a("AuthorizationPolicy", f"p{number}", spec) for number, spec in enumerate(policies)]
    place = scene(*made, pods=(pod("web", "10.0.0.11"),), config=config)
    conn = Connection(source="10.0.0.5", sender=None, layer="mtls", principal=who, request=Request(path="/admin"))
    return ambient.inbound(place, place.station(place.pods[1]), "10.0.0.11", 8080, conn)[1]


def recorded(*rule: list[dict[str, Any]], who: str = WHO) -> End | None:
    """The same with a policy of one rule that ztunnel has."""
    clauses = tuple(tuple(clause) for clause in rule)
    policy = ambient.Policy("shop/p", "Allow", "Global", "shop", (clauses,))
    place = scene(pods=(pod("web", "10.0.0.11"),))
    node = ambient.Workload("web", "shop", ("10.0.0.11",), True, "", (), "")
    place.ztunnel = lambda _node: ambient.Ztunnel("z", {"10.0.0.11": node}, (policy,), {})
    conn = Connection(source="10.0.0.5", sender=None, layer="mtls", principal=who, request=Request())
    return ambient.inbound(place, place.station(place.pods[1]), "10.0.0.11", 8080, conn)[1]


def by(principal: str) -> dict[str, Any]:
    return {"rules": [{"from": [{"source": {"principals": [principal]}}]}]}


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("example.org/ns/shop/sa/client", True),
        ("cluster.local/ns/shop/sa/client", False),
        ("old.example.org/ns/shop/sa/client", False),
        ("*/ns/shop/sa/client", True),
        ("spiffe://example.org/ns/shop/sa/client", False),
    ],
)
def test_trust_domains_stay_as_they_are_written(principal: str, allowed: bool) -> None:
    found = ends(by(principal), aliases=("old.example.org",))
    assert (found is None) is allowed
    assert found is None or (found.cause, found.undecided) == ("policy", ())


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}, True),
        ({"action": "AUDIT", "rules": [{}]}, True),
        ({"action": "DENY", "targetRefs": [{"kind": "Service", "name": "web"}], "rules": [{}]}, True),
        ({"action": "DENY", "rules": [{}]}, False),
        ({"action": "DENY"}, True),
        ({}, False),
        ({"rules": [{}]}, True),
        ({"rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]}, False),
        ({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/none"], "ports": ["99"]}}]}]}, True),
        ({"rules": [{"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}]}, False),
        ({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/none"], "ports": ["8080"]}}]}]}, False),
        ({"rules": [{"when": [{"key": "connection.sni", "notValues": ["x"]}]}]}, False),
        ({"rules": [{"when": [{"key": "destination.ip", "values": ["10.0.0.11"]}]}]}, True),
        ({"rules": [{"from": [{"source": {"serviceAccounts": ["client"]}}]}]}, True),
        ({"rules": [{"from": [{"source": {"namespaces": ["other"]}}]}]}, False),
    ],
)
def test_what_a_connection_does_not_tell_never_allows(spec: dict[str, Any], allowed: bool) -> None:
    found = ends(spec)
    assert (found is None) is allowed
    assert found is None or found.undecided == ()


@pytest.mark.parametrize(
    "rule",
    [
        {"to": [{"operation": {"paths": ["/none"]}}]},
        {"when": [{"key": "remote.ip", "values": ["192.0.2.1"]}]},
        {"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"methods": ["PUT"]}}]},
    ],
)
def test_a_denial_that_asks_for_nothing_of_a_connection_stays_open(rule: dict[str, Any]) -> None:
    found = ends({"action": "DENY", "rules": [rule]})
    assert found is not None
    assert found.undecided
    elsewhere = {**rule, "from": [{"source": {"namespaces": ["other"]}}]}
    assert ends({"action": "DENY", "rules": [elsewhere]}) is None


@pytest.mark.parametrize(
    ("rule", "fits"), [([], True), ([[]], True), ([[{}]], False), ([[{}, {"destinationPorts": [8080]}]], True)]
)
def test_what_asks_for_nothing_in_ztunnel_s_own_form(rule: list[list[dict[str, Any]]], fits: bool) -> None:
    """As ztunnel's own test ``rbac_empty_policy`` has it."""
    assert (recorded(*rule) is None) is fits


@pytest.mark.parametrize(
    ("account", "principal", "fits"),
    [
        ({"namespace": "shop", "serviceAccount": "client"}, WHO, True),
        ({"namespace": "other", "serviceAccount": "client"}, WHO, False),
        ({"namespace": "shop", "serviceAccount": "client"}, "", False),
        ({"namespace": "shop"}, WHO, None),
    ],
)
def test_accounts_in_ztunnel_s_own_form(account: dict[str, str], principal: str, fits: bool | None) -> None:
    end = recorded([{"serviceAccounts": [account]}], who=principal)
    assert (end is None) is (fits is True)
    assert end is None or bool(end.undecided) is (fits is None)
