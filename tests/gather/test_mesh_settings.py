"""The control plane's settings: where it is, which revisions it has, and what holds where nothing of it is known."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.gather import evidence, mesh_settings, trace
from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.gather.surroundings import Surroundings
from meshctl.injection.exposure import Reach
from meshctl.istio import domain
from meshctl.path.model import End, Trace
from meshctl.sources import kinds
from meshctl.sources.record import Plan, record
from meshctl.sources.snapshot import Snapshot, open_snapshot
from tests.path.made import Mesh, pod

REFUSES = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"


def config_map(name: str, mesh: str = "", namespace: str = "istio-system") -> dict[str, str]:
    """One file of a recording."""
    written = {"metadata": {"name": name, "namespace": namespace}, "data": {"mesh": mesh}}
    return {f"resources/configmap.{namespace}.{name}.json": json.dumps(written)}


def of(revision: str, name: str, ip: str, **more: Any) -> dict[str, Any]:
    """A pod that a revision's injector made."""
    made = pod(name, ip, **more)
    made["metadata"]["annotations"]["sidecar.istio.io/status"] = json.dumps({"revision": revision})
    return made


def istiod(revision: str, namespace: str, zone: str = "cluster.local") -> dict[str, Any]:
    """A control plane's pod."""
    made = pod(f"istiod-{revision}", "10.0.9.9", namespace=namespace)
    made["metadata"]["labels"] = {"app": "istiod", "istio.io/rev": revision}
    made["metadata"]["annotations"] = {}
    made["spec"]["containers"] = [{"name": "discovery", "image": "x", "args": ["discovery", "--domain", zone]}]
    del made["spec"]["initContainers"]
    return made


def outside(folder: Path, sender: dict[str, Any], files: dict[str, str], *more: dict[str, Any]) -> Trace:
    """A request to an address that nothing of the mesh has."""
    mesh = Mesh(pods=[sender, *more], files=files)
    return mesh.trace(folder, "203.0.113.9:80", sender["metadata"]["name"])


@pytest.mark.parametrize(
    ("revision", "refused"), [("canary", True), ("default", False), ("", False), ("unheard-of", False)]
)
def test_a_proxy_follows_the_settings_of_its_own_revision(tmp_path: Path, revision: str, refused: bool) -> None:
    files = config_map("istio", "outboundTrafficPolicy: {mode: ALLOW_ANY}") | config_map("istio-canary", REFUSES)
    found = outside(tmp_path, of(revision, "client", "10.0.0.5"), files)
    assert (found.outcome.branches[0].end.cause == "registry-only") is refused


def test_the_only_revision_counts_for_all(tmp_path: Path) -> None:
    mesh = Mesh(
        pods=[pod("client", "10.0.0.5"), istiod("canary", "istio-system")], files=config_map("istio-canary", REFUSES)
    )
    mesh.write(tmp_path)
    (tmp_path / "resources" / "configmap.istio-system.istio.json").unlink()
    world = open_snapshot(str(tmp_path))
    pods = world.objects(kinds.PODS).items
    assert mesh_settings.of_mesh(world, pods).outbound_mode == "REGISTRY_ONLY"
    assert mesh_settings.of_mesh(world, pods).source.endswith("configmap.istio-system.istio-canary.json")


def test_without_settings_nobody_knows_what_becomes_of_what_the_mesh_does_not_know(tmp_path: Path) -> None:
    def end(folder: Path, known: bool) -> End:
        Mesh(pods=[pod("client", "10.0.0.5")]).write(folder)
        if not known:
            (folder / "resources" / "configmap.istio-system.istio.json").unlink()
        asked = Asked(target="203.0.113.9:80", sender="client")
        return predict(open_snapshot(str(folder)), asked, Scope("shop"))[1].outcome.branches[0].end

    assert "settings" not in " ".join(end(tmp_path / "known", True).undecided)
    assert "its settings, which say what becomes of that, are not known" in end(tmp_path / "not", False).undecided[0]


@pytest.mark.parametrize("told", [True, False])
def test_a_proxy_says_the_trust_domain_where_the_settings_do_not(tmp_path: Path, told: bool) -> None:
    sender = pod("client", "10.0.0.5")
    sender["spec"]["containers"][1]["env"] = [{"name": "TRUST_DOMAIN", "value": "corp.example"}]
    Mesh(pods=[sender], settings="trustDomain: written.example").write(tmp_path)
    if not told:
        (tmp_path / "resources" / "configmap.istio-system.istio.json").unlink()
    scene = trace.scene(open_snapshot(str(tmp_path)), Scope("shop"))
    domain_ = "written.example" if told else "corp.example"
    assert scene.principal(scene.station(scene.pods[0])) == f"spiffe://{domain_}/ns/shop/sa/client"


class TestWhereItIs:
    def world(self, folder: Path, files: dict[str, str], *pods: dict[str, Any]) -> Snapshot:
        Mesh(pods=[pod("client", "10.0.0.5"), *pods], files=files).write(folder)
        (folder / "resources" / "configmap.istio-system.istio.json").unlink()
        return open_snapshot(str(folder))

    def test_by_its_config_map(self, tmp_path: Path) -> None:
        files = config_map("istio-ca-root-cert", "", "shop") | config_map("istio-canary", "", "mesh")
        assert self.world(tmp_path, files).root_namespace() == "mesh"

    def test_by_istiod(self, tmp_path: Path) -> None:
        assert self.world(tmp_path, {}, istiod("default", "mesh")).root_namespace() == "mesh"

    def test_of_several_the_usual_one(self, tmp_path: Path) -> None:
        pods = [istiod("a", "early"), istiod("b", "istio-system")]
        assert self.world(tmp_path, {}, *pods).root_namespace() == "istio-system"

    def test_nowhere(self, tmp_path: Path) -> None:
        assert self.world(tmp_path, {}).root_namespace() == "istio-system"

    def test_where_the_user_says(self, tmp_path: Path) -> None:
        world = self.world(tmp_path, {}, istiod("default", "mesh"))
        world.control_plane = "other"
        assert world.root_namespace() == "other"


