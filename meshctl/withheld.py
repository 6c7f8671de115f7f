"""Texts from which a recording took a secret out: what stood there is not known, so neither is what they match."""

REDACTED = "REDACTED"
"""What a recording has in a secret's place."""


def begins(pattern: str, text: str) -> bool | None:
    """Whether a text may begin as a pattern does: False where it cannot, None where a secret decides it.

    True only where nothing was taken out of the pattern and the text begins with it.
    """
    known, mark, _ = pattern.partition(REDACTED)
    if not text.startswith(known):
        return False
    return None if mark else True
