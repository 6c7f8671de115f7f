from types import SimpleNamespace
from typing import Any

from meshctl.cli import complete


def line(root: dict[str, Any] | None = None, **params: Any) -> Any:
    """A half-written command line, as Typer gives it to a completer."""
    above = SimpleNamespace(params=root or {})
    return SimpleNamespace(params=params, find_root=lambda: above)


def test_completes_pods_of_the_named_world() -> None:
    found = complete.pods(line({"demo": True}), "product")
    assert len(found) == 1
    assert found[0].startswith("productpage-v1-")
    assert complete.pods(line(demo=True), "dep") == ["deploy/"]
    assert complete.pods(line(demo=True), "deploy/prod") == ["deploy/productpage-v1"]


def test_completes_services_with_ports_and_namespaces() -> None:
    assert complete.services(line(demo=True), "reviews:") == ["reviews:9080"]
    assert "classic" in complete.namespaces(line(demo=True), "")


def test_says_nothing_where_the_world_cannot_be_reached() -> None:
    assert complete.pods(line(snapshot="/nowhere/at/all"), "") == ["deploy/", "svc/"]
