import copy
import dataclasses
import pickle
from dataclasses import field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.frozen import dataclass

Mapping = dict[str, int]


@dataclass(frozen=True, slots=True)
class Point:
    """A point."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()
    extra: Mapping = field(default_factory=dict, compare=False, repr=False)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """The same, by the library."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()
    extra: Mapping = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    a: int
    b: str = "b"


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


@given(st.integers(), st.integers(), st.tuples(st.text(max_size=2)))
def test_behaves_as_the_library_does(x: int, y: int, tags: tuple[str, ...]) -> None:
    ours, theirs = Point(x, y, tags), Reference(x, y, tags)
    assert repr(ours) == repr(theirs).replace("Reference", "Point")
    assert ours == Point(x, y, tags=tags, extra={"ignored": 1})
    assert hash(ours) == hash(Point(x, y, tags))
    assert (ours == Point(x, y + 1, tags)) is (theirs == Reference(x, y + 1, tags))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    assert replace(ours, x=x + 1).x == x + 1
    assert pickle.loads(pickle.dumps(ours)) == ours == copy.deepcopy(ours)


def test_is_frozen_slotted_and_matched() -> None:
    point: Any = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")
    assert point.sum == 3
    match point:
        case Point(1, y):
            assert y == 2
        case _:
            pytest.fail("no match")
    assert point != Reference(1)
    assert Empty() == Empty()
    assert len({Empty(), Empty()}) == 1
    assert dataclasses.is_dataclass(point)


def test_arguments_are_checked_as_ever() -> None:
    wrong: Any = Point
    for arguments in ((), (1, 2, (), {}, 5)):
        with pytest.raises(TypeError):
            wrong(*arguments)
    with pytest.raises(TypeError):
        wrong(1, z=1)
    named: Any = Named
    with pytest.raises(TypeError):
        named(1)
    assert Named(a=1) == Named(a=1, b="b")
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


def test_each_instance_has_its_own_default() -> None:
    assert Point(1).extra is not Point(1).extra


def test_refuses_a_mutable_default() -> None:
    with pytest.raises(ValueError, match="mutable default"):

        @dataclass(frozen=True, slots=True)
        class Wrong:
            items: list[int] = []  # noqa: RUF012


def test_other_options_are_the_library_s() -> None:
    @dataclass(frozen=True, slots=True, order=True)
    class Ordered:
        n: int

    @dataclass(slots=True)
    class Open:
        n: int

    assert Ordered(1) < Ordered(2)
    box = Open(1)
    box.n = 2
    assert box.n == 2
