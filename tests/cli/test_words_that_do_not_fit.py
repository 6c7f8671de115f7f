"""Words of the command line that do not go together, or name nothing: one line that says what to write instead."""

import json
import os
import re
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
        (("--demo", "trace", "classic/reviews:9080"), "classic is a namespace", "is reviews.classic:9080"),
        (("--demo", "trace", f"{'a' * 64}.com:80"), "too long to be looked up", "at most 63 bytes"),
        (("--demo", "trace", f"{'abc.' * 70}com:80"), "too long to be looked up", "253 in all"),
        (("--demo", "trace", "rev iews:80"), "its host has a space in it", "SERVICE:PORT"),
        (("--demo", "trce", "reviews:9080"), "there is no command 'trce'", "did you mean trace?"),
        (("--demo", "trace", "10.0.0.300:80"), "'10.0.0.300' is no IP address", "as in 10.0.0.1:80"),
        (("--demo", "trace", "127.1:80"), "'127.1' is no IP address", "as in 10.0.0.1:80"),
        (("--demo", "trace", "reviews:9080:1"), "neither a name nor an IPv6 address", "[IPV6]:PORT"),
        (("--demo", "trace", "./reviews"), "it has no host", "SERVICE.NS:PORT"),
        (("--demo", "--via", "foot", "check"), "there is no way 'foot'", "auto, node, debug-pod, ephemeral"),
        (("--demo", "describe", "productpage"), "'productpage' is no kind of thing", "describe pod productpage"),
        (("--demo", "frobnicate"), "there is no command 'frobnicate'", "there are: describe, iptables"),
        (("--demo", "check", "--ignore", "MC9"), "there is no finding 'MC9'", "like MC114"),
        (("why", "MC101", "MC999"), "'MC999' is not known", "a status is 100 to 599; flags are: DC"),
        (("why", "999"), "'999' is not known", "a status is 100 to 599; flags are: DC"),
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


def test_a_path_that_no_file_can_have_is_bad_usage() -> None:
    for words in (("--snapshot", "a" * 300, "check"), ("describe", "-f", "b" * 300)):
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 2
        assert "File name too long" in done.stderr


def test_a_flag_that_nobody_knows_hides_no_other() -> None:
    done = CliRunner().invoke(app, ["why", "503", "UF,ZZ"])
    assert done.exit_code == 0
    assert "not known: ZZ" in done.stdout
    assert "\nUF " in done.stdout


def test_the_id_of_a_finding_among_flags_is_told_from_a_flag() -> None:
    done = CliRunner().invoke(app, ["why", "503", "MC101"])
    assert done.exit_code == 0
    assert "meshctl why MC101 explains it" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_in_a_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "meshctl", "--demo", "check"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (5, "error: the output cannot be written: No space left on device\n")


MAIN = [sys.executable, "-m", "meshctl"]


def closed(stream: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run it as ``meshctl ... >&-`` does (sh: the descriptor is closed)."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}', "sh", *MAIN, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [("--demo", "describe", "pod", "productpage"), ("--demo", "check", "-o", "json"), ("--help",), ("--version",)],
)
def test_a_closed_output_is_said_in_a_line(words: tuple[str, ...]) -> None:
    done = closed(">&-", *words)
    assert (done.returncode, done.stderr) == (5, "error: the output cannot be written: Bad file descriptor\n")


def test_a_closed_input_holds_nothing_and_closed_talk_is_lost() -> None:
    done = closed("<&-", "describe", "pod", "-f", "-")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    done = closed("2>&-", "--demo", "describe", "pod", "nosuch")
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "RuntimeError() from KeyboardInterrupt()"])
def test_an_interrupt_while_modules_are_imported_is_said_in_a_word(raised: str) -> None:
    program = """if True:
        import sys
        from meshctl.__main__ import main

        class Interrupted:
            def find_spec(self, name, *_):
                if name == "meshctl.cli.app":
                    raise WHAT

        sys.meta_path.insert(0, Interrupted())
        main()
    """.replace("WHAT", raised)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


DEEP = {"deep.json": "[" * 100_000, "deep.yaml": "kind: Pod\nspec: " + '{"a":' * 20_000}


