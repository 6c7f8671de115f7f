from dataclasses import replace
from pathlib import Path

import pytest

from meshctl.checks.finding import Finding, Severity
from meshctl.gather import evidence
from meshctl.gather.scope import Scope
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.release import LATEST
from meshctl.sources.snapshot import open_snapshot
from meshctl.views import pod_capture as view

RECORDED = Path(__file__).parents[2] / "fixtures" / "trace" / "broken.tar.gz"


@pytest.mark.parametrize(
    ("args", "incoming", "outgoing"),
    [
        (["-b", "*", "-d", "15090,15021,15020", "-i", "*"],
         "all except 15090, 15021 and 15020 -> port 15006 (REDIRECT)", "all -> port 15001"),
        (["-b", "", "-i", ""], "none", "none"),
        (["-b", "80,443", "-d", "80", "-i", "*", "-o", "53,3306", "-x", "10.1.0.0/16"],
         "80 and 443 -> port 15006 (REDIRECT)",
         "all, except to 10.1.0.0/16 and to ports 53 and 3306 -> port 15001"),
        (["-i", "10.0.0.0/8", "-q", "25", "-o", "53"], "none",
         "10.0.0.0/8; also everything to port 25, except to port 53 -> port 15001"),
        (["-i", "", "-q", "25,26"], "none", "everything to ports 25 and 26 -> port 15001"),
        (["-i", "*", "-q", "25"], "none", "all -> port 15001"),
    ],
)  # fmt: skip
def test_what_is_captured_in_words(args: list[str], incoming: str, outgoing: str) -> None:
    rows = dict(view.capture_rows(of_arguments(args, {}, LATEST)))
    assert (rows["incoming TCP ports"], rows["outgoing TCP"]) == (incoming, outgoing)


def test_several_users_are_named_as_such() -> None:
    rows = dict(view.capture_rows(of_arguments(["-u", "1337,1000", "-g", "1337"], {}, LATEST)))
    assert rows["not captured"] == "what the proxy itself sends (users 1337 and 1000, group 1337)"


@pytest.mark.parametrize(("severity", "said"), [("error", True), ("warning", True), ("info", False)])
def test_rules_that_capture_otherwise_than_asked_are_noted_beside_what_is_asked(severity: Severity, said: bool) -> None:
    # A rule too many is a warning, and may capture what the arguments leave alone.
    it, _ = evidence.pods(open_snapshot(str(RECORDED)), ["deploy/client-v1.broken"], Scope(None, True))[0]
    found = Finding(id="MC301", severity=severity, subject="x", text="x", evidence="x", fix="x")
    assert bool(list(view.rules_note(replace(it, foreign=(found,))))) == said
