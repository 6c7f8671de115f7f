"""Packets from outside that the kernel refuses for their addresses, whatever the rules say.

IPv4 asks when it routes, after PREROUTING (``ip_route_input_slow`` and ``fib_validate_source``); IPv6 before any hook
(``ip6_rcv_core``). Multicast gets in where a socket has joined its group; the kernel itself joins that of all hosts.
"""

from meshctl.netfilter.addresses import Prefix, address_text, prefix
from meshctl.netfilter.routing import MULTICAST, Network

_LOOPBACK = {4: prefix("127.0.0.0/8"), 6: prefix("::1")}
_ALL_HOSTS = {4: (prefix("224.0.0.1"),), 6: (prefix("ff01::1"), prefix("ff02::1"))}
_EVERYBODY = 0xFFFFFFFF


def on_arrival(version: int, src: int | None, dst: int | None) -> str:
    """Why an IPv6 packet does not get to the first hook; empty where it does."""
    if version != 6:
        return ""
    if src is not None and (_is(MULTICAST, 6, src) or _is(_LOOPBACK, 6, src)):
        return f"IPv6 takes no packet from {address_text(6, src)} from outside (ip6_rcv)"
    if dst is not None and _is(_LOOPBACK, 6, dst):
        return "IPv6 takes no packet to ::1 from outside (ip6_rcv)"
    return ""


def at_routing(network: Network, version: int, src: int | None, dst: int | None) -> str:
    """Why routing refuses an IPv4 packet that came in; empty where it does not."""
    if version != 4:
        return ""
    if dst is not None and _is(_LOOPBACK, 4, dst):
        return "127.0.0.0/8 does not come from outside (route_localnet is off by default)"
    if src is None:
        return ""
    shown = address_text(4, src)
    to_group = dst is not None and (dst == _EVERYBODY or _is(MULTICAST, 4, dst))
    if src == _EVERYBODY or _is(MULTICAST, 4, src) or _is(_LOOPBACK, 4, src) or (src == 0 and not to_group):
        return f"no packet comes from {shown} (the kernel calls that a martian source)"
    if network.owner(4, src) is not None:
        return f"{shown} is an address of this machine, so no packet comes from it (accept_local is off by default)"
    return ""


def joined(version: int, group: int) -> bool | None:
    """Whether this machine takes what is sent to a multicast group; None where a socket would have to have joined."""
    return True if any(one.contains(version, group) for one in _ALL_HOSTS[version]) else None


def _is(networks: dict[int, Prefix], version: int, number: int) -> bool:
    return networks[version].contains(version, number)
