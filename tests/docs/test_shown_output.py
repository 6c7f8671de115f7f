"""Every output that the documentation shows is what the command prints today; --update-golden writes it anew.

A block is marked in the Markdown source by a comment: ``<!-- run: meshctl --demo trace reviews:9080 -->`` before it;
``<!-- run: ... | lines 1-20 -->`` shows a part, with ``...`` where something is left out; ``| section TITLE`` shows one
section, from its title to the next empty line before a title.
"""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(
    r"(?P<head><!-- run: meshctl (?P<words>[^|\n]*?)"
    r"(?: \| lines (?P<first>\d+)-(?P<last>\d+)| \| section (?P<section>[^\n]+?))? -->\n"
    r"```[a-z]*\n)(?P<text>.*?)(?P<foot>```\n)",
    re.DOTALL,
)


def shown(found: re.Match[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    lines = CliRunner().invoke(app, shlex.split(found["words"])).stdout.splitlines()
    if found["first"]:
        lines = part(lines, int(found["first"]) - 1, int(found["last"]))
    if found["section"]:
        start = lines.index(found["section"])
        lines = part(lines, start, section_end(lines, start))
    return f"$ meshctl {found['words']}\n" + "".join(f"{line.rstrip()}\n" for line in lines)


def part(lines: list[str], start: int, end: int) -> list[str]:
    return [*["..."] * (start > 0), *lines[start:end], *["..."] * (end < len(lines))]


def section_end(lines: list[str], start: int) -> int:
    """A section ends where an empty line is followed by a title: a line of its own that starts with a capital."""
    for at in range(start + 2, len(lines) - 1):
        if not lines[at].strip() and re.fullmatch(r"[A-Z][A-Za-z ']{3,60}", lines[at + 1]):
            return at
    return len(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_output_is_real(page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(found: re.Match[str]) -> str:
        return found["head"] + shown(found, monkeypatch) + found["foot"]

    now = page.read_text()
    expected = SHOWN.sub(fresh, now)
    if request.config.getoption("--update-golden"):
        page.write_text(expected)
    assert page.read_text() == expected
    assert now.count("<!-- run:") == len(SHOWN.findall(now))


def test_the_readme_shows_the_three_commands() -> None:
    text = (ROOT / "README.md").read_text()
    for words in ("describe pod", "iptables dump", "trace"):
        assert re.search(rf"<!-- run: meshctl [^\n]*{words}", text)


def test_the_documentation_names_no_machine() -> None:
    for page in [*PAGES, *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"/root/|/work/|/tmp/\w+/|pypi\.org/simple|\.local/registry", page.read_text()), page
