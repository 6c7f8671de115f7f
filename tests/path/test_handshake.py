"""Certificates: what one proxy shows and the other takes. Recordings, edited: no recording has a broken handshake."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.envoy.model.matching import StringMatch
from meshctl.envoy.model.sockets import SanMatch
from meshctl.envoy.tls import san_fits
from meshctl.path.expect import judge
from meshctl.path.model import Request, Trace
from tests.envoy import dumps
from tests.path import made, recordings
from tests.path.conftest import FAR, PAST, SOON, Edit, Mesh
from tests.path.test_made_meshes import UPSTREAM_TLS, at, sidecar, to

SPIFFE = "spiffe://cluster.local/ns/policies/sa/backend"


def said(found: Trace) -> tuple[int | None, str, bool | None]:
    end = found.outcome.end
    return end.status, end.flags, end.delivered


FAILS = (503, "URX,UF", False)
DELIVERED = (None, "", True)
UNTOLD = (None, "", None)


def asking(key: str, *matchers: Any) -> Edit:
    """Clusters whose TLS asks for these names."""

    def change(dump: dict[str, Any]) -> None:
        text = json.dumps(dump)
        assert SPIFFE in text
        for part in dump["configs"]:
            for one in part.get("dynamic_active_clusters", ()):
                for match in one["cluster"].get("transport_socket_matches", ()):
                    common = match["transport_socket"].get("typed_config", {}).get("common_tls_context", {})
                    if context := common.get("combined_validation_context"):
                        context["default_validation_context"] = {key: list(matchers)}

    return change


@pytest.mark.parametrize(
    ("key", "matcher", "expected"),
    [
        ("match_subject_alt_names", {"exact": SPIFFE}, DELIVERED),
        ("match_subject_alt_names", {"exact": SPIFFE + "2"}, FAILS),
        ("match_subject_alt_names", {"prefix": "spiffe://cluster.local/ns/policies/"}, DELIVERED),
        ("match_subject_alt_names", {"suffix": "/sa/ledger"}, FAILS),
        ("match_subject_alt_names", {"contains": "/policies/"}, DELIVERED),
        ("match_subject_alt_names", {"safe_regex": {"regex": "spiffe://.*/sa/b.*"}}, DELIVERED),
        ("match_subject_alt_names", {"something": {}}, UNTOLD),
        ("match_typed_subject_alt_names", {"san_type": "URI", "matcher": {"exact": SPIFFE}}, DELIVERED),
        ("match_typed_subject_alt_names", {"san_type": "URI", "matcher": {"exact": "spiffe://x/y"}}, FAILS),
        ("match_typed_subject_alt_names", {"san_type": "DNS", "matcher": {"exact": SPIFFE}}, FAILS),
    ],
)
def test_the_callee_s_certificate_carries_a_name_that_the_caller_asks_for(
    mesh: Mesh, key: str, matcher: Any, expected: Any
) -> None:
    mesh.edit("client", "config_dump.json", asking(key, matcher))
    found = mesh.ask()
    assert said(found) == expected
    if expected is FAILS:
        assert "certificate verify failed" in found.outcome.end.why


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (SPIFFE, DELIVERED),
        ("spiffe://cluster.local/ns/policies/sa/other", FAILS),
        ("spiffe://another.domain/ns/policies/sa/backend", UNTOLD),
    ],
)
def test_a_certificate_that_was_not_recorded_names_the_service_account(mesh: Mesh, name: str, expected: Any) -> None:
    mesh.drop("certs.json")
    mesh.edit("client", "config_dump.json", asking("match_subject_alt_names", {"exact": name}))
    assert said(mesh.ask()) == expected


@pytest.mark.parametrize(
    ("names", "kind", "fits"), [(("a.example.com",), "DNS", True), (("10.0.0.1",), "DNS", False), ((), "", False)]
)
def test_names_of_another_type_do_not_count(names: tuple[str, ...], kind: str, fits: bool) -> None:
    assert san_fits((SanMatch(StringMatch("contains", ""), kind),), names) is fits


def validity(kind: str, since: str, until: str) -> Edit:
    def change(certs: dict[str, Any]) -> None:
        for group in certs["certificates"]:
            for one in group.get(kind, ()):
                one |= {"valid_from": since, "expiration_time": until}

    return change


@pytest.mark.parametrize(
    ("pod", "kind", "since", "until", "expected", "why"),
    [
        ("backend", "cert_chain", PAST, PAST, FAILS, "the callee's certificate expired"),
        ("backend", "cert_chain", SOON, FAR, FAILS, "the callee's certificate is not valid before"),
        ("client", "ca_cert", PAST, PAST, FAILS, "the caller's root certificate expired"),
        ("client", "cert_chain", PAST, PAST, (503, "UC", False), "the caller's certificate expired"),
    ],
)
def test_a_certificate_that_is_not_valid_now(
    mesh: Mesh, pod: str, kind: str, since: str, until: str, expected: Any, why: str
) -> None:
    """What the callee refuses, the caller learns in TLS 1.3 only after it took the handshake for done."""
    mesh.edit(pod, "certs.json", validity(kind, since, until))
    found = mesh.ask()
    assert said(found)[0::2] == expected[0::2]
    assert expected[1] in found.outcome.end.flags
    assert why in found.outcome.end.why


def other_root(certs: dict[str, Any]) -> None:
    for group in certs["certificates"]:
        for one in group.get("ca_cert", ()):
            one["serial_number"] = "1234"


def test_both_ends_have_different_roots(mesh: Mesh) -> None:
    mesh.edit("backend", "certs.json", other_root)
    found = mesh.ask()
    assert said(found) == FAILS
    assert "different root certificates" in found.outcome.end.why


def test_a_root_that_only_another_context_of_the_caller_has_does_not_count(mesh: Mesh) -> None:
    """``/certs`` tells the roots of all contexts; those of the mesh are told by the secret."""

    def root(name: str) -> Edit:
        def change(dump: dict[str, Any]) -> None:
            for part in dump["configs"]:
                for one in part.get("dynamic_active_secrets", ()):
                    if trust := one["secret"].get("validation_context"):
                        trust["trusted_ca"] = {"inline_string": PEM.format(name)}

        return change

    mesh.edit("client", "config_dump.json", root("bWluZQ=="))
    mesh.edit("backend", "config_dump.json", root("b3RoZXI="))
    found = mesh.ask()
    assert said(found) == FAILS
    assert "different root certificates" in found.outcome.end.why


PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def test_of_several_roots_only_the_first_is_known(mesh: Mesh) -> None:
    def two(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            for one in part.get("dynamic_active_secrets", ()):
                if trust := one["secret"].get("validation_context"):
                    trust["trusted_ca"] = {"inline_string": "-----BEGIN CERTIFICATE-----\n" * 2}

    mesh.edit("backend", "certs.json", other_root)
    mesh.edit("client", "config_dump.json", two)
    assert said(mesh.ask()) == UNTOLD


def test_of_names_with_and_without_a_type_only_the_former_count(mesh: Mesh) -> None:
    def both(dump: dict[str, Any]) -> None:
        asking("match_subject_alt_names", {"exact": SPIFFE})(dump)
        for part in dump["configs"]:
            for one in part.get("dynamic_active_clusters", ()):
                for match in one["cluster"].get("transport_socket_matches", ()):
                    common = match["transport_socket"].get("typed_config", {}).get("common_tls_context", {})
                    if context := common.get("combined_validation_context"):
                        typed = {"san_type": "URI", "matcher": {"exact": "spiffe://x/y"}}
                        context["default_validation_context"]["match_typed_subject_alt_names"] = [typed]

    mesh.edit("client", "config_dump.json", both)
    assert said(mesh.ask()) == FAILS


@pytest.mark.parametrize(
    ("content", "alone", "expected"),
    [
        (None, True, DELIVERED),  # the caller has no other root than the callee's
        (None, False, UNTOLD),
        (PEM.format("b3RoZXI="), False, FAILS),
        (PEM.format("b3RoZXI=") + PEM.format("bW\nVzaA=="), False, DELIVERED),
    ],
)
def test_a_caller_that_trusts_by_another_secret_than_the_mesh_s_root(
    mesh: Mesh, content: str | None, alone: bool, expected: Any
) -> None:
    def trusts(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            for one in part.get("dynamic_active_clusters", ()):
                text = json.dumps(one["cluster"].get("transport_socket_matches", ()))
                one["cluster"]["transport_socket_matches"] = json.loads(text.replace('"ROOTCA"', '"file-root:/ca.pem"'))
            if content is not None and "dynamic_active_secrets" in part:
                secret = {"name": "file-root:/ca.pem", "validation_context": {"trusted_ca": {"inline_string": content}}}
                part["dynamic_active_secrets"].append({"name": secret["name"], "secret": secret})

    def root(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            for one in part.get("dynamic_active_secrets", ()):
                if trust := one["secret"].get("validation_context"):
                    trust["trusted_ca"] = {"inline_string": PEM.format("bWVzaA==")}

    def more(certs: dict[str, Any]) -> None:
        certs["certificates"].append({"ca_cert": [{"path": "/ca.pem", "serial_number": "1234"}]})

    mesh.edit("client", "config_dump.json", trusts)
    mesh.edit("backend", "config_dump.json", root)
    if not alone:
        mesh.edit("client", "certs.json", more)
    found = mesh.ask()
    assert said(found) == expected
    assert ("trusts by file-root:/ca.pem" in found.outcome.end.why) is (expected is not DELIVERED)


@pytest.mark.parametrize("pod", ["client", "backend"])
def test_a_secret_that_was_not_supplied(mesh: Mesh, pod: str) -> None:
    def warming(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            if secrets := part.pop("dynamic_active_secrets", None):
                part["dynamic_warming_secrets"] = [{"name": s["name"], "version_info": ""} for s in secrets]

    mesh.edit(pod, "config_dump.json", warming)
    found = mesh.ask()
    assert said(found) == FAILS
    assert f"the proxy of {pod}-" in found.outcome.end.why
    assert "still waits for secret default" in found.outcome.end.why
    assert found.outcome.end.through_server is (pod == "backend")


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"mode": "ISTIO_MUTUAL", "subjectAltNames": [SPIFFE]}, DELIVERED),
        ({"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://cluster.local/ns/x/sa/y"]}, FAILS),
        ({"mode": "MUTUAL", "clientCertificate": "/a", "privateKey": "/b", "caCertificates": "/c"}, UNTOLD),
        ({"mode": "SIMPLE"}, (503, "UC", False)),
    ],
)
@pytest.mark.parametrize("level", ["rule", "port", "subset"])
def test_what_a_destination_rule_asks_for_without_a_proxy_s_configuration(
    mesh: Mesh, tls: Any, expected: Any, level: str
) -> None:
    """STRICT: one-way TLS shows no certificate; who signed a file of the caller's own is not known."""
    mesh.drop("config_dump.json")
    ports = {"portLevelSettings": [{"port": {"number": 9080}, "tls": tls}]}
    ours: dict[str, Any] = {"host": "backend", "trafficPolicy": {"tls": {"mode": "DISABLE"}} if level != "rule" else {}}
    match level:
        case "rule":
            ours["trafficPolicy"] = {"tls": tls}
        case "port":
            ours["trafficPolicy"] |= ports
        case _:
            ours["subsets"] = [{"name": "all", "trafficPolicy": {"tls": tls}}]
    route = {"destination": {"host": "backend", **({"subset": "all"} if level == "subset" else {})}}
    metadata = {"name": "b", "namespace": "policies"}
    mesh.resources("destinationrules.networking.istio.io", {"metadata": metadata, "spec": ours})
    spec = {"hosts": ["backend"], "http": [{"route": [route]}]}
    mesh.resources("virtualservices.networking.istio.io", {"metadata": metadata, "spec": spec})
    mesh.resources("authorizationpolicies.security.istio.io")
    asked = mesh.ask()
    found = said(asked)
    assert (found[0], found[2]) == (expected[0], expected[2])
    assert expected[1] in found[1]
    assert asked.outcome.end.mtls == ("mutual" if expected is DELIVERED else None)


