"""One option of an iptables rule with its values, and the numbers, marks and ports that values are made of.

A value that cannot be read raises ValueError; the caller keeps the clause verbatim as `Opaque`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import Span
from meshctl.netfilter.protocols import SERVICES


class Option(NamedTuple):
    """One option with its values; negated in the new style (``! --dport 80``) or the old (``--dport ! 80``)."""

    name: str
    values: tuple[str, ...]
    negated: bool = False

    @property
    def value(self) -> str:
        """Its only value."""
        if len(self.values) != 1:
            raise ValueError(f"{self.name} wants one value")
        return self.values[0]

    @property
    def words(self) -> tuple[str, ...]:
        """As written, in the new style."""
        return ("!", self.name, *self.values) if self.negated else (self.name, *self.values)


Options = Sequence[Option]


def number(text: str) -> int:
    """A mark, mask or id: hexadecimal with 0x, octal with 0, else decimal, within 32 bits."""
    value = (
        int(text, 16) if text[:2] in ("0x", "0X") else int(text, 8) if text[:1] == "0" and text != "0" else int(text)
    )
    if not 0 <= value <= m.ALL_BITS:
        raise ValueError(f"{text} is not a 32-bit number")
    return value


def masked(text: str) -> tuple[int, int]:
    """``VALUE[/MASK]``; without a mask all bits count."""
    value, slash, mask = text.partition("/")
    return number(value), number(mask) if slash else m.ALL_BITS


def port_number(text: str) -> int:
    """A port by number or by the name of its service."""
    value = SERVICES.get(text)
    value = int(text) if value is None else value
    if not 0 <= value <= 65535:
        raise ValueError(f"{text} is not a port")
    return value


def port_range(text: str, separator: str = ":") -> Span:
    """``80``, ``80:90``, ``:90`` or ``80:``."""
    low, dash, high = text.partition(separator)
    start = port_number(low) if low else 0
    return Span(start, (port_number(high) if high else 65535) if dash else start)


@lru_cache(maxsize=4096)
def port_ranges(text: str) -> tuple[Span, ...]:
    """One port or range, as the only one of its clause."""
    return (port_range(text),)
