"""What each id of a finding means: the sections of findings.md, which is the page of the documentation as well."""

import re

from meshctl.frozen import dataclass

_TITLE = re.compile(r"\*\*(?P<title>.+)\*\* \((?P<severity>.+)\)")


@dataclass(frozen=True, slots=True)
class Explained:
    """One section; `severity` says of itself when it is which, `about` and `fix` are paragraphs."""

    id: str
    title: str
    severity: str
    about: tuple[str, ...]
    example: str
    fix: tuple[str, ...]

    @property
    def docs(self) -> str:
        """Where the documentation has it."""
        return f"docs/findings.md#{self.id.lower()}"


def explained(text: str) -> dict[str, Explained]:
    """The sections by id, in order."""
    parts = re.split(r"^(#+) ", text, flags=re.MULTILINE)[1:]
    sections = (
        body.strip().split("\n\n") for level, body in zip(parts[::2], parts[1::2], strict=True) if level == "##"
    )
    return {section[0]: _explained(section) for section in sections}


def _explained(section: list[str]) -> Explained:
    id, head, *rest = section
    told = _TITLE.fullmatch(head)
    title, severity = (told["title"], told["severity"]) if told is not None else (head, "")
    example = next((part for part in rest if part.startswith("Example: ")), "")
    at = next((i for i, part in enumerate(rest) if part.startswith("What to do: ")), len(rest))
    fix = [part.removeprefix("What to do: ") for part in rest[at:]]
    about = (part for part in rest[:at] if part != example)
    return Explained(id, title, severity, tuple(about), example.removeprefix("Example: "), tuple(fix))