@pytest.mark.parametrize(("declared", "delivered"), [("", None), ("https", True), ("TLS", True)])
@pytest.mark.parametrize("recorded", [True, False])
def test_whether_an_application_speaks_tls_is_known_only_where_its_port_says_so(
    mesh: Mesh, declared: str, delivered: bool | None, recorded: bool
) -> None:
    """The socket that listens is the same for both."""

    def says(document: dict[str, Any]) -> None:
        for one in document["items"]:
            for port in one["spec"]["ports"]:
                port |= {"appProtocol": declared} if one["metadata"]["name"] == "ledger" and declared else {}

    path = mesh.folder / "resources" / "services.json"
    services = json.loads(path.read_text())
    says(services)
    path.write_text(json.dumps(services))
    if not recorded:
        mesh.drop("config_dump.json")
    found = mesh.ask("https://ledger:9000/").outcome.end
    assert (found.delivered, found.through_server, found.mtls) == (delivered, True, "mutual")
    assert delivered or "speaks TLS on port 9090 is not recorded" in found.why


def test_a_tcp_connection_that_a_policy_cuts_had_its_handshake(mesh: Mesh) -> None:
    mesh.drop("config_dump.json")
    metadata = {"name": "empty", "namespace": "policies"}
    mesh.resources("authorizationpolicies.security.istio.io", {"metadata": metadata, "spec": {}})
    end = mesh.ask("ledger:9000").outcome.end
    assert (end.broken, end.mtls, end.cause) == ("reset", "mutual", "policy")


