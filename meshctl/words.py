"""Words for numbers and addresses."""


def counted(number: int, word: str, several: str = "") -> str:
    """``1 error``, ``2 errors``; `several` for a word whose plural has no mere s."""
    return f"{number} {word if number == 1 else several or f'{word}s'}"


def show_address(address: str, port: int | str) -> str:
    """``ADDRESS:PORT``, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address and not address.startswith("[") else f"{address}:{port}"