@pytest.mark.parametrize("file", DEEP)
@pytest.mark.parametrize(
    "words",
    [
        ("describe", "pod", "-f"),
        ("iptables", "explain"),
        ("iptables", "walk", "--out", "10.0.0.1:80", "--rules"),
        ("proxy", "listeners", "-f"),
        ("--kubeconfig", "FILE", "describe", "pod", "x"),
        ("--snapshot", "FILE", "check"),
    ],
    ids=" ".join,
)
def test_what_is_nested_too_deep_is_bad_input(tmp_path: Path, file: str, words: tuple[str, ...]) -> None:
    """In a process of its own: a crash is no exception."""
    (place := tmp_path / file).write_text(DEEP[file])
    told = [str(place) if word == "FILE" else word for word in words]
    words = tuple(told if "FILE" in words else [*told, str(place)])
    done = subprocess.run([*MAIN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr


def test_what_is_parsed_but_too_deep_to_be_looked_at_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def deeper() -> None:
        deeper()

    monkeypatch.setattr("meshctl.gather.findings.check", lambda *_: deeper())
    done = CliRunner().invoke(app, ["--demo", "check"])
    assert (done.exit_code, done.stderr) == (2, "error: the input is nested too deep to be read\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--snapshot", "", "check"), "--snapshot is empty"),
        (("check", "--snapshot", " "), "--snapshot is empty"),
        (("--demo", "-n", "", "check"), "--namespace is empty"),
        (("--context", "", "check"), "--context is empty"),
        (("describe", "pod", "-f", ""), "--filename is empty"),
        (("proxy", "listeners", "-f", ""), "--file is empty"),
        (("--demo", "describe", "namespace", ""), "NAMESPACE is empty"),
        (("--demo", "snapshot", "show", ""), "PATH is empty"),
        (("--demo", "pod", "pids"), "--demo before the command means nothing to `pod pids`"),
        (("--snapshot", "x", "doctor"), "--snapshot before the command means nothing to `doctor`"),
        (("--demo", "debug-pods", "clean"), "--demo before the command means nothing to `debug-pods clean`"),
        (("--demo", "snapshot", "show", "x"), "a PATH and --snapshot or --demo exclude each other"),
        (("describe", "pod", "-f", "x.yaml", "reviews"), "-f and a pod's name or labels exclude each other"),
    ],
)
def test_nothing_that_was_written_is_passed_over(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, list(words))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")


def test_what_means_nothing_to_a_command_is_not_in_its_help() -> None:
    for words in (["pod", "pids"], ["doctor"], ["debug-pods", "clean"], ["snapshot", "diff"]):
        assert "--demo" not in CliRunner().invoke(app, [*words, "--help"]).stdout
    assert "--demo" in CliRunner().invoke(app, ["snapshot", "show", "--help"]).stdout


def test_manifests_of_several_files_are_all_described(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "a"}]}}
        (tmp_path / name).write_text(json.dumps(pod))
    words = ["describe", "pod", "-f", str(tmp_path / "one"), "-f", str(tmp_path / "two"), "-o", "json"]
    found = json.loads(CliRunner().invoke(app, words).stdout)
    assert [item["pod"]["name"] for item in found["items"]] == ["one", "two"]


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_an_encoding_without_symbols_keeps_good_and_bad_apart(form: str) -> None:
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    words = [*MAIN, "--demo", "describe", "pod", "productpage", "-o", form]
    done = subprocess.run(words, env=env, capture_output=True, check=False)
    text = done.stdout.decode("ascii")
    assert done.returncode == 0
    if form == "text":
        assert "\nok " in text
        assert "\n=====" in text
        assert not re.search(r"^\s*\?", text, re.MULTILINE)
    elif form == "json":
        assert json.loads(text)["pod"]["name"].startswith("productpage")
    else:
        assert "&#10003;" in text


def test_a_missing_argument_is_called_as_the_help_calls_it() -> None:
    for words, name in ((["describe", "service"], "SERVICE"), (["snapshot", "diff"], "BEFORE")):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, f"Missing argument '{name}'" in done.stderr) == (2, True)


@pytest.mark.parametrize("how", ["meshctl", "interrupted"])
def test_an_interrupt_while_python_shuts_down_ends_it_without_a_traceback(how: str) -> None:
    program = """if True:
        import atexit, os, signal, sys
        from meshctl.__main__ import main

        atexit.register(os.kill, os.getpid(), signal.SIGINT)
        sys.argv = ["meshctl", "--version"]
        if HOW == "interrupted":
            import meshctl.cli.app
            del meshctl.cli.app.app
            sys.modules["meshctl.cli.app"].__getattr__ = lambda name: (_ for _ in ()).throw(KeyboardInterrupt)
        main()
    """.replace("HOW", repr(how))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -2
    assert done.stderr == ("interrupted\n" if how == "interrupted" else "")
