"""Entering a namespace by PID: needs root, and util-linux's unshare to make one."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshctl.errors import BadInput, NoAccess, NotFound, Unavailable
from meshctl.sources import netns, proc_scan
from meshctl.sources.proc_scan import NamespaceId
from meshctl.sources.readonly import BY_PART, NETNS_PARTS, ReadCommand

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare to make a network namespace"
)


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process in a network namespace of its own, with one rule in it."""
    script = "ip link set lo up; iptables -t nat -A OUTPUT -p tcp -j RETURN; exec sleep 60"
    process = subprocess.Popen(["unshare", "-n", "sh", "-c", script])
    own = proc_scan.namespace_of("self")
    for _ in range(200):
        comm = Path(f"/proc/{process.pid}/comm").read_text()
        if comm.strip() == "sleep" and proc_scan.namespace_of(process.pid) != own:
            break
        time.sleep(0.02)
    yield process.pid
    process.kill()
    process.wait()


@needs_root
@pytest.mark.kernel
def test_every_part_is_read_inside_the_namespace_and_own_namespace_stays(sleeper: int) -> None:
    before = proc_scan.namespace_of("self")
    parts = netns.collect(sleeper)
    assert proc_scan.namespace_of("self") == before
    assert set(parts) == set(NETNS_PARTS)
    assert b"-A OUTPUT -p tcp -j RETURN" in (parts["netns/iptables-save.txt"].content or b"")
    assert [link["ifname"] for link in json.loads(parts["netns/ip-address.json"].content or b"")] == ["lo"]
    found = json.loads(parts["netns/processes.json"].content or b"")
    assert [(row["pid"], row["cmdline"]) for row in found] == [(sleeper, ["sleep", "60"])]


@needs_root
@pytest.mark.kernel
def test_reading_creates_no_legacy_tables(sleeper: int) -> None:
    netns.collect(sleeper)
    again = netns.collect(sleeper, ["netns/iptables-legacy-save.txt"])
    assert again["netns/iptables-legacy-save.txt"].content == b""


@needs_root
def test_the_namespace_of_meshctl_itself_is_refused() -> None:
    with pytest.raises(BadInput, match="own network namespace"):
        netns.collect(os.getpid())


@needs_root
@pytest.mark.kernel
def test_a_reused_pid_is_noticed(sleeper: int) -> None:
    with pytest.raises(Unavailable, match="not the one that was looked up"):
        netns.collect(sleeper, same_as=NamespaceId(1, 2))


def test_a_pid_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="no process 4194999"):
        netns.collect(4194999)


def test_without_the_right_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(netns.os, "open", refuse)
    monkeypatch.setattr(netns.os, "geteuid", lambda: 1000)
    with pytest.raises(NoAccess, match="needs root") as caught:
        netns.collect(1)
    assert "sudo" in (caught.value.hint or "")


def test_a_missing_tool_is_a_gap_with_its_package() -> None:
    command = ReadCommand("netns/nft.json", (("no-such-program-here", "-j"),), "nftables")
    assert netns.run_read_command(command, 1) == (
        "no-such-program-here",
        b"",
        "`no-such-program-here` is not installed here (package nftables)",
    )


def test_without_iptables_the_gap_says_what_else_there_is() -> None:
    gap = netns.run_read_command(ReadCommand("netns/iptables-save.txt", (("no-iptables-here",),), "iptables"), 1)[2]
    assert "--via debug-pod brings the tools" in gap


def test_a_command_that_hangs_or_fails_is_a_gap() -> None:
    assert "did not finish" in netns.run_read_command(ReadCommand("x", (("sleep", "5"),), "coreutils"), 0.1)[2]
    assert "`false` failed: exit code 1" in netns.run_read_command(ReadCommand("x", (("false",),), "coreutils"), 5)[2]


def test_only_commands_that_read_are_in_the_list() -> None:
    """The promise of DESIGN.md, word by word: a listing with `-L` of the legacy binary would create tables."""
    texts = {" ".join(argv) for command in BY_PART.values() for argv in command.argvs}
    assert texts == {
        "iptables-nft-save -c",
        "iptables-save -c",
        "ip6tables-nft-save -c",
        "ip6tables-save -c",
        "iptables-legacy-save -c",
        "ip6tables-legacy-save -c",
        "nft -j list ruleset",
        "ss -Htulnpe",
        "ip -j address",
        "ip -j route show table all",
        "ip -j rule",
        "ip -6 -j rule",
        "conntrack -L",
    }


@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
def test_a_port_of_the_namespace_itself_is_asked_by_either_family(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests may have no IPv6: what connects is told, and goes where the server is."""
    connect = socket.create_connection

    def one_family(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] != at:
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(("127.0.0.1", address[1]), timeout)

    monkeypatch.setattr(socket, "create_connection", one_family)
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: _answer_once(server))
        answer.start()
        found = netns._http_get(server.getsockname()[1], "/certs", 5)
        answer.join()
    assert found[1:] == (b"{}", "")


def _answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_port_that_answers_in_no_family_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "does not answer" in netns._http_get(port, "/certs", 5)[2]
