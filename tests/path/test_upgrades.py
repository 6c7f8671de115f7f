"""What a caller's proxy makes of a request (HTTP/2 of HTTP/1.1, TLS of plain text), and who understands that."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.envoy.dumps import host, route_config
from tests.path.made import Mesh, endpoints, plain, pod, service
from tests.path.test_made_meshes import at, sidecar, to

WEB = "outbound|80||web.shop.svc.cluster.local"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NOT_RECORDED = "the sender's proxy makes HTTP/2 of it: whether app speaks HTTP/2 on port 8080 is not recorded"


def traced(folder: Path, protocol: str, *, meshed: bool = False, target: str = "http://web/", **more: Any) -> Trace:
    """A request to a Service whose one pod has a proxy (`meshed`) or has none."""
    made = service("web", "10.96.0.7", 80, 8080)
    made["spec"]["ports"][0]["appProtocol"] = protocol
    mesh = Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.6") if meshed else plain("web", "10.0.0.6")],
        services=[made],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"]},
        **more,
    )
    return mesh.trace(folder, target, "client")


def dump(options: str) -> dict[str, Any]:
    routes = route_config("80", host("web:80", ["web", "web:80"], to(WEB)))
    extension = {HTTP_OPTIONS: {"explicit_http_config": {options: {}}}}
    return sidecar([routes], [at(WEB, 8080, "10.0.0.6", typed_extension_protocol_options=extension)])


@pytest.mark.parametrize(
    ("options", "protocol", "decided"),
    [
        ("http2_protocol_options", "http", False),
        ("http2_protocol_options", "http2", True),
        ("http2_protocol_options", "grpc", True),
        ("http_protocol_options", "http", True),
    ],
)
def test_an_application_without_a_proxy_has_to_speak_it(
    options: str, protocol: str, decided: bool, tmp_path: Path
) -> None:
    end = traced(tmp_path, protocol, dumps={"client": dump(options)}).outcome.end
    assert end.delivered is (True if decided else None)
    assert end.undecided == (() if decided else (NOT_RECORDED,))


def rule(policy: str, place: str = "") -> dict[str, str]:
    pool = {"connectionPool": {"http": {"h2UpgradePolicy": policy}}}
    by_place = {
        "port": {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, **pool}]}},
        "subset": {"subsets": [{"name": "v1", "trafficPolicy": pool}]},
    }
    spec = {"host": "web", **by_place.get(place, {"trafficPolicy": pool})}
    found = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    return {"resources/destinationrules.networking.istio.io.json": json.dumps({"kind": "List", "items": [found]})}


MESH_WIDE = "rootNamespace: istio-system\nh2UpgradePolicy: UPGRADE"


@pytest.mark.parametrize(
    ("files", "settings", "decided"),
    [
        ({}, "", True),
        (rule("UPGRADE"), "", False),
        (rule("UPGRADE", "port"), "", False),
        (rule("UPGRADE", "subset"), "", True),
        (rule("DEFAULT"), "", True),
        ({}, MESH_WIDE, False),
        (rule("DEFAULT"), MESH_WIDE, False),
        (rule("DO_NOT_UPGRADE"), MESH_WIDE, True),
    ],
)
def test_without_a_dump_the_rule_says_so_or_else_the_mesh(
    files: dict[str, str], settings: str, decided: bool, tmp_path: Path
) -> None:
    more = {"settings": settings} if settings else {}
    end = traced(tmp_path, "http", files=files, **more).outcome.end
    assert end.delivered is (True if decided else None)
    assert end.undecided == (() if decided else (NOT_RECORDED,))


def test_the_callee_s_proxy_speaks_http1_to_its_application(tmp_path: Path) -> None:
    end = traced(tmp_path, "http", meshed=True, files=rule("UPGRADE")).outcome.end
    assert (end.delivered, end.through_server, end.undecided) == (True, True, ())


def policy(**target: str) -> dict[str, str]:
    spec = {"targetRefs": [{"group": "", "kind": "Service", "name": "web", **target}]}
    found = {"metadata": {"name": "to-web", "namespace": "shop"}, "spec": spec}
    items = json.dumps({"kind": "List", "items": [found]})
    return {"resources/backendtlspolicies.gateway.networking.k8s.io.json": items}


@pytest.mark.parametrize(
    ("target", "decided"),
    [({}, False), ({"sectionName": "http"}, False), ({"sectionName": "tls"}, True), ({"name": "other"}, True)],
)
@pytest.mark.parametrize("meshed", [True, False])
def test_tls_that_a_policy_of_the_gateway_api_asks_for_is_left_open(
    target: dict[str, str], decided: bool, meshed: bool, tmp_path: Path
) -> None:
    end = traced(tmp_path, "http", meshed=meshed, files=policy(**target)).outcome.end
    assert end.delivered is (True if decided else None)
    asked = "BackendTLSPolicy to-web.shop asks for TLS to it, which is not modelled without the configuration"
    assert end.undecided == (() if decided else (asked,))
    dumped = traced(tmp_path / "d", "http", files=policy(**target), dumps={"client": dump("http_protocol_options")})
    assert dumped.outcome.end.delivered is True


@pytest.mark.parametrize("plural", ["backendtlspolicies", "httproutes", "gateways"])
def test_resources_of_the_gateway_api_that_cannot_be_read_may_say_anything(plural: str, tmp_path: Path) -> None:
    files = {f"resources/{plural}.gateway.networking.k8s.io.json": '{"items": ['}
    end = traced(tmp_path, "http", files=files).outcome.end
    assert end.undecided == (f"{plural} could not be read, and may decide otherwise",)
    dumped = traced(tmp_path / "d", "http", files=files, dumps={"client": dump("http_protocol_options")})
    assert dumped.outcome.end.delivered is True
