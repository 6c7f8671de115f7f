"""Runs inside a scratch network namespace: sends hand-made packets, runs commands, holds transparent listeners.

Started as ``ip netns exec NAME python agent.py``; one JSON request a line on stdin, one JSON answer a line on stdout.
"""

import ctypes
import json
import socket
import struct
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
IP_TRANSPARENT, IPV6_TRANSPARENT, SO_MARK, IPV6_HDRINCL = 19, 75, 36, 36
FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "sctp": 132}
listeners: list[socket.socket] = []
senders: dict[tuple[int, int, int, int], socket.socket] = {}


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def payload(packet: dict) -> bytes:
    proto, sport, dport = packet["proto"], packet.get("sport") or 0, packet.get("dport") or 0
    if proto == "tcp":
        flags = sum(FLAGS[name] for name in packet["flags"])
        return struct.pack("!HHIIBBHHH", sport, dport, 1000, 2000 if flags & 16 else 0, 5 << 4, flags, 65535, 0, 0)
    if proto == "udp":
        return struct.pack("!HHHH", sport, dport, 12, 0) + b"mesh"
    if proto == "sctp":
        return struct.pack("!HHII", sport, dport, 0, 0)
    return struct.pack("!BBHHH", 128 if proto == "ipv6-icmp" else 8, 0, 0, packet["id"], 1)


def with_checksum(packet: dict, body: bytes, source: bytes, destination: bytes) -> bytes:
    proto = PROTOCOLS[packet["proto"]]
    if packet["proto"] == "sctp":
        return body
    if packet["proto"] == "icmp":
        pseudo = b""
    elif len(source) == 4:
        pseudo = source + destination + struct.pack("!BBH", 0, proto, len(body))
    else:
        pseudo = source + destination + struct.pack("!IBBBB", len(body), 0, 0, 0, proto)
    at = {"tcp": 16, "udp": 6}.get(packet["proto"], 2)
    return body[:at] + struct.pack("!H", checksum(pseudo + body)) + body[at + 2 :]


def build(packet: dict) -> bytes:
    family = socket.AF_INET if packet["family"] == 4 else socket.AF_INET6
    source, destination = (socket.inet_pton(family, packet[key]) for key in ("src", "dst"))
    body = with_checksum(packet, payload(packet), source, destination)
    proto = PROTOCOLS[packet["proto"]]
    if family == socket.AF_INET:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, proto, 0) + source + destination
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), proto, 64) + source + destination + body


def sender(family: int, uid: int, gid: int, mark: int) -> socket.socket:
    """A raw socket that belongs to uid and gid: the file's fsuid is what ``-m owner`` asks (xt_owner.c)."""
    key = (family, uid, gid, mark)
    if key not in senders:
        LIBC.setfsgid(gid)
        LIBC.setfsuid(uid)
        try:
            made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_RAW, 255)
        finally:
            LIBC.setfsuid(0)
            LIBC.setfsgid(0)
        if mark:
            made.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        senders[key] = made
    return senders[key]


def send(packet: dict) -> str:
    raw = sender(packet["family"], packet.get("uid") or 0, packet.get("gid") or 0, packet.get("mark") or 0)
    try:
        raw.sendto(build(packet), (packet["dst"], 0))
    except OSError as error:
        return str(error)
    return ""


def listen(port: int) -> None:
    for family, level, option in (
        (socket.AF_INET, socket.SOL_IP, IP_TRANSPARENT),
        (socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_TRANSPARENT),
    ):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = socket.socket(family, kind)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(level, option, 1)
            made.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                made.listen(64)
            listeners.append(made)


def run(argv: list[str], text: str) -> dict:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def answer(request: dict) -> object:
    if "send" in request:
        return send(request["send"])
    if "listen" in request:
        return listen(request["listen"])
    return run(request["run"], request.get("text", ""))


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
