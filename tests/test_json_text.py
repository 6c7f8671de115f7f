import json
import re
from pathlib import Path

import pytest

import meshctl
from meshctl.errors import BadInput
from meshctl.json_text import left_out, loads, read


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_left_out_and_said(content: bytes) -> None:
    problems: list[str] = []
    assert left_out(content, "a/file.json", problems) is None
    assert len(problems) == 1
    assert problems[0].startswith("a/file.json: not valid JSON (")


def test_a_document_is_read() -> None:
    problems: list[str] = []
    assert left_out(b'{"a": [1]}', "x", problems) == {"a": [1]}
    assert problems == []


def test_nesting_too_deep_is_broken_json_like_any_other() -> None:
    with pytest.raises(json.JSONDecodeError, match="nested too deep"):
        loads("[" * 100_000)
    with pytest.raises(BadInput, match=r"^a\.json:1:1: not valid JSON: nested too deep to be read$"):
        read(b'{"a":' * 100_000, "a.json")


def test_the_place_of_what_is_broken_is_told() -> None:
    with pytest.raises(BadInput, match=r"^a\.json:2:1: not valid JSON"):
        read(b"{\n", "a.json")
    with pytest.raises(BadInput, match="byte 0 is no UTF-8"):
        read(b"\xff", "a.json")


OWN = {"json_text.py", "render/document.py", "sources/request_program.py", "sources/netns.py"}
"""The one way, and what reads only what meshctl has written in the same run."""


def test_all_documents_are_read_in_one_way() -> None:
    root = Path(meshctl.__file__).parent
    found = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"\bjson\.loads?\(|yaml\.(?:safe_)?load\w*\(", file.read_text())
    }
    assert found == OWN | {"yaml_text.py", "sources/recording_files.py"}
