"""Parts of a pod as a trace reads them: what is missing or broken is a gap, and reads as not there."""

from collections.abc import Mapping
from typing import Any

from meshctl.errors import MeshctlError
from meshctl.sources.world import Part


def text_of(parts: Mapping[str, Part], name: str) -> tuple[str, str] | None:
    """The text of a part and its source; None where it is not there."""
    part = parts.get(name)
    if part is None or part.content is None:
        return None
    return part.content.decode("utf-8", "replace"), part.source


def optional(parts: Mapping[str, Part], name: str, parse: Any, gaps: dict[str, str]) -> Any:
    """Parse a text part; where it is missing or broken, None and a gap."""
    found = text_of(parts, name)
    if found is None:
        return None
    try:
        return parse(*found)
    except MeshctlError as error:
        gaps[name] = str(error)
        return None


def optional_bytes(parts: Mapping[str, Part], name: str, parse: Any, gaps: dict[str, str]) -> Any:
    """Parse a part as it is; where it is missing or broken, None and a gap."""
    part = parts.get(name)
    if part is None or part.content is None:
        return None
    try:
        return parse(part.content, part.source)
    except MeshctlError as error:
        gaps[name] = str(error)
        return None
