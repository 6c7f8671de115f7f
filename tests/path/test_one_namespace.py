"""Traces of a user who may read one namespace and nothing else, not even which others there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import NoAccess
from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.path.model import End
from meshctl.sources.kinds import Kind
from meshctl.sources.snapshot import Snapshot, open_snapshot
from meshctl.sources.world import Objects, Part

RECORDED = Path(__file__).parents[2] / "fixtures" / "trace" / "policies.tar.gz"
OWN = "policies"


class OneNamespace:
    """A live cluster as RBAC shows it to the user of a namespace; `dumps` whether pods/portforward is allowed there."""

    live = True

    def __init__(self, whole: Snapshot, *, dumps: bool) -> None:
        self.whole, self.dumps, self.name = whole, dumps, whole.name
        self.prefetch, self.root_namespace = whole.prefetch, whole.root_namespace
        self.now, self.node_part = whole.now, lambda _node, name: Part(name, None, "forbidden")

    def namespaces(self) -> tuple[str, ...]:
        return ()

    def default_namespace(self) -> str:
        return OWN

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        if not kind.namespaced:
            return Objects(kind.plural, (), False, "forbidden")
        if namespace != OWN:
            raise NoAccess(f"may not list {kind.plural} of all namespaces")
        return self.whole.objects(kind, namespace, selector)

    def one(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.whole.one(kind, namespace, name) if namespace == OWN else None

    def part(self, namespace: str, pod: str, name: str) -> Part:
        closed = namespace != OWN or (name.startswith("envoy/") and not self.dumps)
        return Part(name, None, "forbidden") if closed else self.whole.part(namespace, pod, name)

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        return {name: self.part(namespace, pod, name) for name in names}

    def part_names(self, namespace: str, pod: str, folder: str) -> tuple[str, ...]:
        return self.whole.part_names(namespace, pod, folder)


def end(target: str, *, dumps: bool, sender: str = "deploy/client-v1") -> End:
    world = OneNamespace(open_snapshot(str(RECORDED), "policies"), dumps=dumps)
    asked = Asked(target=target, sender=sender, headers=("end-user=jason",))
    return predict(world, asked, Scope(namespace=OWN))[1].outcome.end  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target", ["legacyapp.outside:7070", "nosuch.outside:80", "nosuch.outside.svc.cluster.local:80"]
)
def test_a_name_of_another_namespace_is_not_told_to_be_none(target: str) -> None:
    found = end(target, dumps=False)
    assert found.delivered is None
    assert "the Services of namespace outside may not be read" in found.undecided[0]


def test_a_name_of_the_own_namespace_is() -> None:
    for target in ("nosuch:80", f"nosuch.{OWN}:80"):
        found = end(target, dumps=True)
        assert (found.delivered, found.broken) == (False, "dns")


def test_what_the_proxies_say_is_enough() -> None:
    assert end("backend:9080/api/x", dumps=True).delivered is True
    assert end("backend:9080/other", dumps=True).status == 403


def test_without_them_the_policies_of_the_whole_mesh_are_missing() -> None:
    for path in ("/api/x", "/other"):
        found = end(f"backend:9080{path}", dumps=False)
        assert found.delivered is None
        assert "what namespace istio-system has for the whole mesh could not be read" in found.undecided[0]
