"""What a pod's network namespace showed: listening sockets, processes, addresses, the resolver, open connections.

Formats: ``ss -Htulnpe``, ``ip -j address``, ``ip -j route``, ``/proc/net/nf_conntrack`` (``conntrack -L``),
resolv.conf(5).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening socket; `address` ``*`` means every address of both families, ``::`` every one of IPv6 only.

    `container` is a container id or empty.
    """

    proto: str
    address: str
    port: int
    uid: int
    program: str
    container: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Process:
    """A process in the namespace."""

    pid: int
    uid: int
    command: str
    container: str


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where names are asked, and with which suffixes."""

    servers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    source: str


@dataclass(frozen=True, slots=True)
class Connection:
    """A tracked connection: the original direction, and who really answered."""

    source: str
    destination: str
    port: int
    replier: str
    replier_port: int


_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}")
_USERS = re.compile(r'users:\(\("([^"]+)",pid=(\d+)')
_UID = re.compile(r"\buid:(\d+)")


def sockets(text: str) -> tuple[Socket, ...]:
    """Read listening sockets; lines of another shape are left out. Owner 0 is not printed by ss."""
    return tuple(_sockets(text))


def _sockets(text: str) -> Iterator[Socket]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        proto = "tcp"
        if words and words[0] in ("tcp", "udp"):
            proto, words = words[0], words[1:]
        if len(words) < 5 or words[0] not in ("LISTEN", "UNCONN"):
            continue
        if words[0] == "UNCONN":
            proto = "udp"
        address, _, port = words[3].rpartition(":")
        address = address.strip("[]").partition("%")[0]
        if not port.isdecimal():
            continue
        users, uid = _USERS.search(line), _UID.search(line)
        container = _CONTAINER_ID.findall(line)
        yield Socket(
            proto,
            "*" if _takes_both(address, words[3], line) else address or "*",
            int(port),
            int(uid[1]) if uid else 0,
            users[1] if users else "",
            container[-1] if container else "",
            number,
            line.strip(),
        )


def _takes_both(address: str, spelt: str, line: str) -> bool:
    """Whether a socket of IPv6's wildcard takes IPv4 as well: ss prints ``*`` for that, ``[::]`` where it does not.

    Older ones print ``:::PORT`` either way (iproute2, misc/ss.c, inet_addr_print).
    """
    if address != "::":
        return False
    return "v6only:0" in line or ("v6only:1" not in line and not spelt.startswith("["))


def listens(found: tuple[Socket, ...], address: str, port: int) -> Socket | None:
    """The TCP socket that a connection to this address reaches: the exact address before a wildcard."""
    at_port = [one for one in found if one.proto == "tcp" and one.port == port]
    exact = [one for one in at_port if _same(one.address, address)]
    return next(iter(exact), None) or next((one for one in at_port if _any(one.address, address)), None)


def _same(bound: str, address: str) -> bool:
    return bound.removeprefix("::ffff:") == address


def _any(bound: str, address: str) -> bool:
    if bound == "*":
        return True
    return bound == ("::" if ":" in address else "0.0.0.0")


def processes(text: str, source: str) -> tuple[Process, ...]:
    """Read ``processes.json``; an entry of another shape is left out. Raises BadInput where it is no JSON list."""
    found = []
    for raw in _json_list(text, source):
        uid, command = raw.get("uid"), raw.get("cmdline")
        container = _CONTAINER_ID.findall(str(raw.get("cgroup", "")))
        if str(uid).isdecimal():
            line = " ".join(map(str, command)) if isinstance(command, list) else str(command or "")
            pid = int(raw["pid"]) if isinstance(raw.get("pid"), int) else 0
            found.append(Process(pid, int(str(uid)), line, container[0] if container else ""))
    return tuple(found)


def _json_list(text: str, source: str) -> list[Mapping[str, Any]]:
    try:
        parsed = json_text.loads(text)
    except ValueError as error:
        raise BadInput(f"{source}: not valid JSON: {error}") from error
    return [raw for raw in parsed if isinstance(raw, dict)] if isinstance(parsed, list) else []


def resolv_conf(text: str, source: str) -> Resolver:
    """Read resolv.conf: the last ``search`` counts, ``ndots`` is 1 where it is not set (resolv.conf(5))."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(word.rstrip(".") for word in words[1:])
        elif words[0] == "options":
            for word in words[1:]:
                if word.startswith("ndots:") and word[6:].isdecimal():
                    ndots = int(word[6:])
    return Resolver(tuple(servers), search, ndots, source)


_TUPLE = re.compile(r"src=(\S+) dst=(\S+)(?: type=\S+ code=\S+ id=\S+)? sport=(\d+) dport=(\d+)")


def connections(text: str) -> tuple[Connection, ...]:
    """Read tracked TCP connections: the original tuple, and the reply's source."""
    found = []
    for line in text.splitlines():
        if not line.startswith(("tcp", "ipv4", "ipv6")) or "tcp" not in line[:40]:
            continue
        tuples = _TUPLE.findall(line)
        if len(tuples) >= 2:
            (source, destination, _, port), (replier, _, replier_port, _) = tuples[0], tuples[1]
            found.append(Connection(source, destination, int(port), replier, int(replier_port)))
    return tuple(found)


def loopback(like: str) -> str:
    """The pod's own loopback address of the family that an address is of: there REDIRECT sends what leaves a pod."""
    return "::1" if ":" in like else "127.0.0.1"


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Whether an address never leaves the pod."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
