"""Pods whose recorded status says that they have ended, or not started, beside what was seen of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from meshctl.gather import question
from meshctl.gather import trace as gather
from meshctl.gather.scope import Scope
from meshctl.path.model import Trace
from meshctl.path.trace import trace
from meshctl.sources.snapshot import open_snapshot
from tests.path.made import NAMESPACES, Mesh, endpoints, plain, service

CLIENT = 'tcp LISTEN 0 128 0.0.0.0:9 0.0.0.0:* users:(("app",pid=7,fd=3)) uid:1000'


def traced(
    folder: Path,
    client: str = "Running",
    web: str = "Running",
    *,
    seen: Sequence[str] = ("client", "web"),
    namespaces: Sequence[str] = NAMESPACES,
    **files: str,
) -> Trace:
    """A request between pods with these phases; `seen` are those whose sockets were recorded."""
    made = Mesh(
        pods=[plain("client", "10.0.0.5", phase=client), plain("web", "10.0.0.6", phase=web)],
        services=[service("web", "10.96.0.6", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"client": ["0.0.0.0:9"], "web": ["0.0.0.0:8080"]},
        files={
            "resources/namespaces.json": json.dumps({"items": [{"metadata": {"name": n}} for n in namespaces]}),
            **{f"pods/shop/{n}/netns/sockets.txt": "nothing" for n in ("client", "web") if n not in seen},
            **files,
        },
    )
    return made.trace(folder / "s", "web:80", "client")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_caller_that_has_ended_sends_nothing(tmp_path: Path, phase: str) -> None:
    found = traced(tmp_path, client=phase, seen=("web",))
    end = found.outcome.end
    assert (end.answered_by, end.delivered, end.undecided) == ("nobody", False, ())
    assert end.why == f"shop/client has ended ({phase}), so it sends nothing"
    assert [hop.kind for hop in found.hops] == ["app"]
    assert [(f.id, f.severity) for f in found.findings] == [("MT114", "error")]


def test_a_caller_that_has_ended_and_was_seen_leaves_it_open(tmp_path: Path) -> None:
    end = traced(tmp_path, client="Failed").outcome.end
    assert end.delivered is None
    assert "says that it has ended (Failed), and yet its sockets were recorded" in end.why


def test_a_caller_that_has_not_started_sends_nothing_yet(tmp_path: Path) -> None:
    unseen = traced(tmp_path / "a", client="Pending", seen=("web",))
    envoy_only = CLIENT.replace('"app"', '"envoy"')
    only = {"pods/shop/client/netns/sockets.txt": f"{envoy_only}\n"}
    for found in (unseen, traced(tmp_path / "b", client="Pending", **only)):
        assert found.outcome.end.delivered
        assert [(f.id, f.severity) for f in found.findings] == [("MT114", "warning")]
        assert "shop/client has not started (Pending), so it sends nothing yet" in found.findings[0].text


def test_a_caller_that_started_after_the_list_was_read_is_traced_with_a_remark(tmp_path: Path) -> None:
    found = traced(tmp_path, client="Pending")
    assert found.outcome.end.delivered
    assert [(f.id, f.severity) for f in found.findings] == [("MT114", "warning")]
    assert "shop/client says that it has not started (Pending), but its sockets were recorded" in found.findings[0].text


def test_a_callee_that_started_after_the_list_was_read_is_traced_with_a_remark(tmp_path: Path) -> None:
    found = traced(tmp_path, web="Pending")
    assert found.outcome.end.delivered
    assert [f.id for f in found.findings] == ["MT114"]


def test_a_pending_callee_that_was_not_seen_leaves_it_open(tmp_path: Path) -> None:
    found = traced(tmp_path, web="Pending", seen=("client",))
    assert found.outcome.end.delivered is None
    assert "shop/web has not started (Pending)" in found.findings[0].text


def test_nobody_answers_for_a_pod_that_has_ended(tmp_path: Path) -> None:
    found = traced(tmp_path, web="Failed", seen=("client",))
    end = found.outcome.end
    assert (end.answered_by, end.delivered, end.broken) == ("nobody", False, "timeout")
    assert "10.0.0.6 is the address of shop/web, whose status says that it has ended (Failed)" in end.why
    assert [f.id for f in found.findings] == ["MT114"]


def test_a_callee_that_has_ended_and_was_seen_leaves_it_open(tmp_path: Path) -> None:
    end = traced(tmp_path, web="Succeeded").outcome.end
    assert end.delivered is None
    assert "and yet its sockets were recorded" in end.why


def test_the_address_of_an_ended_pod_may_be_one_of_another_namespace(tmp_path: Path) -> None:
    end = traced(tmp_path, web="Failed", seen=("client",), namespaces=("shop", "far")).outcome.end
    assert end.delivered is None
    assert "a namespace that was not recorded" in end.why


def test_running_pods_get_no_remark(tmp_path: Path) -> None:
    found = traced(tmp_path)
    assert found.outcome.end.delivered
    assert found.findings == ()


@pytest.mark.parametrize(("gone", "told"), [(True, "is deleted though an EndpointSlice"), (False, "was not recorded")])
def test_a_pod_that_only_an_endpoint_slice_still_has_is_asked_for(tmp_path: Path, gone: bool, told: str) -> None:
    mesh = Mesh(
        pods=[plain("client", "10.0.0.5")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.9")],
        files={"resources/namespaces.json": json.dumps({"items": [{"metadata": {"name": n}} for n in NAMESPACES]})},
    )
    mesh.write(tmp_path)
    world = open_snapshot(str(tmp_path))
    asked: list[str] = []
    place = gather.scene(world, Scope("shop"))
    assert place.gone("shop/web") is False  # a recording cannot be asked
    place = replace(place, gone=lambda key: asked.append(key) is None and gone)
    found = trace(
        place, question.question(world, place, question.Asked(target="web:80", sender="client"), Scope("shop"))
    )
    end = found.outcome.end
    assert told in end.why
    assert (end.delivered, end.broken) == ((False, "timeout") if gone else (None, ""))
    assert asked == ["shop/web"]
