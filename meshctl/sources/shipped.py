"""The texts that come with the package, as a reader of the documentation has them."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def findings() -> str:
    """The page that explains every id of a finding (docs/findings.md)."""
    return (_PACKAGE / "checks" / "findings.md").read_text(encoding="utf-8")
