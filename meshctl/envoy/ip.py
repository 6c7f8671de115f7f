"""Addresses and prefixes as Envoy compares them."""

from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Ip: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@cache
def parsed(text: str) -> Ip | None:
    """An IP address, None where the text is none; a zone (``%eth0``) is left out."""
    try:
        return ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None


@cache
def network(text: str) -> Network | None:
    """A prefix with its host bits cleared, None where the text is none."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def canonical(text: str) -> str:
    """An address in its shortest form (``::0`` is ``::``); other text unchanged."""
    if ":" not in text:
        return text
    found = parsed(text)
    return text if found is None else str(found)


def wildcard(text: str) -> str:
    """The address that stands for all of its family."""
    return "::" if ":" in text else "0.0.0.0"


def within(text: str, prefix: str) -> bool | None:
    """Whether an address lies in a prefix; None where either is no address."""
    address, net = parsed(text), network(prefix)
    if address is None or net is None:
        return None
    return address.version == net.version and address in net


def longest(address: str | None, prefixes: tuple[str, ...]) -> int | None:
    """The length of the longest prefix with the address in it, None where there is none.

    No prefixes at all count as the prefix of length 0 of both families, as in Envoy's filter chain manager.
    """
    if not prefixes:
        return 0
    found = parsed(address) if address else None
    if found is None:
        return None
    lengths = [net.prefixlen for net in map(network, prefixes) if net and net.version == found.version and found in net]
    return max(lengths, default=None)
