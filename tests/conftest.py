"""What all tests share: the fixtures' folder, snapshots, golden files, and the list of skips that CI tolerates."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples on every run, so that a red run is red again; MESHCTL_RANDOM=1 searches for new ones.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
if not os.environ.get("MESHCTL_RANDOM"):
    settings.load_profile("steady")

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIXTURES = Path(__file__).parent.parent / "fixtures"
_untold: list[str] = []
_predictions: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def fixtures() -> Path:
    return FIXTURES


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compare text with the file named for the test, below ``golden`` beside it."""

    def compare(text: str) -> None:
        file = Path(request.path).parent / "golden" / f"{request.node.name.replace('/', '_')}.txt"
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        assert text == file.read_text(), f"{file} differs; --update-golden writes it anew"

    return compare


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's own shell may change a test's result."""
    for name in ("MESHCTL_SNAPSHOT", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call":
        for name, count in report.user_properties:
            if name in ("decided", "undecided"):
                _predictions[name] += count
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(part in report.nodeid for part in _allowed()):
            _untold.append(f"{report.nodeid}: {reason}")


def _allowed() -> list[str]:
    listed = os.environ.get("MESHCTL_ALLOWED_SKIPS")
    if not listed:
        return [""]
    lines = Path(listed).read_text().splitlines()
    return [line.partition(" : ")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _untold and not hasattr(session.config, "workerinput"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _predictions:
        told, open_ = _predictions["decided"], _predictions["undecided"]
        terminalreporter.line(f"predictions put to a real Envoy: {told} decided, {open_} undecided")
    if _untold:
        terminalreporter.section("skips that are not on the list", red=True)
        for line in _untold:
            terminalreporter.line(line)
