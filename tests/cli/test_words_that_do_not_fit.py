"""Words of the command line that do not go together, or name nothing: one line that says what to write instead."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("--demo", "iptables", "dump"), "error: no pod is named", "hint: name one of 6: details-v1-"),
        (("--demo", "trace", "reviews:9080", "--all", "classic"), "exclude each other", "--all NS"),
        (("--demo", "trace", "-A", "--probe"), "--probe is about one request", "name a target"),
        (("--demo", "trace", "-A", "--expect", "status=200"), "--expect is about one request", "name a target"),
        (("--demo", "trace", "ftp://reviews:9080/"), "ftp is not followed", "http, https"),
        (("--snapshot", __file__, "snapshot", "show"), "it is no tar file (after 0 files)", "a .tar.gz"),
    ],
)
def test_it_is_said_in_two_lines(words: tuple[str, ...], said: str, hint: str) -> None:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert said in lines[0]
    assert hint in lines[1]


def test_a_flag_that_nobody_knows_hides_no_other() -> None:
    done = CliRunner().invoke(app, ["why", "503", "UF,ZZ"])
    assert done.exit_code == 0
    assert "not known: ZZ" in done.stdout
    assert "\nUF " in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_in_a_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "meshctl", "--demo", "check"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (5, "error: the output cannot be written: No space left on device\n")