def test_plain_text_is_no_mutual_tls_though_it_is_refused(mesh: Mesh) -> None:
    """The pod's own address is no Service's: the caller's proxy passes the bytes on as they are, and it is STRICT."""
    pods = json.loads((mesh.folder / "resources" / "pods.json").read_text())["items"]
    address = next(p["status"]["podIP"] for p in pods if p["metadata"]["name"].startswith("ledger-"))
    found = mesh.ask(f"http://{address}:9090/")
    assert (found.outcome.end.delivered, found.outcome.end.mtls) == (False, "none")
    assert judge("mtls=none", found).met


def test_what_a_gateway_answers_itself_came_in_as_plain_text() -> None:
    """A NodePort of the ingress gateway, and a host that it has no route for."""
    place = recordings.scene("bookinfo")
    gateway = next(p for p in place.pods if p.name.startswith("istio-ingressgateway"))
    sender = next(f"{p.namespace}/{p.name}" for p in place.pods if p.name.startswith("curl-"))
    service = next(s for s in place.services.services if s.selects(gateway.labels) and s.namespace == gateway.namespace)
    number = next(p.node_port for p in service.ports if p.number == 80)
    node = next(a for a in place.node(place.nodes[0]).addresses if "." in a)
    found = recordings.predicted("bookinfo", sender, f"http://{node}:{number}/", Request(host="nosuch.example"))
    end = found.outcome.end
    assert (end.status, end.delivered, end.mtls) == (404, False, "none")