class TestDomain:
    @pytest.mark.parametrize(
        ("args", "expected"),
        [
            (["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.k8s.corp", "--x"], "k8s.corp"),
            (["proxy", "router", "--domain=shop.svc.k8s.corp"], "k8s.corp"),
            (["discovery", "--domain", "k8s.corp"], "k8s.corp"),
            (["proxy", "sidecar", "--domain"], "cluster.local"),
            (["serve", "--domain", "example.com"], "cluster.local"),
            ([], "cluster.local"),
        ],
    )
    def test_by_the_arguments_of_istios_programs(self, args: list[str], expected: str) -> None:
        for key in ("containers", "initContainers"):
            assert domain.of_pods([{}, {"spec": {key: [{"args": args}]}}]) == expected

    def test_a_service_is_named_by_it(self, tmp_path: Path) -> None:
        service = {"metadata": {"name": "cart", "namespace": "shop"}, "spec": {"selector": {"app": "client"}}}
        mesh = Mesh(pods=[pod("client", "10.0.0.5"), istiod("default", "istio-system", "k8s.corp")], services=[service])
        mesh.write(tmp_path)
        around = Surroundings(open_snapshot(str(tmp_path)))
        found = around.services("shop")
        assert found is not None
        assert [one.full_name for one in found] == ["cart.shop.svc.k8s.corp"]


def test_a_gateway_for_all_pods_is_reached_where_a_named_target_port_leads(tmp_path: Path) -> None:
    client = pod("client", "10.0.0.5")
    bare = pod("bare", "10.0.0.6")
    bare["metadata"].pop("labels", None)
    client["spec"]["containers"][0]["ports"] = [{"name": "public", "containerPort": 8443}]
    port = {"port": 443, "targetPort": "public", "nodePort": 30443}
    spec = {"selector": client["metadata"]["labels"], "ports": [{"port": 80, "nodePort": 30080}, port]}
    service = {"metadata": {"name": "edge", "namespace": "shop"}, "spec": spec}
    Mesh(pods=[bare, client], services=[service]).write(tmp_path)
    around = Surroundings(open_snapshot(str(tmp_path)))
    assert around.reach((), 8443) == Reach(2, (), 30443)
    assert around.reach((), 15443) == Reach(2, (), None)


def test_a_recording_has_the_settings_of_every_revision(tmp_path: Path) -> None:
    names = ("istio", "istio-canary", "istio-sidecar-injector-canary")
    files = {file: text for name in names for file, text in config_map(name).items()}
    Mesh(pods=[pod("client", "10.0.0.5"), istiod("canary", "istio-system")], files=files).write(tmp_path / "made")
    done = record(open_snapshot(str(tmp_path / "made")), Plan("copy", ("shop",)), tmp_path / "copy")
    kept = [f.name for f in (tmp_path / "copy" / "resources").glob("configmap.*")]
    assert sorted(kept) == sorted(f"configmap.istio-system.{name}.json" for name in names)
    assert not [each for each in done.left_out if "configmap" in str(each)]


def test_a_manifest_is_held_against_the_settings_of_the_revision_that_would_inject_it(tmp_path: Path) -> None:
    selector = {"matchExpressions": [{"key": "istio.io/rev", "operator": "In", "values": ["canary"]}]}
    hook = {
        "name": "rev.namespace.sidecar-injector.istio.io",
        "clientConfig": {"service": {"name": "istiod-canary", "namespace": "istio-system"}},
        "namespaceSelector": selector,
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    }
    hooks = {
        "metadata": {"name": "istio-sidecar-injector-canary", "labels": {"istio.io/rev": "canary"}},
        "webhooks": [hook],
    }
    places = [{"metadata": {"name": "shop", "labels": {"istio.io/rev": "canary"}}}]
    values = {"global": {"proxy": {"image": "proxyv2"}, "hub": "example.org/canary", "tag": "1.30.3"}}
    own = {
        "metadata": {"name": "istio-sidecar-injector-canary", "namespace": "istio-system"},
        "data": {"values": json.dumps(values)},
    }
    files = {
        "resources/namespaces.json": json.dumps({"kind": "List", "items": places}),
        "resources/mutatingwebhookconfigurations.admissionregistration.k8s.io.json": json.dumps(
            {"kind": "List", "items": [hooks]}
        ),
        "resources/configmap.istio-system.istio-sidecar-injector-canary.json": json.dumps(own),
    }
    Mesh(pods=[istiod("canary", "istio-system")], files=files).write(tmp_path / "made")
    wanted = tmp_path / "pod.yaml"
    wanted.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: web}]}\n"
    )
    (it, _), *_ = evidence.manifest(open_snapshot(str(tmp_path / "made")), [str(wanted)], None)
    assert it.description.decision is not None
    assert it.description.decision.revision == "canary"
    assert it.description.subject.settings.values == values
