"""A mesh of several clusters, of which one is recorded, without the configuration of the caller's proxy."""

from pathlib import Path

import pytest

from meshctl.path.model import End
from tests.path.made import Mesh, endpoints, pod, service


def end_of(folder: Path, env: dict[str, str], *, ready: bool = False, policy: str = "Cluster") -> End:
    client = pod("client", "10.0.0.5")
    client["spec"]["containers"][1]["env"] = [{"name": name, "value": value} for name, value in env.items()]
    made = service("web", "10.96.0.7", 80, 8080)
    made["spec"]["internalTrafficPolicy"] = policy
    slices = [endpoints("web", 8080, "10.0.0.6")] if ready else []
    pods = [client, pod("web", "10.0.0.6")]
    mesh = Mesh(pods=pods, services=[made], slices=slices, listening={"web": ["0.0.0.0:8080"]})
    return mesh.trace(folder, "http://web/", "client").outcome.end


@pytest.mark.parametrize(
    ("env", "others"),
    [
        ({}, ""),
        ({"ISTIO_META_CLUSTER_ID": "Kubernetes"}, ""),
        ({"ISTIO_META_CLUSTER_ID": "east"}, "ISTIO_META_CLUSTER_ID is east"),
        ({"ISTIO_META_CLUSTER_ID": "Kubernetes", "ISTIO_META_NETWORK": "n1"}, "ISTIO_META_NETWORK is n1"),
    ],
)
def test_another_cluster_may_have_the_endpoints_that_this_one_lacks(
    env: dict[str, str], others: str, tmp_path: Path
) -> None:
    end = end_of(tmp_path / "none", env)
    lack = "web.shop.svc.cluster.local has no ready endpoints"
    if others:
        assert end.undecided == (f"{lack}, but other clusters of the mesh may have some ({others})",)
    else:
        assert (end.status, end.flags, end.undecided) == (503, "UH", ())
    assert end_of(tmp_path / "ready", env, ready=True).delivered is True
    assert end_of(tmp_path / "local", env, policy="Local").flags == "UH"
