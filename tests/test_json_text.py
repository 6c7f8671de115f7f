import pytest

from meshctl.json_text import left_out


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
