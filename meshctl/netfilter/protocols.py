"""The names of protocols, of their well-known ports and of ICMP types, as iptables and nft spell them."""

from meshctl.netfilter import matches as m

PROTOCOL_NAMES = {
    "1": "icmp",
    "2": "igmp",
    "4": "ipencap",
    "6": "tcp",
    "17": "udp",
    "33": "dccp",
    "47": "gre",
    "50": "esp",
    "51": "ah",
    "58": "ipv6-icmp",
    "132": "sctp",
    "136": "udplite",
    "icmpv6": "ipv6-icmp",
    "icmp6": "ipv6-icmp",
}
"""Numbers and other spellings, to the name that iptables-save prints."""

SERVICES = {"domain": 53, "http": 80, "https": 443, "ssh": 22, "bootps": 67, "bootpc": 68, "ntp": 123, "mdns": 5353}


def protocol(name: str, negated: bool = False) -> m.Protocol | None:
    """``-p``: None for every protocol."""
    name = PROTOCOL_NAMES.get(name.lower(), name.lower())
    return None if name in ("all", "0") and not negated else m.Protocol(name, negated)


_ICMP_NAMES = {
    "echo-reply": (0, None),
    "pong": (0, None),
    "destination-unreachable": (3, None),
    "network-unreachable": (3, 0),
    "host-unreachable": (3, 1),
    "protocol-unreachable": (3, 2),
    "port-unreachable": (3, 3),
    "fragmentation-needed": (3, 4),
    "source-quench": (4, None),
    "redirect": (5, None),
    "echo-request": (8, None),
    "ping": (8, None),
    "router-advertisement": (9, None),
    "router-solicitation": (10, None),
    "time-exceeded": (11, None),
    "ttl-exceeded": (11, None),
    "parameter-problem": (12, None),
    "timestamp-request": (13, None),
    "timestamp-reply": (14, None),
    "any": (None, None),
}

_ICMP6_NAMES = {
    "destination-unreachable": (1, None),
    "no-route": (1, 0),
    "port-unreachable": (1, 4),
    "packet-too-big": (2, None),
    "time-exceeded": (3, None),
    "ttl-exceeded": (3, None),
    "parameter-problem": (4, None),
    "echo-request": (128, None),
    "ping": (128, None),
    "echo-reply": (129, None),
    "pong": (129, None),
    "router-solicitation": (133, None),
    "nd-router-solicit": (133, None),
    "router-advertisement": (134, None),
    "nd-router-advert": (134, None),
    "neighbour-solicitation": (135, None),
    "neighbor-solicitation": (135, None),
    "nd-neighbor-solicit": (135, None),
    "neighbour-advertisement": (136, None),
    "neighbor-advertisement": (136, None),
    "nd-neighbor-advert": (136, None),
    "redirect": (137, None),
    "nd-redirect": (137, None),
}


def icmp_type(version: int, text: str, negated: bool = False) -> m.IcmpType:
    """An ICMP type by name, ``8`` or ``3/1``; iptables' 255 in IPv4 is any type."""
    names = _ICMP_NAMES if version == 4 else _ICMP6_NAMES
    found = names.get(text.lower())
    if found is None:
        kind, slash, code = text.partition("/")
        found = (int(kind), int(code) if slash else None)
        if version == 4 and found[0] == 255:
            found = (None, None)
    return m.IcmpType("icmp" if version == 4 else "icmpv6", found[0], found[1], negated, text)
