"""discoverySelectors: of namespaces that istiod does not look at, no resource or Service is part of the mesh."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import End
from tests.path.made import Mesh, endpoints, pod, service

FIND = "discoverySelectors: [{matchLabels: {mesh: 'yes'}}, {matchExpressions: [{key: also, operator: Exists}]}]"


def end(folder: Path, settings: str, **labels: dict[str, str] | None) -> End:
    """A request from namespace shop to other; `labels` are theirs, None where a namespace was not recorded."""
    raw = [{"metadata": {"name": n, "labels": own}} for n, own in labels.items() if own is not None]
    raw += [{"metadata": {"name": name}} for name in ("istio-system", "kube-system")]
    return (
        Mesh(
            pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.6", namespace="other")],
            services=[service("web", "10.96.0.6", 80, 8080, namespace="other")],
            slices=[endpoints("web", 8080, "10.0.0.6", namespace="other")],
            listening={"web": ["0.0.0.0:8080"]},
            files={"resources/namespaces.json": json.dumps({"kind": "List", "items": raw})},
            settings=settings,
        )
        .trace(folder, "web.other:80", "client")
        .outcome.end
    )


@pytest.mark.parametrize(
    ("shop", "other", "unseen"),
    [
        ({"mesh": "yes"}, {"also": ""}, ""),
        ({"mesh": "yes"}, {"mesh": "no"}, "other"),
        ({"mesh": "yes"}, {}, "other"),
        ({}, {"mesh": "yes"}, "shop"),
    ],
)
def test_what_istiod_does_not_look_at_is_open(tmp_path: Path, shop: Any, other: Any, unseen: str) -> None:
    found = end(tmp_path, FIND, shop=shop, other=other)
    assert [why for why in found.undecided if f"namespace {unseen} is none" in why] == list(found.undecided)
    assert bool(found.undecided) is bool(unseen)


def test_without_selectors_all_are_looked_at(tmp_path: Path) -> None:
    assert not end(tmp_path, "rootNamespace: istio-system", shop={}, other={}).undecided
