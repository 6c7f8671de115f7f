"""WorkloadEntries: machines outside of the cluster are among the hosts of what selects them."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import End
from tests.path.made import Mesh, endpoints, pod, service

FILE = "resources/workloadentries.networking.istio.io.json"
SELECTING = {
    "metadata": {"name": "vm", "namespace": "shop"},
    "spec": {
        "hosts": ["vm.example.com"],
        "addresses": ["240.1.1.1"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "workloadSelector": {"labels": {"app": "web"}},
    },
}


def machine(namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "m", "namespace": namespace}, "spec": {"address": "172.20.0.9", "labels": labels}}


def end(folder: Path, target: str, *machines: dict[str, Any], text: str = "") -> End:
    return (
        Mesh(
            pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.6")],
            services=[service("web", "10.96.0.6", 80, 8080)],
            slices=[endpoints("web", 8080, "10.0.0.6")],
            entries=[SELECTING],
            listening={"web": ["0.0.0.0:8080", "0.0.0.0:80"]},
            files={FILE: text or json.dumps({"kind": "List", "items": list(machines)})},
        )
        .trace(folder, target, "client", **({} if target.startswith("web") else {"host": "vm.example.com"}))
        .outcome.end
    )


@pytest.mark.parametrize("target", ["web:80", "http://240.1.1.1/"], ids=["Service", "ServiceEntry"])
@pytest.mark.parametrize(
    ("one", "among"),
    [
        (machine(app="web"), True),
        (machine(app="web", version="v1"), True),
        (machine(app="other"), False),
        (machine(), False),
        (machine("other", app="web"), False),
    ],
)
def test_a_machine_is_among_the_hosts_of_what_selects_it(
    tmp_path: Path, target: str, one: dict[str, Any], among: bool
) -> None:
    found = end(tmp_path, target, one)
    assert (found.delivered is None) is among
    assert any("WorkloadEntry m.shop is among its hosts" in why for why in found.undecided) is among


def test_a_list_that_cannot_be_read_is_about_serviceentries(tmp_path: Path) -> None:
    found = end(tmp_path / "a", "http://240.1.1.1/", text="{")
    assert "which WorkloadEntries ServiceEntry vm.shop selects could not be read" in found.undecided[0]
    assert end(tmp_path / "b", "web:80", text="{").delivered
