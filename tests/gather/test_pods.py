from pathlib import Path

import pytest

from meshctl.errors import BadInput, NotFound
from meshctl.gather import pods
from meshctl.gather.scope import Scope
from meshctl.sources.snapshot import Snapshot, open_snapshot
from tests import recording

ROOT = {"resources/configmap.istio-system.istio.json": "{}"}


def replica(workload: str, template: str, tail: str, namespace: str, ready: bool = True) -> object:
    return recording.pod(
        f"{workload}-{template}-{tail}",
        namespace,
        ready=ready,
        labels={"app": workload, "pod-template-hash": template},
        metadata=recording.owned("ReplicaSet", f"{workload}-{template}"),
    )


@pytest.fixture
def world(tmp_path: Path) -> Snapshot:
    listed = [
        replica("web", "5d8f7", "aaaaa", "shop", ready=False),
        replica("web", "5d8f7", "bbbbb", "shop"),
        replica("web-admin", "77c9d", "ccccc", "shop"),
        recording.pod("db-0", "shop", metadata=recording.owned("StatefulSet", "db")),
        recording.pod("tick-2893-x", "shop", metadata=recording.owned("Job", "tick-2893")),
        recording.pod("istiod-1", "istio-system"),
    ]
    service = {"metadata": {"name": "front", "namespace": "shop"}, "spec": {"selector": {"app": "web"}}}
    place = recording.write(
        tmp_path / "one",
        namespaces=["istio-system", "shop"],
        resources={"pods": listed, "services": [service]},
        files=ROOT,
    )
    return open_snapshot(str(place))


@pytest.fixture
def two_spaces(tmp_path: Path) -> Snapshot:
    listed = [recording.pod("a-1", "east"), recording.pod("both", "east"), recording.pod("both", "west")]
    place = recording.write(
        tmp_path / "two", namespaces=["east", "west", "istio-system"], resources={"pods": listed}, files=ROOT
    )
    return open_snapshot(str(place))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("db-0", "db-0"),
        ("pod/db-0", "db-0"),
        ("db-0.shop", "db-0"),
        ("shop/db-0", "db-0"),
        ("shop/db", "db-0"),
        ("istio-system/istiod-1", "istiod-1"),
        ("db", "db-0"),
        ("sts/db", "db-0"),
        ("cj/tick", "tick-2893-x"),
        ("job/tick-2893", "tick-2893-x"),
        ("web-admin", "web-admin-77c9d-ccccc"),
        ("deploy/web", "web-5d8f7-bbbbb"),
        ("svc/front", "web-5d8f7-bbbbb"),
        ("istiod-1.istio-system", "istiod-1"),
    ],
)
def test_finds_the_pod_that_a_name_means(world: Snapshot, text: str, name: str) -> None:
    assert pods.one(world, text, Scope()).name == name


def test_a_workload_has_all_its_pods_and_no_namesakes(world: Snapshot) -> None:
    found = pods.many(world, "deploy/web", Scope())
    assert [p.name for p in found] == ["web-5d8f7-aaaaa", "web-5d8f7-bbbbb"]


def test_labels_select_pods(world: Snapshot) -> None:
    assert len(pods.many(world, None, Scope(selector="app=web"))) == 2
    assert pods.one(world, None, Scope(selector="app=web")).name == "web-5d8f7-bbbbb"
    with pytest.raises(NotFound, match="app=none"):
        pods.many(world, None, Scope(selector="app=none"))


def test_an_ambiguous_prefix_lists_the_candidates(world: Snapshot) -> None:
    with pytest.raises(BadInput, match="may mean 3 pods") as caught:
        pods.one(world, "web", Scope())
    assert "web-5d8f7-aaaaa, web-5d8f7-bbbbb, web-admin-77c9d-ccccc" in str(caught.value.hint)


def test_a_near_miss_is_suggested(world: Snapshot) -> None:
    with pytest.raises(NotFound) as caught:
        pods.one(world, "web-admn", Scope())
    assert "web-admin-77c9d-ccccc" in str(caught.value.hint)


def test_a_pod_elsewhere_is_pointed_at(world: Snapshot) -> None:
    with pytest.raises(NotFound) as caught:
        pods.one(world, "istiod", Scope())
    assert "-n istio-system" in str(caught.value.hint)


def test_an_unknown_namespace_is_said(world: Snapshot) -> None:
    with pytest.raises(NotFound, match="no namespace 'shp'") as caught:
        pods.one(world, "db-0", Scope(namespace="shp"))
    assert "shop" in str(caught.value.hint)


def test_a_name_in_one_of_several_namespaces_is_found_there(two_spaces: Snapshot) -> None:
    assert pods.one(two_spaces, "a", Scope()).namespace == "east"
    with pytest.raises(BadInput, match="east, west"):
        pods.one(two_spaces, "both", Scope())
    assert pods.one(two_spaces, "both", Scope(namespace="west")).namespace == "west"
    assert len(pods.many(two_spaces, None, Scope(all_namespaces=True))) == 3


def test_a_snapshot_without_pods_says_so(tmp_path: Path) -> None:
    empty = open_snapshot(str(recording.write(tmp_path / "none", namespaces=["x"])))
    with pytest.raises(NotFound, match=r"pods\.json"):
        pods.one(empty, "a", Scope())


@pytest.mark.parametrize("broken", [{"metadata": "x"}, {"metadata": {"name": "a", "labels": 7}, "status": [1]}, {}])
def test_pods_of_another_shape_are_passed_over(broken: dict[str, object]) -> None:
    from meshctl.gather import pods as gathering

    assert gathering._ready(broken) is False
    assert gathering._labels(broken) == {}
    assert gathering._name(broken) in ("", "a")
    assert gathering._namespace(broken) == "default"


def test_what_stands_before_the_slash_is_a_namespace_or_a_kind(world: Snapshot, two_spaces: Snapshot) -> None:
    assert pods.one(two_spaces, "west/both", Scope()).namespace == "west"
    with pytest.raises(NotFound, match="there is no pod 'a-2' in namespace east"):
        pods.one(two_spaces, "east/a-2", Scope())
    for text in ("secret/db-0", "deplyo/web"):
        with pytest.raises(BadInput, match="neither a kind that has pods nor a namespace") as caught:
            pods.one(world, text, Scope())
        assert "deploy/NAME" in str(caught.value.hint)
