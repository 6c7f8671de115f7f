"""What a command reads twice is fetched once."""

from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.gather.remembering import Remembering
from meshctl.sources import kinds
from meshctl.sources.world import Kind, Objects, Part


class Counting:
    """A world that counts what it is asked for."""

    live = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        self.asked.append(f"{kind.plural} {namespace} {selector}")
        return Objects(kind.plural, ())

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        self.asked.append(f"{pod} {' '.join(names)}")
        return {name: Part(name, b"x") for name in names}


def remembering(most: int = 40) -> tuple[Any, Counting]:
    world = Counting()
    return Remembering(world, most), world  # type: ignore[arg-type]


def test_only_what_is_missing_is_fetched() -> None:
    kept, world = remembering()
    kept.parts("a", "one", ("x", "y"))
    assert set(kept.parts("a", "one", ("y", "z"))) == {"y", "z"}
    assert kept.part("a", "one", "x").content == b"x"
    kept.objects(kinds.PODS, "a")
    kept.objects(kinds.PODS, "a")
    kept.objects(kinds.PODS, "a", "app=b")
    assert world.asked == ["one x y", "one z", "pods a ", "pods a app=b"]
    assert kept.live


def test_of_too_many_pods_nothing_is_kept() -> None:
    kept, world = remembering(most=1)
    kept.part("a", "one", "x")
    assert not kept.full
    kept.part("a", "two", "x")
    assert kept.full
    kept.part("a", "one", "x")
    assert world.asked == ["one x", "two x", "one x"]
