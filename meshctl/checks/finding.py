"""A finding: something that is wrong or worth a look, with a stable id, its evidence and what to do."""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass

Severity: TypeAlias = Literal["error", "warning", "info"]
RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`id` is stable (``MC101``) and has a section in docs/findings.md; `subject` is ``pod/NS/NAME`` or alike."""

    id: str
    severity: Severity
    subject: str
    text: str
    evidence: str = ""
    fix: str = ""

    @property
    def docs(self) -> str:
        """Where the id is explained."""
        return f"docs/findings.md#{self.id.lower()}"
