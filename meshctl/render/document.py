"""Results as JSON and YAML: the same document in two spellings."""

import json
from collections.abc import Mapping
from typing import Any


def to_json(document: Mapping[str, Any]) -> str:
    """Indented JSON; letters beyond ASCII stay as they are."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def to_json_line(document: Mapping[str, Any]) -> str:
    """JSON on one line, for streams of documents."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def to_yaml(document: Mapping[str, Any]) -> str:
    """YAML with the keys in the document's order."""
    from meshctl.yaml_text import dump

    return dump(json.loads(json.dumps(document)))
