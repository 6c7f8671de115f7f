"""The programs of a container that can send a request: what they are asked, and what is read from what they print.

The outputs are those of curl 7.88, GNU wget 1.21 and busybox 1.35 in pods of a real cluster.
"""

import json
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.request_tools import CURL, PYTHON, WGET, shown

GET = PlainRequest(
    address="details",
    port=9080,
    method="GET",
    path="/a b",
    headers=(("Host", "details:9080"), ("x-request-id", "one")),
)
TCP = replace(GET, method="", timeout_s=4)


def curl(request: PlainRequest, stdout: str, code: int = 0, stderr: str = "") -> PlainAnswer | None:
    return CURL.read(request, stdout.encode(), stderr.encode(), code)


def test_curl_is_asked_without_proxies_redirects_or_a_host_that_it_writes_itself() -> None:
    (argv,) = CURL.ways(GET)
    assert argv[-1] == "http://details:9080/a b"
    assert argv[argv.index("--noproxy") + 1] == "*"
    assert "-L" not in argv
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "-H"] == ["x-request-id: one"]


def test_curl_says_what_it_must() -> None:
    other = replace(GET, headers=(("Host", "shop.example.com"), ("x-empty", "")), tls=True, http2=True, method="HEAD")
    other = replace(other, sni="details")
    (argv,) = CURL.ways(other)
    assert argv[-1].startswith("https://")
    assert {"-k", "-I", "--http2-prior-knowledge", "Host: shop.example.com", "x-empty;"} <= set(argv)
    assert "-X" not in argv
    (argv,) = CURL.ways(replace(TCP, address="fd00::1"))
    assert argv[-1] == "telnet://[fd00::1]:9080"


SECURE = replace(GET, tls=True, port=9443, headers=(("Host", "a.com"),))


@pytest.mark.parametrize(
    ("request_", "url", "more"),
    [
        (replace(SECURE, sni="details"), "https://details:9443/a b", ["-H", "Host: a.com"]),
        (replace(SECURE, address="10.0.0.9"), "https://10.0.0.9:9443/a b", ["-H", "Host: a.com"]),
        (replace(SECURE, sni="a.com"), "https://a.com:9443/a b", ["--connect-to", "::details:9443"]),
        (
            replace(SECURE, address="fd00::9", sni="b.com"),
            "https://b.com:9443/a b",
            ["-H", "Host: a.com", "--connect-to", "::[fd00::9]:9443"],
        ),
    ],
)
def test_curl_sends_the_server_name_that_is_asked_for(request_: PlainRequest, url: str, more: list[str]) -> None:
    (argv,) = CURL.ways(request_)
    assert list(argv[argv.index("GET") + 1 :]) == [*more, "-k", url]


def test_what_takes_the_server_name_from_its_url_is_not_asked_for_another() -> None:
    assert not CURL.ways(SECURE)
    assert not WGET.ways(SECURE)
    assert not WGET.ways(replace(SECURE, sni="a.com"))
    assert WGET.ways(replace(SECURE, sni="details"))
    assert PYTHON.ways(SECURE)


@pytest.mark.parametrize(
    ("request_", "stdout", "code", "stderr", "wanted"),
    [
        (GET, "\n200 10.0.0.1 40000 0.001 35\n", 0, "", (200, "", False)),
        (GET, "HTTP/1.1 302 Found\r\n\r\n\n302 10.0.0.1 40000 0.001 0\n", 0, "", (302, "", False)),
        (GET, "\n000  0 0.000000 0\n", 6, "curl: (6) Could not resolve host: x", (None, "dns", False)),
        (GET, "\n000  0 0.000000 0\n", 7, "curl: (7) Failed to connect", (None, "refused", False)),
        (GET, "\n000  0 0.0 0\n", 7, "curl: (7) Failed to connect to x port 1 after 0 ms", (None, "refused", False)),
        (GET, "\n000  0 0.0 0\n", 7, "curl: (7) Failed to connect to x port 1 after 3079 ms", (None, "timeout", False)),
        (GET, "\n000  0 0.0 0\n", 7, "curl: (7) Failed to connect to x port 1 after 594 ms", (None, "", False)),
        (GET, "\n000 10.0.0.1 40000 0.001 0\n", 56, "curl: (56) Recv failure", (None, "reset", False)),
        (GET, "\n000 10.0.0.1 40000 0.001 0\n", 52, "curl: (52) Empty reply", (None, "reset", False)),
        (GET, "\n000 10.0.0.1 40000 0.001 0\n", 28, "curl: (28) Operation timed out", (None, "timeout", False)),
        (GET, "\n000 10.0.0.1 40000 0.001 9\n", 1, "curl: (1) Received HTTP/0.9 when not allowed", (None, "", True)),
        (TCP, "\n000 10.0.0.1 40000 0.003 0\n", 28, "curl: (28) Time-out", (None, "", False)),
        (TCP, "\n000 10.0.0.1 40000 0.003 0\n", 0, "", (None, "reset", False)),
        (TCP, "\n000 10.0.0.1 40000 0.003 78\n", 28, "", (None, "", True)),
        (TCP, "\n000  0 0.000000 0\n", 28, "curl: (28) Connection timed out", (None, "timeout", False)),
    ],
)
def test_curl_s_answer(
    request_: PlainRequest, stdout: str, code: int, stderr: str, wanted: tuple[int | None, str, bool]
) -> None:
    found = curl(request_, stdout, code, stderr)
    assert found is not None
    assert (found.status, found.broken, found.spoke) == wanted
    assert found.connected is ("10.0.0.1" in stdout)
    assert found.local == ("10.0.0.1:40000" if found.connected else "")


