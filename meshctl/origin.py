"""Where a parsed thing came from, so that every answer can point back at its evidence."""

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in an input: `line` is 1-based in a text, `path` is a JSON path (``configs[2].name``)."""

    source: str
    line: int | None = None
    path: str = ""
    text: str = ""

    def __str__(self) -> str:
        if self.line is not None:
            return f"{self.source}:{self.line}"
        return f"{self.source} {self.path}".rstrip()


NOWHERE = Origin("")
"""The place of what was made up, or came from no input."""