def secured(*, supplied: bool, mutual: bool = False) -> made.Mesh:
    """A gateway that ends TLS with a secret, and a sidecar that reaches it; `mutual`: with the mesh's own TLS."""
    name = "default" if mutual else "kubernetes://web"
    chain = dumps.http_chain("https", transport_socket=dumps.tls_socket(mutual=mutual, secret=name))
    answers = {"match": {"prefix": "/"}, "direct_response": {"status": 204}, "name": "r"}
    routes = dumps.route_config("r", dumps.host("all", ["*"], answers))
    chain["filters"][0]["typed_config"]["route_config"] = routes
    key = "dynamic_active_secrets" if supplied else "dynamic_warming_secrets"
    gateway = dumps.document([dumps.listener("l", "0.0.0.0", 8443, chain)], Secrets={key: [{"name": name}]})
    common = {
        "tls_certificate_sds_secret_configs": [{"name": "default"}],
        "combined_validation_context": {
            "default_validation_context": {"match_subject_alt_names": [{"exact": "spiffe://cluster.local/ns/x/sa/y"}]},
            "validation_context_sds_secret_config": {"name": "ROOTCA"},
        },
    }
    upstream = {"common_tls_context": common}
    socket = {"name": "tls", "typed_config": dumps.typed(UPSTREAM_TLS, **upstream)}
    cluster = at("outbound|80||gate", 8443, "10.0.0.9", **({"transport_socket": socket} if mutual else {}))
    to_gate = dumps.route_config("80", dumps.host("gate", ["*"], to("outbound|80||gate")))
    return made.Mesh(
        pods=[made.pod("client", "10.0.0.5"), made.pod("gate", "10.0.0.9", gateway=True)],
        dumps={"client": sidecar([to_gate], [cluster]), "gate": gateway},
        listening={"gate": ["0.0.0.0:8443"]},
    )


