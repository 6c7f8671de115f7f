"""Each piece of evidence of a trace is where it says: the JSON path leads somewhere, the line has the text."""

import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

from meshctl.path.model import Evidence, Trace
from meshctl.sources import snapshot
from tests.path.recordings import FOLDER, Case, of_case, truths

CASES = truths()
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


@cache
def content(name: str, file: str) -> str:
    found = snapshot.open_snapshot(str(FOLDER / f"{name}.tar.gz"))
    held = found.files.read(file.removeprefix(f"{found.name}/"))
    assert held is not None, file
    return held.decode()


@cache
def document(name: str, file: str) -> object:
    return json.loads(content(name, file))


def shown(found: Trace) -> Iterator[Evidence]:
    for hop in found.hops:
        yield from hop.evidence
    yield from found.kube_proxy.evidence


def missing(name: str, one: Evidence) -> str:
    """What is wrong with a piece of evidence, empty for nothing; without a path it is the whole file."""
    if not one.path:
        return "" if content(name, one.file) else "the file is empty"
    if one.path.startswith("line "):
        line = content(name, one.file).splitlines()[int(one.path[5:]) - 1]
        return "" if " ".join(one.text.split()) in " ".join(line.split()) else f"the line is {line}"
    value = document(name, one.file)
    for key, index in STEP.findall(one.path):
        try:
            value = value[int(index)] if index else value[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return f"nothing at {key or index}"
    return ""


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_evidence_is_where_it_is_said_to_be(case: Case) -> None:
    cited = [one for one in shown(of_case(case)) if one.file.endswith((".json", ".txt"))]
    assert cited
    assert not [(one, why) for one in cited if (why := missing(case.name, one))]
