"""Descriptions of recorded pods, where istioctl's describe says something wrong, or stops half way."""

import shutil
import tarfile
from pathlib import Path

import pytest

from meshctl.blocks import Page
from meshctl.checks.evidence import Evidence
from meshctl.gather import evidence
from meshctl.gather.scope import Scope
from meshctl.render import terminal
from meshctl.sources.snapshot import open_snapshot
from meshctl.views import article
from meshctl.views import pod as view
from meshctl.views import service as service_view

RECORDED = Path(__file__).parents[2] / "fixtures" / "trace"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    with tarfile.open(RECORDED / "policies.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return next(p for p in (tmp_path, *tmp_path.rglob("*")) if (p / "snapshot.json").exists())


def described(place: Path, name: str) -> tuple[Evidence, str]:
    it, findings = evidence.pods(open_snapshot(str(place)), [name], Scope(None, True))[0]
    return it, text(view.page(it, findings))


def text(page: Page) -> str:
    return " ".join(terminal.draw(page, width=200, color=False).split())


def test_an_ambient_pod_is_part_of_the_mesh() -> None:
    it, said = described(RECORDED / "ambient.tar.gz", "deploy/web-v1.ambient")
    assert it.description.injection.mode == "ambient"
    assert "ambient: no proxy in the pod" in said
    assert "not in the mesh" not in said


def test_a_waypoint_is_described_as_what_it_is() -> None:
    _, said = described(RECORDED / "ambient.tar.gz", "deploy/waypoint.ambient")
    assert "the pod is a waypoint" in said


def test_the_ports_of_a_native_sidecar_are_told() -> None:
    _, said = described(RECORDED / "bookinfo.tar.gz", "deploy/reviews-v1.default")
    assert "15090/TCP" in said


def test_a_proxy_that_cannot_be_asked_costs_only_its_own_section(unpacked: Path) -> None:
    whole, before = described(unpacked, "deploy/backend-v1.policies")
    for folder in unpacked.glob("pods/policies/backend-v1-*/envoy"):
        shutil.rmtree(folder)
    blind, after = described(unpacked, "deploy/backend-v1.policies")
    assert whole.state is not None
    assert whole.state.proxy is not None
    assert blind.state is not None
    assert blind.state.proxy is None
    for section in ("What callers must bring", "Policies that apply", "Routes to its services", "Who listens"):
        assert section in before
        assert section in after
    assert "The proxy now" not in after
    assert "envoy/certs.json" in after


def test_a_missing_mesh_configuration_costs_only_what_it_says(unpacked: Path) -> None:
    for file in unpacked.glob("resources/configmap.*"):
        file.unlink()
    _, said = described(unpacked, "deploy/backend-v1.policies")
    assert "STRICT" in said
    assert "templates are not readable" in said


def test_a_service_is_told_by_all_of_its_pods() -> None:
    world = open_snapshot(str(RECORDED / "bookinfo.tar.gz"))
    story = evidence.service(world, "reviews", Scope("default"))
    assert sorted(it.pod.name.partition("-7")[0][:10] for it, _ in story.pods) == [
        "reviews-v1",
        "reviews-v2",
        "reviews-v3",
    ]
    said = text(service_view.page(story))
    assert all(f"reviews-v{n}" in said for n in (1, 2, 3))


def test_a_rule_with_shadow_policies_only_is_read() -> None:
    # istioctl dereferences nothing there: the policies are told from the resources, not from the proxy's filters
    it, said = described(RECORDED / "policies.tar.gz", "deploy/backend-v1.policies")
    assert it.standing is not None
    assert {p.meta.kind for p in it.standing.policies} >= {"AuthorizationPolicy", "RequestAuthentication"}
    assert "backend-allow-client" in said


def test_rules_that_were_flushed_are_not_told_as_if_they_were_there() -> None:
    _, said = described(RECORDED / "broken.tar.gz", "deploy/flushed-v1.broken")
    assert "so it is not what happens" in said
    _, well = described(RECORDED / "broken.tar.gz", "deploy/client-v1.broken")
    assert "so it is not what happens" not in well


def test_where_nothing_is_captured_nothing_is_said_to_pass_through_the_proxy() -> None:
    _, said = described(RECORDED / "variants.tar.gz", "deploy/none-v1.variants")
    assert "every captured connection passes through it" not in said
    assert "the proxy, for the services with this port" in said
    assert "istiod's metrics" not in said
    assert "not captured, so nobody checks it" in said


def test_the_article_claims_only_what_holds_for_the_pod() -> None:
    def told(name: str, pod: str) -> str:
        it, findings = evidence.pods(open_snapshot(str(RECORDED / f"{name}.tar.gz")), [pod], Scope(None, True))[0]
        return text(article.page(it, findings))

    assert "Yet each TCP connection passes through" in told("classic", "deploy/reviews-v1.classic")
    assert "Yet those that are captured pass through" in told("variants", "deploy/exclude-v1.variants")
    assert "Whether its connections pass through there is told below" in told("variants", "deploy/none-v1.variants")
    assert "are not as they should be (MC301)" in told("broken", "deploy/flushed-v1.broken")
    for page in (told("variants", "deploy/none-v1.variants"), told("broken", "deploy/flushed-v1.broken")):
        assert "Yet each" not in page