def test_a_curl_that_lacks_an_option_has_sent_nothing() -> None:
    assert curl(GET, "", 2, "curl: option --http2-prior-knowledge: is unknown") is None
    assert curl(GET, "\n000  0 0.000000 0\n", 1, "curl: (1) Protocol telnet not supported or disabled") is None


def wget(stderr: str, code: int) -> PlainAnswer | None:
    return WGET.read(GET, b"", stderr.encode(), code)


def test_wget_asks_once_in_three_dialects_and_only_what_it_can() -> None:
    ways = WGET.ways(GET)
    assert [argv[0] for argv in ways] == ["wget", "wget", "timeout"]
    assert all("--header=x-request-id: one" in argv and argv[-1] == "http://details:9080/a b" for argv in ways)
    assert list(WGET.ways(TCP)) == list(WGET.ways(replace(GET, method="POST"))) == []


@pytest.mark.parametrize(
    ("stderr", "code", "status", "broken"),
    [
        ("Connecting to backend|10.1.1.1|:9080... connected.\n  HTTP/1.1 403 Forbidden\n  server: envoy\n", 8, 403, ""),
        ("  HTTP/1.1 302 Found\n  location: /x\n  HTTP/1.1 200 OK\n", 0, 302, ""),
        ("Connecting to details:9080 (10.1.1.1)\n  HTTP/1.1 503 Service Unavailable\nwget: server", 1, 503, ""),
        ("Resolving x... failed: unknown.\nwget: unable to resolve host address 'x'", 4, None, "dns"),
        ("wget: bad address 'x:80'", 1, None, "dns"),
        ("Connecting to 127.0.0.1:1... failed: Connection refused.", 4, None, "refused"),
        ("wget: can't connect to remote host (127.0.0.1): Connection refused", 1, None, "refused"),
        ("wget: error getting response", 1, None, "reset"),
        ("wget: download timed out", 1, None, "timeout"),
        ("", 124, None, "timeout"),
    ],
)
def test_wget_s_answer(stderr: str, code: int, status: int | None, broken: str) -> None:
    found = wget(stderr, code)
    assert found is not None
    assert (found.status, found.broken) == (status, broken)


def test_a_wget_that_does_not_know_an_option_or_crashes_on_it_has_sent_nothing() -> None:
    assert wget("wget: unrecognized option '--max-redirect=0'\nBusyBox v1.35.0", 1) is None
    assert wget("", 139) is None


def test_python_sends_it_as_a_program_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        (argv,) = PYTHON.ways(replace(GET, address="localhost", port=port, uid=1000))
        done = subprocess.run([sys.executable, "-I", *argv[1:]], capture_output=True, check=True, timeout=20)
        thread.join(5)
    found = PYTHON.read(GET, done.stdout, done.stderr, 0)
    assert found is not None
    assert (found.status, found.connected, found.local.startswith("127.0.0.1:")) == (204, True, True)
    assert heard[0].startswith(b"GET /a b HTTP/1.1\r\nHost: details:9080\r\nx-request-id: one\r\n")


def test_python_says_that_a_name_is_unknown() -> None:
    (argv,) = PYTHON.ways(replace(GET, address="nosuch.invalid"))
    done = subprocess.run([sys.executable, "-I", *argv[1:]], capture_output=True, check=True, timeout=60)
    found = PYTHON.read(GET, done.stdout, b"", 0)
    assert found is not None
    assert found.broken == "dns"


def test_a_python_that_cannot_run_it_has_sent_nothing() -> None:
    assert PYTHON.read(GET, b"", b"SyntaxError: future feature annotations is not defined", 1) is None
    assert PYTHON.read(GET, b"[]", b"", 0) is None
    assert list(PYTHON.ways(replace(GET, http2=True))) == []


def test_what_is_shown_can_be_repeated_by_a_person() -> None:
    assert shown(CURL, CURL.ways(GET)[0], GET).startswith("curl -sS --noproxy '*'")
    assert shown(PYTHON, PYTHON.ways(GET)[0], GET) == "python3: GET http://details:9080/a b"
    assert shown(PYTHON, PYTHON.ways(TCP)[0], TCP) == "python3: connect to details:9080"


def test_the_program_stays_short_enough_for_an_address_line() -> None:
    program = PYTHON.ways(GET)[0][2]
    assert len(program) < 5000
    assert json.loads(PYTHON.ways(GET)[0][3])["address"] == "details"
