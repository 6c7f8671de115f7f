"""JSON that may be broken or nested too deep: the one way to read a document that meshctl did not write itself."""

import json
from typing import Any

from meshctl.errors import BadInput


def loads(content: bytes | str) -> Any:
    """As `json.loads`, but nesting too deep to read is a JSONDecodeError (a ValueError), as all else that is broken."""
    try:
        return json.loads(content)
    except RecursionError:
        raise too_deep() from None


def too_deep() -> json.JSONDecodeError:
    """What stands for a RecursionError of Python's parser."""
    return json.JSONDecodeError("nested too deep to be read", "", 0)


def read(content: bytes | str, source: str) -> Any:
    """Parse JSON; BadInput with the file and the place where it is broken or is no text at all."""
    try:
        return loads(content)
    except json.JSONDecodeError as error:
        raise BadInput(f"{source}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: not JSON: byte {error.start} is no UTF-8") from error


def left_out(content: bytes, source: str, problems: list[str]) -> Any:
    """Parse one part; where it is no JSON, or nested too deep to read, None, and `problems` names `source` and why."""
    try:
        return loads(content)
    except ValueError as error:
        problems.append(f"{source}: not valid JSON ({error}); left out")
        return None
