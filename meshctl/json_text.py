"""JSON that may be broken: the document, or None with the reason beside the others."""

import json
from typing import Any


def left_out(content: bytes, source: str, problems: list[str]) -> Any:
    """Parse one part; where it is no JSON, or nested too deep to read, None, and `problems` names `source` and why."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        problems.append(f"{source}: not valid JSON ({error}); left out")
        return None
