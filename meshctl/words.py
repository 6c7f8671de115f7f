"""Words for numbers."""


def counted(number: int, word: str, several: str = "") -> str:
    """``1 error``, ``2 errors``; `several` for a word whose plural has no mere s."""
    return f"{number} {word if number == 1 else several or f'{word}s'}"
