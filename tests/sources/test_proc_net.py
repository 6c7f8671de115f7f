"""Listening sockets of an image without ss: the kernel's table, read as ss would have listed it."""

import socket
from pathlib import Path

import pytest

from meshctl.path import netns
from meshctl.sources import proc_net

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = f"""{HEAD}\
   0: 0100007F:3A98 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 1 1 0 100 0 0 10 0
   1: 00000000:2378 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 00000000:2378 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 100011AC:B3A2 210011AC:2378 01 00000000:00000000 00:00000000 00000000  1000        0 4 1 0 100 0 0 10 0
"""
TCP6 = f"""{HEAD}\
   0: 00000000000000000000000000000000:1B9E 00000000000000000000000000000000:0000 0A 0:0 00:0 0  1000  0 5
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0  1000  0 6
   2: 0000000000000000FFFF0000100011AC:1B9F 00000000000000000000000000000000:0000 0A 0:0 00:0 0  1000  0 7
   3: nonsense
"""


def test_each_listening_socket_once_with_its_owner() -> None:
    found = netns.sockets((proc_net.as_ss(TCP + TCP6) or b"").decode())
    assert [(one.proto, one.address, one.port, one.uid) for one in found] == [
        ("tcp", "127.0.0.1", 15000, 1337),
        ("tcp", "0.0.0.0", 9080, 0),
        ("tcp", "*", 7070, 1000),
        ("tcp", "::1", 80, 1000),
        ("tcp", "::ffff:172.17.0.16", 7071, 1000),
    ]
    assert netns.listens(found, "172.17.0.16", 7071) is not None
    assert netns.listens(found, "172.17.0.16", 15000) is None


def test_what_is_no_table_says_nothing() -> None:
    assert proc_net.as_ss("cat: /proc/net/tcp: No such file or directory") is None
    assert proc_net.as_ss("") is None
    assert proc_net.as_ss(HEAD) == b""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc/net here")
def test_a_socket_of_this_machine_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = Path("/proc/net/tcp").read_text(encoding="ascii")
        found = netns.sockets((proc_net.as_ss(text) or b"").decode())
        assert netns.listens(found, "127.0.0.1", server.getsockname()[1]) is not None
