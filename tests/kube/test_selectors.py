import pytest

from meshctl.kube.fields import Fields
from meshctl.kube.selectors import selector


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["a", "b"], {"k": "a"}, True),
        ("In", ["a"], {"k": "c"}, False),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"k": "b"}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", [], {"k": ""}, True),
        ("Exists", [], {}, False),
        ("DoesNotExist", [], {}, True),
        ("DoesNotExist", [], {"k": "x"}, False),
        ("Near", [], {"k": "x"}, None),
    ],
)
def test_requirements(operator: str, values: list[str], labels: dict[str, str], expected: bool | None) -> None:
    raw = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    assert selector(Fields(raw, "", [])).holds(labels) is expected


def test_all_must_hold_and_a_refusal_beats_the_unknown() -> None:
    raw = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Near"}]}
    found = selector(Fields(raw, "", []))
    assert found.holds({"a": "1"}) is None
    assert found.holds({"a": "2"}) is False
    assert str(found) == "a is 1 and b Near "


def test_an_empty_selector_selects_everything() -> None:
    assert selector(Fields({}, "", [])).holds({"x": "y"}) is True
