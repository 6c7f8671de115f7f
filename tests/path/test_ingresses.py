"""Ingresses that istiod takes up: what they add to a gateway is left open where its configuration is not known."""

from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio.mesh_config import Ingresses, parse
from meshctl.kube import ingresses
from meshctl.path.decision import Decision
from tests.path.test_assumed import scene
from tests.path.test_assumed_gateways import GATEWAY_POD, RAW, WEB, at, gateway, request, rules, server

OWN = "kubernetes.io/ingress.class"


def ingress(*hosts: str | None, by: str = "istio", **spec: Any) -> dict[str, Any]:
    listed = [{"host": host} if host else {} for host in hosts]
    metadata = {"name": "web", "namespace": "shop", "annotations": {OWN: by} if by else {}}
    return {"metadata": metadata, "spec": {"rules": listed, **spec}}


def asked(
    host: str, *found: dict[str, Any] | None, label: str = "ingressgateway", told: Ingresses | None = None
) -> Decision:
    own = {**GATEWAY_POD, "metadata": {**GATEWAY_POD["metadata"]}}
    own["metadata"]["labels"] = {**own["metadata"]["labels"], "istio": label}
    place = scene(
        gateway(server("HTTP", "*", port=80)),
        rules("web", "shop.example.com", rules=[]),
        services=(WEB, RAW),
        pods=(own,),
    )
    place.ingresses = lambda: None if None in found else [one for one in found if one]
    if told is not None:
        place.mesh = replace(place.mesh, config=replace(place.mesh.config, ingresses=told))
    return at(place, request(host=host))


@pytest.mark.parametrize(
    ("one", "host", "open_"),
    [
        (ingress("a.example.com"), "a.example.com", True),
        (ingress("a.example.com"), "A.Example.com", True),
        (ingress("b.example.com"), "a.example.com", False),
        (ingress("*.example.com"), "a.example.com", True),
        (ingress("*.example.com"), "x.a.example.com", False),
        (ingress(None), "a.example.com", True),
        (ingress(defaultBackend={}), "a.example.com", True),
        (ingress("a.example.com", by="nginx"), "a.example.com", False),
        (ingress("a.example.com", by=""), "a.example.com", False),
        (ingress("a.example.com", by="", ingressClassName="istio"), "a.example.com", True),
        (ingress("a.example.com", by="nginx", ingressClassName="istio"), "a.example.com", False),
    ],
)
def test_an_ingress_counts_for_its_hosts(one: dict[str, Any], host: str, open_: bool) -> None:
    found = asked(host, one)
    assert any("Ingress shop/web" in why for why in found.undecided) is open_
    assert bool(found.undecided) is open_


def test_only_at_the_gateway_of_the_settings() -> None:
    one = ingress("a.example.com")
    assert not asked("a.example.com", one, label="edge").undecided
    assert asked("a.example.com", one, label="edge", told=Ingresses(selector="edge")).undecided
    assert not asked("a.example.com", one, told=Ingresses(mode="OFF")).undecided
    assert asked("a.example.com", ingress("a.example.com", by=""), told=Ingresses(mode="DEFAULT")).undecided


def test_a_list_that_cannot_be_read_leaves_it_open() -> None:
    assert "ingresses could not be read" in asked("a.example.com", None).undecided[0]


def test_the_settings_are_read() -> None:
    text = "ingressControllerMode: DEFAULT\ningressClass: edge\ningressSelector: front"
    assert parse({"data": {"mesh": text}}, "x").ingresses == Ingresses("DEFAULT", "edge", "front")


@pytest.mark.parametrize("raw", [{}, {"spec": []}, {"metadata": 1, "spec": {"rules": [None, {"host": 3}]}}])
def test_any_object_is_read(raw: dict[str, Any]) -> None:
    assert isinstance(list(ingresses.about([raw], "istio", "a", unclassed=True)), list)
