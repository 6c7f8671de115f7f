"""The pages of the documentation that come with the package, for what commands show of them."""

import re
from pathlib import Path

_PAGES = Path(__file__).parent.parent / "pages"
_ROLE = re.compile(r"```yaml\n(.*?metadata: \{name: meshctl-(\w+).*?)```", re.DOTALL)


def findings() -> str:
    """The page that explains every id of a finding (docs/findings.md)."""
    return (_PAGES / "findings.md").read_text(encoding="utf-8")


def roles() -> dict[str, str]:
    """The smallest roles by what they are for (read, proxy, debug), as YAML (docs/security.md)."""
    page = (_PAGES / "security.md").read_text(encoding="utf-8")
    return {found[2]: found[1] for found in _ROLE.finditer(page)}
