"""The same output for an encoding that lacks its symbols: plain words that keep good and bad apart."""

import json
import re

_SYMBOLS = {
    "✓": "ok",
    "✗": "x",
    "·": "-",
    "●": "*",
    "→": "->",
    "↳": "->",
    "▼": "v",
    "▶": ">",
    "⌕": "@",
    "█": "#",
    "▏": "|",
    "…": "...",
    "═": "=",
    "─": "-",
    "│": "|",
}


def spoken(text: str, encoding: str) -> str:
    """Text with a word for each symbol that the encoding lacks, columns in their places; `?` for the rest."""
    if _fits(text, encoding):
        return text
    return "\n".join(_line(line, encoding) for line in text.split("\n"))


def escaped_json(text: str, encoding: str) -> str:
    """JSON whose letters outside the encoding are written as ``\\uXXXX``: the same document."""
    if _fits(text, encoding):
        return text
    return "".join(c if c.isascii() or _fits(c, encoding) else json.dumps(c)[1:-1] for c in text)


def escaped_markup(text: str, encoding: str) -> str:
    """HTML or SVG whose letters outside the encoding are character references: the same page."""
    return text if _fits(text, encoding) else text.encode(encoding, "xmlcharrefreplace").decode(encoding)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _line(line: str, encoding: str) -> str:
    """A longer word takes its room from the next gap between columns, or from the one before a frame's edge."""
    if _fits(line, encoding):
        return line
    parts: list[str] = []
    owed = 0
    for part in re.split(r"(   *)", line):
        if part.startswith("  "):
            taken = min(owed, len(part) - 1)
            owed -= taken
            parts.append(part[taken:])
            continue
        word = "".join(c if _fits(c, encoding) else _symbol(c) for c in part)
        owed += len(word) - len(part)
        parts.append(word)
    return "".join(parts)


def _symbol(char: str) -> str:
    return _SYMBOLS.get(char) or ("+" if "\u2500" <= char <= "\u257f" else "?")
