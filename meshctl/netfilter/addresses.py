"""Addresses, networks and ranges of numbers as netfilter compares them."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Literal

from meshctl.frozen import dataclass


@lru_cache(maxsize=65536)
def address_number(text: str) -> tuple[Literal[4, 6], int]:
    """The IP version and the number of an address; ValueError where it is none."""
    address = ip_address(text)
    return (4 if address.version == 4 else 6), int(address)


@lru_cache(maxsize=65536)
def address_text(version: int, number: int) -> str:
    """An address as the tools print it; an IPv4-mapped tail in IPv6 is not printed dotted."""
    if version == 4:
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    from ipaddress import IPv6Address

    return str(IPv6Address(number))


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: the bits of `address` under `mask`; a mask need not be contiguous (iptables allows it)."""

    version: Literal[4, 6]
    address: int
    mask: int

    @property
    def length(self) -> int | None:
        """The prefix length, None for a mask with holes."""
        width = 32 if self.version == 4 else 128
        ones = self.mask.bit_count()
        return ones if self.mask == ((1 << ones) - 1) << (width - ones) else None

    @property
    def is_host(self) -> bool:
        """Whether it is a single address."""
        return self.mask == (1 << (32 if self.version == 4 else 128)) - 1

    def contains(self, version: int, number: int) -> bool:
        """Whether an address lies in it."""
        return version == self.version and number & self.mask == self.address & self.mask

    def __str__(self) -> str:
        length = self.length
        tail = str(length) if length is not None else address_text(self.version, self.mask)
        return f"{address_text(self.version, self.address)}/{tail}"


@lru_cache(maxsize=65536)
def prefix(text: str) -> Prefix:
    """Read ``10.0.0.0/8``, ``10.0.0.1``, ``10.0.0.0/255.0.0.0`` or the IPv6 forms; ValueError for anything else."""
    head, slash, tail = text.partition("/")
    version, number = address_number(head)
    width = 32 if version == 4 else 128
    if not slash:
        mask = (1 << width) - 1
    elif tail.isdigit():
        length = int(tail)
        if length > width:
            raise ValueError(f"{text!r} has a prefix length over {width}")
        mask = ((1 << length) - 1) << (width - length)
    else:
        mask_version, mask = address_number(tail)
        if mask_version != version:
            raise ValueError(f"{text!r} mixes IPv4 and IPv6")
    return Prefix(version, number & mask, mask)


@dataclass(frozen=True, slots=True)
class Span:
    """An inclusive range of numbers (ports, ids, addresses in a set)."""

    low: int
    high: int

    def __contains__(self, number: int) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}:{self.high}"


def span(low: int, high: int | None = None) -> Span:
    """One number, or the numbers from `low` to `high`."""
    return Span(low, low if high is None else high)
