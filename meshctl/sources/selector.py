"""Label selectors as the API server reads them (k8s.io/apimachinery labels.Parse): equality and set-based."""

import re
from functools import cache
from typing import Any

from meshctl.errors import BadInput

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<op>==|=|!=)\s*(?P<value>\S*)$")


def selects(selector: str, labels: Any) -> bool:
    """Whether a selector such as ``app=x,tier!=db,env in (a,b),!old`` selects these labels. Raises BadInput."""
    have = labels if isinstance(labels, dict) else {}
    return all(_holds(clause, have) for clause in _clauses(selector))


def _holds(clause: tuple[str, str, tuple[str, ...]], labels: dict[str, Any]) -> bool:
    key, op, values = clause
    match op:
        case "exists":
            return key in labels
        case "absent":
            return key not in labels
        case "in":
            return labels.get(key) in values
        case _:
            return labels.get(key) not in values


@cache
def _clauses(selector: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    parts = re.split(r",(?![^(]*\))", selector)
    return tuple(_clause(part.strip(), selector) for part in parts if part.strip())


def _clause(part: str, whole: str) -> tuple[str, str, tuple[str, ...]]:
    if found := _SET.match(part):
        values = tuple(v.strip() for v in found["values"].split(","))
        return found["key"], "in" if found["op"] == "in" else "notin", values
    if found := _EQUAL.match(part):
        return found["key"], "notin" if found["op"] == "!=" else "in", (found["value"],)
    if part.startswith("!") and len(part) > 1 and " " not in part:
        return part[1:].strip(), "absent", ()
    if " " not in part and part and not any(c in part for c in "=!()"):
        return part, "exists", ()
    raise BadInput(f"'{whole}' is no label selector: '{part}'", hint="for example: app=reviews,version in (v1,v2)")
