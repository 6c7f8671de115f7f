"""The shape of the catalog: what Istio 1.12 to 1.30 can put into a pod, as literals in the ``catalog_*`` modules.

`since` and `until` are minor releases, both included; empty means all of 1.12 to 1.30. They come from comparing the
injection templates and sources of Istio's ``.0`` tags, except where a module says otherwise.
"""

from collections.abc import Iterable, Mapping

from meshctl.frozen import dataclass

OLDEST = (1, 12)
NEWEST = (1, 30)


@dataclass(frozen=True, slots=True)
class Known:
    """One thing that Istio writes: its name, what it means in one sentence, its default, and the releases with it."""

    key: str
    meaning: str
    default: str = ""
    since: str = ""
    until: str = ""

    @property
    def releases(self) -> str:
        """In which releases it exists, in words; empty for all."""
        if self.since and self.until:
            return f"Istio {self.since} to {self.until}"
        if self.since:
            return f"since Istio {self.since}"
        return f"until Istio {self.until}" if self.until else ""


def minor(text: str) -> tuple[int, int] | None:
    """``1.24`` or ``1.24.3-distroless`` as (1, 24); None where the text does not begin with a release."""
    parts = text.split(".")
    if len(parts) < 2:
        return None
    digits = ""
    for character in parts[1]:
        if not character.isdigit():
            break
        digits += character
    return (int(parts[0]), int(digits)) if parts[0].isdigit() and digits and len(parts[0]) < 4 else None


def table(entries: Iterable[Known]) -> Mapping[str, Known]:
    """The entries by key."""
    return {entry.key: entry for entry in entries}
