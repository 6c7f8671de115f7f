import pytest

from meshctl.kube import events, owners, runtime
from tests.injection import build

CID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods/burstable/podabc/{CID}\n",
        f"0::/kubepods.slice/kubepods-pod_x.slice/cri-containerd-{CID}.scope\n",
        f"0::/kubepods.slice/kubepods-pod_x.slice:cri-containerd:{CID}\n",
        f"12:pids:/docker/{CID}\n11:cpu:/docker/{CID}\n",
    ],
)
def test_the_container_id_in_every_shape_of_cgroup_path(cgroup: str) -> None:
    assert runtime.container_id(cgroup) == CID


def test_no_container_id_where_there_is_none() -> None:
    assert runtime.container_id("0::/\n") == ""
    assert runtime.container_id("0::/init.scope") == ""


def test_reads_what_the_runtime_recorded() -> None:
    clues = build.clues()
    assert clues.sandbox is not None
    assert clues.sandbox.pid == 30469
    assert {r.container for r in clues.runs} == {"istio-init", "istio-proxy", "reviews"}
    assert all(r.sandbox_id == clues.sandbox.id for r in clues.runs)
    pause = next(p for p in clues.processes if p.pid == clues.sandbox.pid)
    assert (pause.name, pause.container_id) == ("pause", clues.sandbox.id)


def test_follows_owners_to_the_users_template() -> None:
    pod = build.recorded_pod("classic-sidecar")
    found = owners.workload(pod, build.recorded("classic-sidecar.owners"))
    assert [f"{o.kind}/{o.name}" for o in found.chain] == ["ReplicaSet/reviews-v1-7756f78fff", "Deployment/reviews-v1"]
    assert found.template is not None
    assert [c.name for c in found.template.containers] == ["reviews"]


def test_an_owner_that_is_not_there_ends_the_chain() -> None:
    found = owners.workload(build.recorded_pod("classic-sidecar"), ())
    assert [o.kind for o in found.chain] == ["ReplicaSet"]
    assert found.template is None


def test_events_are_about_one_object_and_sorted() -> None:
    def event(name: str, at: str | None, **more: object) -> dict[str, object]:
        about = {"kind": "Pod", "name": name, "namespace": "n", "fieldPath": "spec.containers{app}"}
        return {"involvedObject": about, "reason": "R", "firstTimestamp": at, "type": "Warning", **more}

    raws = [
        event("a", "2026-01-01T00:00:02Z", count=3),
        event("b", "2026-01-01T00:00:00Z"),
        event("a", None, eventTime="2026-01-01T00:00:01.5Z"),
        {"involvedObject": "nonsense"},
    ]
    found = events.about(raws, "Pod", "n", "a")
    assert [e.count for e in found] == [1, 3]
    assert found[0].container == "app"
    assert found[0].warning
