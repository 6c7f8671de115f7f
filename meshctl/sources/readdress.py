"""Other addresses in place of the real ones, the same everywhere in one recording, so that it can be shared.

The mapping keeps prefixes: two addresses that share their first n bits still do, so routes, CIDRs and rules match what
they matched before (the idea of Crypto-PAn, with HMAC-SHA256 as the random function). What has a meaning of its own
stays: loopback, link-local, multicast, the unspecified address, and the first bits that tell private from public.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import field
from functools import cache
from typing import TypeAlias

from meshctl.frozen import dataclass

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@cache
def _pattern() -> re.Pattern[str]:
    v4 = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?!\d|\.\d)"
    v6 = r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?:/\d{1,3})?(?![\w:])"
    dashed = r"(?<![\w-])ip-(?:\d{1,3}-){3}\d{1,3}(?![\d-])"
    return re.compile(f"(?P<v6>{v6})|(?P<v4>{v4})|(?P<dashed>{dashed})")


@dataclass(slots=True)
class Readdress:
    """One recording's mapping; a new key each time, kept nowhere."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _bits: dict[tuple[int, int, int], int] = field(default_factory=dict)
    _done: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> tuple[str, int]:
        """The text with every address replaced, and how many were."""
        changed = 0

        def instead(found: re.Match[str]) -> str:
            nonlocal changed
            whole = found[0]
            if whole not in self._done:
                self._done[whole] = self._replace(found)
            changed += self._done[whole] != whole
            return self._done[whole]

        return _pattern().sub(instead, text), changed

    def _replace(self, found: re.Match[str]) -> str:
        whole = found[0]
        if found["dashed"]:
            return "ip-" + self._replace_plain(whole[3:].replace("-", ".")).replace(".", "-")
        return self._replace_plain(whole)

    def _replace_plain(self, whole: str) -> str:
        body, slash, length = whole.partition("/")
        try:
            address = ipaddress.ip_address(body)
        except ValueError:
            return whole
        if slash and not (length.isdigit() and int(length) <= address.max_prefixlen):
            return whole
        return f"{self.address(address, int(length) if slash else None)}{slash}{length}"

    def address(self, address: Address, length: int | None = None) -> Address:
        """The other address; with `length` only the network's bits change, so that host bits of zero stay zero."""
        total = address.max_prefixlen
        number = int(address)
        whole = length is None or bool(number & ((1 << (total - length)) - 1))
        result = number
        for at in range(total if whole or length is None else length):
            shift = total - at - 1
            result ^= self._bit(address.version, at, number >> (shift + 1)) << shift
        return ipaddress.IPv4Address(result) if address.version == 4 else ipaddress.IPv6Address(result)

    def _bit(self, version: int, at: int, prefix: int) -> int:
        """Whether the bit after a prefix of `at` bits is turned."""
        known = self._bits.get((version, at, prefix))
        if known is None:
            if version == 6 and at >= 96 and prefix >> (at - 96) == 0xFFFF:
                known = self._bit(4, at - 96, prefix & ((1 << (at - 96)) - 1))  # ::ffff:1.2.3.4 is 1.2.3.4
            elif _is_fixed(version, at, prefix):
                known = 0
            else:
                digest = hmac.new(self.key, f"{version}/{at}/{prefix:x}".encode(), hashlib.sha256).digest()
                known = digest[0] & 1
            self._bits[version, at, prefix] = known
        return known


_MEANING = {
    4: ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
    6: ("::/127", "fe80::/10", "ff00::/8"),
}
_CLASSES = {4: ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"), 6: ("::ffff:0:0/96", "fc00::/7")}
_FIRST_KEPT = {4: 8, 6: 16}


@cache
def _prefixes(version: int) -> tuple[tuple[int, int, bool], ...]:
    """(length, leading bits, whether all inside stays) of the networks that must stay where they are."""
    found = []
    for texts, inside in ((_MEANING[version], True), (_CLASSES[version], False)):
        for network in map(ipaddress.ip_network, texts):
            shift = network.max_prefixlen - network.prefixlen
            found.append((network.prefixlen, int(network.network_address) >> shift, inside))
    return tuple(found)


def _is_fixed(version: int, at: int, prefix: int) -> bool:
    if at < _FIRST_KEPT[version]:
        return True
    for length, leading, inside in _prefixes(version):
        above = at < length and leading >> (length - at) == prefix
        within = inside and at >= length and prefix >> (at - length) == leading
        if above or within:
            return True
    return False
