"""Pages in a real browser: nothing is logged, nothing sticks out, and it can be read and used by everyone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshctl.__main__ import main
from meshctl.render import html, svg
from tests.browser.chromium import Chromium, find
from tests.render.pages import PAGE

PROGRAM = find()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium here"),
    pytest.mark.xdist_group("browser"),
]
COMMANDS = {
    "describe": ("describe", "pod", "deploy/productpage-v1"),
    "trace": ("trace", "reviews:9080", "--from", "deploy/productpage-v1"),
}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STICKING_OUT = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('svg') &&
  e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 120))"""
CONTRAST = """(() => {
  const rgb = c => { const m = c.match(/[\\d.]+/g).map(Number);
    return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
  const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => {
    for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; }
    return [255, 255, 255]; };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('svg') || !e.checkVisibility()) continue;
    const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(e.outerHTML.slice(0, 120));
  }
  return poor; })()"""
OUT_OF_BOX = """[...document.querySelectorAll('svg g')].flatMap(g => {
  const box = g.querySelector(':scope > rect.box, :scope > rect.exit, :scope > rect.stage'); if (!box) return [];
  const b = box.getBBox();
  return [...g.querySelectorAll(':scope > text')].filter(t => { const r = t.getBBox();
    return r.width && (r.x < b.x || r.x + r.width > b.x + b.width || r.y + r.height > b.y + b.height + 3); })
    .map(t => t.textContent); })"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(str(PROGRAM), tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(params=["every block", *COMMANDS])
def page(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A file with one of the pages: one of each block, or what a command draws of the demo."""
    file = tmp_path / "page.html"
    if request.param not in COMMANDS:
        file.write_text(html.draw(PAGE))
        return file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["meshctl", "--demo", *COMMANDS[request.param], "-o", "html"])
        with pytest.raises(SystemExit) as left:
            main()
    assert not left.value.code
    file.write_text(capsys.readouterr().out)
    return file


@pytest.fixture
def every_block(tmp_path: Path) -> Path:
    file = tmp_path / "page.html"
    file.write_text(html.draw(PAGE))
    return file


@pytest.mark.parametrize("width", [360, 390, 768, 1280, 1920])
def test_nothing_is_logged_fetched_or_sticks_out(browser: Chromium, page: Path, width: int) -> None:
    browser.open(page, width=width)
    assert browser.complaints() == []
    assert browser.value(OVERFLOW) <= 0
    assert browser.value(STICKING_OUT) == []
    assert browser.screenshot().startswith(b"\x89PNG")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_writing_has_enough_contrast(browser: Chromium, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value(CONTRAST) == []
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(16, 20, 24)" if dark else "rgb(255, 255, 255)")


def test_lanes_stand_side_by_side_where_there_is_room(browser: Chromium, every_block: Path) -> None:
    places = "[...document.querySelectorAll('.lane')].map(e => e.getBoundingClientRect()).map(r => [r.left, r.top])"
    browser.open(every_block, width=1280)
    wide = browser.value(places)
    assert len({top for _, top in wide}) == 1
    assert len({left for left, _ in wide}) == len(wide) == 3
    browser.open(every_block, width=390)
    narrow = browser.value(places)
    assert len({left for left, _ in narrow}) == 1
    assert narrow == sorted(narrow, key=lambda place: float(place[1]))


def test_the_keyboard_is_enough(browser: Chromium, every_block: Path) -> None:
    browser.open(every_block)
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("document.activeElement.getBoundingClientRect().left") == 0
    browser.press("Enter", 13, "\r")
    assert browser.value("document.activeElement.id") == "main"
    browser.value("document.querySelector('.stage summary').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.value("document.querySelector('.stage details').open") is True


@pytest.mark.parametrize("width", [390, 1280])
def test_landmarks_and_tables_are_there_for_screen_readers(browser: Chromium, every_block: Path, width: int) -> None:
    browser.open(every_block, width=width)
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
    assert {"banner", "main", "navigation", "contentinfo", "table", "row", "cell", "rowheader", "note"} <= set(roles)
    assert roles.count("columnheader") == 8


def test_paper_shows_the_evidence_that_is_folded_on_screen(browser: Chromium, every_block: Path) -> None:
    browser.open(every_block)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    height = "document.querySelector('.stage details ul').getBoundingClientRect().height"
    assert browser.value(height) > 10
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.paper().startswith(b"%PDF")
    browser.ask("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_picture_alone_opens_and_its_text_fits_its_boxes(browser: Chromium, tmp_path: Path, dark: bool) -> None:
    file = tmp_path / "page.svg"
    file.write_text(svg.draw(PAGE))
    browser.open(file, dark=dark)
    assert browser.complaints() == []
    assert browser.value(OUT_OF_BOX) == []
    ground = browser.value("getComputedStyle(document.querySelector('.sheet')).fill")
    assert ground == ("rgb(16, 20, 24)" if dark else "rgb(255, 255, 255)")
