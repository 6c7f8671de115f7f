"""A matrix that workers make is the one that is made alone, and what goes wrong in one is told."""

import pytest

from meshctl.errors import BadInput
from meshctl.gather import matrix
from tests.path.recordings import world


@pytest.mark.parametrize("name", ["policies", "variants"])
def test_workers_find_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = matrix.matrix(world(name), name)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(matrix, "_built", lambda work, tick, _live: matrix._by_workers(work, tick, 7, 3))
    assert matrix.matrix(world(name), name, lambda done, total: told.append((done, total))) == alone
    assert told[-1] == (len(alone.cells), 7)
    assert not matrix._work


def test_what_goes_wrong_in_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_work: matrix.Work, _first: int, _last: int) -> None:
        raise BadInput("a part is broken", hint="record it again")

    monkeypatch.setattr(matrix.Work, "rows", broken)
    monkeypatch.setattr(matrix, "_built", lambda work, tick, _live: matrix._by_workers(work, tick, 7, 2))
    with pytest.raises(BadInput, match="a part is broken"):
        matrix.matrix(world("policies"), "policies")
