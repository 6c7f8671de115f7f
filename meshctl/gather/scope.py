"""Where to look for what a user names."""

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: one namespace, or (None) wherever the name is found; `selector` narrows by labels."""

    namespace: str | None = None
    all_namespaces: bool = False
    selector: str = ""
