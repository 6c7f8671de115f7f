"""Listening TCP sockets from ``/proc/net/tcp`` and ``tcp6``, written as `ss` lists them: for images without ss."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

_LISTEN = "0A"
COMMAND = ("cat", "/proc/net/tcp", "/proc/net/tcp6")


def as_ss(text: str) -> bytes | None:
    """The listing of `ss`, without programs; None where this is no such table.

    A wildcard of IPv6 takes IPv4 as well unless a socket says otherwise, which the kernel does not show here: it is
    written as ``*``. Addresses are words of the machine's byte order (proc_net(5)); nearly all are little-endian.
    """
    if "local_address" not in text.partition("\n")[0]:
        return None
    lines = [
        f"LISTEN 0 0 {address}:{port} {'0.0.0.0' if '.' in address else '*'}:* uid:{uid}"
        for address, port, uid in _listening(text)
    ]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode()


def _listening(text: str) -> Iterator[tuple[str, int, str]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8 or words[3] != _LISTEN:
            continue
        raw, _, port = words[1].partition(":")
        try:
            address = _address(bytes.fromhex(raw))
            yield address, int(port, 16), words[7]
        except ValueError:
            continue


def _address(raw: bytes) -> str:
    ordered = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    if len(ordered) == 4:
        return str(IPv4Address(ordered))
    found = IPv6Address(ordered)
    if not int(found):
        return "*"
    return f"[::ffff:{found.ipv4_mapped}]" if found.ipv4_mapped is not None else f"[{found}]"
