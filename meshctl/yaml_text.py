"""YAML in and out, with PyYAML imported only when there is YAML to read or write."""

from contextlib import suppress
from functools import cache
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput

DEEPEST = 200
"""Levels of nesting; no object of Kubernetes, Istio or Envoy has a quarter of them."""


@cache
def _loader() -> Any:
    """PyYAML's loader, which leaves unquoted dates and times the strings that they are for kubectl (its goyaml.v2)."""
    import yaml

    fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    timestamp = "tag:yaml.org,2002:timestamp"
    kept = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != timestamp]
        for first, resolvers in fast.yaml_implicit_resolvers.items()
    }
    return type("Loader", (fast,), {"yaml_implicit_resolvers": kept})


def documents(text: str, source: str) -> tuple[Any, ...]:
    """Parse every document of a YAML (or JSON) text; empty documents are left out.

    Raises BadInput with the file and the line where the YAML is broken.
    """
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):  # JSON is YAML, and read ten times as fast; what is broken is told of as YAML
            return (json_text.loads(text),)
    import yaml

    try:
        if _may_be_deep(text):
            _refuse_depth(text, source)
        return tuple(doc for doc in yaml.load_all(text, _loader()) if doc is not None)
    except yaml.YAMLError as error:
        place = _place(getattr(error, "problem_mark", None))
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(f"{source}{place}: not valid YAML: {problem}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: not valid YAML: {error}") from error


def _place(mark: Any) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _may_be_deep(text: str) -> bool:
    """Whether a text could be nested too deep, by what is cheap to see: brackets, and how far in a line begins.

    A level of block style stands further right than the one around it, or (a list in an object) in the same column.
    """
    inward = max((len(line) - len(line.lstrip(" \t-?:")) for line in text.splitlines()), default=0)
    return 2 * (inward + 1) + text.count("[") + text.count("{") > DEEPEST


def _refuse_depth(text: str, source: str) -> None:
    """Count levels by the parser's events, which come one by one; to build what is too deep kills the process in C."""
    import yaml

    depth = 0
    for event in yaml.parse(text, _loader()):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise BadInput(
                    f"{source}{_place(event.start_mark)}: nested too deep to be read (more than {DEEPEST} levels)"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def dump(document: Any) -> str:
    """Write one document as YAML, keys in the order given, text unescaped where it can be."""
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110))
