import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshctl import yaml_text
from meshctl.errors import BadInput
from meshctl.yaml_text import documents

N = 20_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * N,
        '{"a":' * N,
        "[" * N + "]" * N,
        "a: " + "[" * N,
        "- " * N + "a",
        "- " * 300 + "a",
        "? " * N + "a",
        "".join(" " * i + "a:\n" for i in range(1000)),
        "".join(" " * i + "a:\n" + " " * i + "- b:\n" for i in range(0, 1000, 3)),
        "x: y\n---\n" + "[" * 300 + "]" * 300,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_nested_too_deep_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match=r"^m\.yaml:\d+:\d+: "):
        documents(text, "m.yaml")


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab- ?:[{", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab-?", min_size=1, max_size=3), inner),
    max_leaves=20,
)


def depth(tree: Any) -> int:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(trees, st.integers(0, 12), st.sampled_from([None, True, False]))
def test_what_is_not_counted_is_never_deeper_than_what_may_be(tree: Any, deeper: int, flow: bool | None) -> None:
    for _ in range(deeper):
        tree = {"a": [tree]}
    text = yaml.safe_dump(tree, default_flow_style=flow, indent=2)
    before, yaml_text.DEEPEST = yaml_text.DEEPEST, max(depth(tree) - 1, 0)
    try:
        assert yaml_text._may_be_deep(text) or depth(tree) == 0
    finally:
        yaml_text.DEEPEST = before
    assert documents(text, "t") == ((tree,) if tree is not None else ())


def test_json_is_read_as_json_and_a_stream_of_it_as_yaml() -> None:
    assert documents(json.dumps({"a": [1, None]}), "x") == ({"a": [1, None]},)
    assert documents('{"a": 1}\n---\n{"b": 2}', "x") == ({"a": 1}, {"b": 2})
    assert documents("{a: 1, # flow\n}", "x") == ({"a": 1},)


@pytest.mark.parametrize("text", ["2020-01-01", "2026-11-23T10:00:00Z", "2001-12-14 21:59:43.10 -5"])
def test_an_unquoted_time_is_a_string_as_it_is_for_kubectl(text: str) -> None:
    assert documents(f"a: {text}", "t") == ({"a": text},)