@pytest.mark.parametrize("supplied", [True, False])
def test_a_gateway_whose_certificate_never_came_closes_the_connection(tmp_path: Path, supplied: bool) -> None:
    found = secured(supplied=supplied).trace(tmp_path / "s", "https://10.0.0.9:8443/", "client")
    end = found.outcome.end
    if supplied:
        assert (end.status, end.mtls) == (204, "none")
    else:
        assert (end.status, end.broken, end.mtls) == (None, "reset", None)
        assert "waits for secret kubernetes://web" in end.why


def test_a_gateway_s_certificate_is_asked_for_a_name_as_well(tmp_path: Path) -> None:
    mesh = secured(supplied=True, mutual=True)
    end = mesh.trace(tmp_path / "s", "http://10.96.0.9/", "client").outcome.end
    assert (end.status, end.flags, end.delivered) == (503, "UF", False)
    assert "should carry spiffe://cluster.local/ns/shop/sa/gate" in end.why


def wanting(prefix: str) -> Edit:
    """An inbound side whose TLS asks for names that begin so."""

    def change(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            for one in part.get("dynamic_listeners", ()):
                for chain in one["active_state"]["listener"].get("filter_chains", ()):
                    common = chain.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
                    if context := common.get("combined_validation_context"):
                        context["default_validation_context"] = {"match_subject_alt_names": [{"prefix": prefix}]}

    return change


@pytest.mark.parametrize(
    ("prefix", "end"), [("spiffe://cluster.local/", DELIVERED), ("spiffe://elsewhere/", (503, "URX,UC", False))]
)
def test_the_callee_takes_certificates_of_the_names_that_it_asks_for(mesh: Mesh, prefix: str, end: Any) -> None:
    mesh.edit("backend", "config_dump.json", wanting(prefix))
    assert said(mesh.ask()) == end


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("spiffe://elsewhere/ns/policies/sa/client", (503, "URX,UC", False)),
        ("spiffe://cluster.local/ns/policies/sa/intruder", (403, "", False)),
    ],
)
def test_the_caller_is_who_its_certificate_says(mesh: Mesh, name: str, end: Any) -> None:
    def renamed(certs: dict[str, Any]) -> None:
        for group in certs["certificates"]:
            for chain in group["cert_chain"]:
                chain["subject_alt_names"] = [{"uri": name}]

    mesh.edit("client", "certs.json", renamed)
    mesh.edit("backend", "config_dump.json", wanting("spiffe://cluster.local/"))
    assert said(mesh.ask()) == end


def as_it_comes(dump: dict[str, Any]) -> None:
    for part in dump["configs"]:
        for one in part.get("dynamic_listeners", ()):
            listener = one["active_state"]["listener"]
            if listener["name"] != "virtualInbound":
                continue
            chain = next(c for c in listener["filter_chains"] if c["name"] == "virtualInbound")
            filters = [f for f in chain["filters"] if f["name"].endswith("tcp_proxy")]
            found = {"name": "plain", "filter_chain_match": {"destination_port": 9080}, "filters": filters}
            others = [c for c in listener["filter_chains"] if "9080" not in json.dumps(c["filter_chain_match"])]
            listener["filter_chains"] = [*others, found]


def test_the_mesh_s_tls_reaches_the_application_where_its_proxy_ends_none(mesh: Mesh) -> None:
    """A port with DISABLE is taken as it comes, and the caller's rule asks for mutual TLS all the same."""

    mesh.edit("backend", "config_dump.json", as_it_comes)
    found = mesh.ask()
    assert said(found) == FAILS
    assert "does not end TLS on port 9080" in found.outcome.end.why
    assert (found.outcome.end.through_server, found.outcome.end.mtls) == (True, None)


def test_an_application_that_is_declared_to_speak_tls_may_take_the_mesh_s(mesh: Mesh) -> None:
    path = mesh.folder / "resources" / "services.json"
    document = json.loads(path.read_text())
    (port,) = (p for s in document["items"] if s["metadata"]["name"] == "backend" for p in s["spec"]["ports"])
    port["appProtocol"] = "tls"
    path.write_text(json.dumps(document))
    mesh.edit("backend", "config_dump.json", as_it_comes)
    end = mesh.ask().outcome.end
    assert end.delivered is None
    assert "has a certificate that the caller takes is not recorded" in end.undecided[0]
