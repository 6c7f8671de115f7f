import re
from pathlib import Path

import meshctl
from meshctl.words import counted

PLURALS = (
    r"pods|files|rules|packets|parts|endpoints|callers|nodes|chains|namespaces|services|containers|findings|pieces"
)


def test_one_is_singular() -> None:
    assert [counted(n, "pod") for n in (0, 1, 2)] == ["0 pods", "1 pod", "2 pods"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


def test_no_count_is_followed_by_a_bare_plural() -> None:
    """But where it is more than one anyway; those lines say so."""
    more = ("may mean", "are proxies", "endpoints may get it", "rules have a part", "none of its")
    found = [
        f"{file.name}: {line.strip()}"
        for file in Path(meshctl.__file__).parent.rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(rf"\{{[^{{}}]*len\([^{{}}]*\}} (?:{PLURALS})\b", line) and not any(word in line for word in more)
    ]
    assert found == []
