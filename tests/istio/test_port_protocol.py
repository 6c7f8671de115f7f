"""The protocol that Istio takes a Service's port for."""

import pytest

from meshctl.istio.port_protocol import declared, word
from meshctl.kube.services import ServicePort
from meshctl.views.pod_services import mesh_protocol
from tests.injection.build import service


def port(number: int = 80, name: str = "", app_protocol: str = "") -> ServicePort:
    if app_protocol:
        return service(port_name=name, port=number, appProtocol=app_protocol).ports[0]
    return service(port_name=name, port=number).ports[0]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (port(name="http"), "http"),
        (port(name="HTTP2-web"), "http2"),
        (port(name="grpc-web"), "grpc-web"),
        (port(name="grpc-webby"), "grpc-web"),
        (port(name="grpc-api"), "grpc"),
        (port(name="httpfoo"), ""),
        (port(name="web", app_protocol="https"), "https"),
        (port(name="http", app_protocol="kafka"), ""),
        (port(app_protocol="kubernetes.io/h2c"), "http2"),
        (port(25), "tcp"),
        (port(53, "dns"), "tcp"),
        (port(3306, "db"), "tcp"),
        (port(27017, app_protocol="kafka"), "tcp"),
        (port(3306, "http"), "http"),
        (port(3307), ""),
    ],
)
def test_what_a_port_is_taken_for(written: ServicePort, expected: str) -> None:
    assert declared(written) == expected


def test_a_well_known_number_says_nothing_by_itself() -> None:
    assert word(port(25, "smtp")) == ""
    assert mesh_protocol(port(25, "smtp"))[0] == "tcp"
    assert "port 25" in mesh_protocol(port(25, "smtp"))[1]
    assert mesh_protocol(port(app_protocol="kafka"))[0] == "auto"
