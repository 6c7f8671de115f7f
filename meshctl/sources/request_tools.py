"""What a container may have to send one request with: curl, Python or wget; how each is asked, and what it answers.

A tool that is not there, or cannot send this kind of request, has sent nothing: the next one is tried.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from meshctl.frozen import dataclass
from meshctl.sources.plain_request import PlainAnswer, PlainRequest, answer_of, program
from meshctl.words import show_address

_CURL_ENDS = {6: "dns", 7: "refused", 28: "timeout", 35: "tls", 60: "tls"}
_CURL_ENDS |= dict.fromkeys((16, 52, 55, 56, 92), "reset")
"""curl's exit codes (curl(1), EXIT CODES) in the words of a predicted end."""
_AFTER = re.compile(r" after (\d+) ms")
_REFUSED_MS, _NOBODY_MS = 250, 1000
"""curl says 7 as well where nobody answers: the kernel gives up looking for a neighbour after three seconds, or sooner
where it was looking already. A refusal takes one round trip; in between it may be either.
"""
_CURL_UNABLE = (1, 2, 4, 48)
"""Exit codes of a curl that lacks the protocol or an option: nothing was sent."""
_CURL_SAYS = "\\n%{http_code} %{local_ip} %{local_port} %{time_connect} %{size_download}\\n"
_WGET_ENDS = (
    ("dns", re.compile(r"unable to resolve|bad address")),
    ("refused", re.compile(r"[Cc]onnection refused")),
    ("timeout", re.compile(r"timed out")),
    ("reset", re.compile(r"No data received|[Cc]onnection reset|error getting response|Read error")),
    ("tls", re.compile(r"SSL|TLS|[Cc]ertificate")),
)
_WGET_UNABLE = re.compile(r"unrecognized option|invalid option|not compiled in|not an http or ftp url|Usage:")
_STATUS = re.compile(r"^\s*HTTP/[\d.]+ (\d{3})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, the ways to ask it for a request (in order; none where it cannot), and how to read what it printed.

    `read` gives None where the program could not send it, so that the next way or tool is tried.
    """

    name: str
    ways: Callable[[PlainRequest], Sequence[Sequence[str]]]
    read: Callable[[PlainRequest, bytes, bytes, int], PlainAnswer | None]


def shown(tool: Tool, argv: Sequence[str], request: PlainRequest) -> str:
    """The command as a person would repeat it; of Python's, what it sends."""
    import shlex

    if tool is not PYTHON:
        return shlex.join(argv)
    verb = request.method or "connect to"
    scheme = "https" if request.tls else "http"
    url = f"{scheme}://{_authority(request)}{request.path}" if request.method else _authority(request)
    return f"{argv[0]}: {verb} {url}"


def _authority(request: PlainRequest, name: str = "") -> str:
    host = name or (f"[{request.address}]" if ":" in request.address else request.address)
    return f"{host}:{request.port}"


def _url(request: PlainRequest, name: str = "") -> str:
    path = "/" if _has_target(request) else request.path
    return f"{'https' if request.tls else 'http'}://{_authority(request, name)}{path}"


def _has_target(request: PlainRequest) -> bool:
    """Whether the request line has something else than a path: ``*``, or the host and port of a CONNECT."""
    return not request.path.startswith("/")


def _other_name(request: PlainRequest) -> str:
    """The server name, where it is another than the one that a program sends for the address in its URL."""
    return request.sni if request.tls and request.sni not in ("", request.address.lower()) else ""


def _unnamed(request: PlainRequest) -> bool:
    """Whether no server name is to be sent although the URL has one: programs with a URL cannot do that."""
    return request.tls and not request.sni and not _is_address(request.address)


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _own_headers(request: PlainRequest, name: str = "") -> list[tuple[str, str]]:
    """The headers without a Host that the program writes by itself for its URL."""
    usual = {name or request.address, _authority(request, name)}
    return [(name, value) for name, value in request.headers if name.lower() != "host" or value not in usual]


# --- curl ------------------------------------------------------------------------------------------------------------


def _curl(request: PlainRequest) -> Sequence[Sequence[str]]:
    words = ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-m", f"{request.timeout_s:g}", "-w", _CURL_SAYS]
    if not request.method:
        return ([*words, f"telnet://{_authority(request)}"],)
    if _unnamed(request) or (request.http2 and request.method == "CONNECT"):
        return ()
    name = _other_name(request)
    words += ["-I"] if request.method == "HEAD" else ["-X", request.method]
    for header, value in _own_headers(request, name):
        words += ["-H", f"{header}: {value}" if value else f"{header};"]
    words += ["--connect-to", f"::{_authority(request)}"] if name else []
    if _has_target(request):
        words += ["--request-target", request.path]
    if request.http2:
        words.append("--http2-prior-knowledge")
    if request.tls:
        words.append("-k")
    return ([*words, _url(request, name)],)


def _read_curl(request: PlainRequest, stdout: bytes, stderr: bytes, code: int) -> PlainAnswer | None:
    text, said = stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace").strip()
    words = text.strip().rpartition("\n")[2].split(" ")
    if len(words) != 5 or not words[0].isdecimal():
        return None
    host, port = words[1], words[2]
    local = show_address(host, port) if host else ""
    connected = float(words[3] or 0) > 0
    found = PlainAnswer(local=local, connected=connected)
    if not request.method and connected and code != 35:
        return _held(found, request, int(words[4] or 0), code)
    if int(words[0]) >= 100:
        return replace(found, status=int(words[0]))
    if code in _CURL_UNABLE and "HTTP/0.9" not in said:
        return None
    broken = _CURL_ENDS.get(code, "")
    after = int(found_after[1]) if (found_after := _AFTER.search(said)) is not None else 0
    if code == 7 and (b"oute to host" in stderr or after >= _NOBODY_MS):
        broken = "timeout"
    elif code == 7 and after >= _REFUSED_MS:
        broken = ""
    return replace(found, broken=broken, spoke="HTTP/0.9" in said, text=said or f"curl ended with {code}")


def _held(found: PlainAnswer, request: PlainRequest, heard: int, code: int) -> PlainAnswer:
    if heard:
        return replace(found, spoke=True, text="connected, and the other end spoke first")
    if code == 28:
        return replace(found, text=f"connected, and it stayed open for {request.timeout_s:g} s")
    return replace(found, broken="reset", text="connected, and closed by the other end")


# --- Python ----------------------------------------------------------------------------------------------------------


def _python(request: PlainRequest) -> Sequence[Sequence[str]]:
    if request.http2:
        return ()
    return (["python3", "-c", program(), json.dumps(asdict(replace(request, uid=None, gid=None)))],)


def _read_python(_request: PlainRequest, stdout: bytes, _stderr: bytes, _code: int) -> PlainAnswer | None:
    try:
        return answer_of(stdout)
    except ValueError:
        return None


# --- wget ------------------------------------------------------------------------------------------------------------


def _wget(request: PlainRequest) -> Sequence[Sequence[str]]:
    """GNU's own options first; busybox knows fewer, and some builds of it crash on ``-T``."""
    if request.method != "GET" or request.http2 or _other_name(request) or _unnamed(request):
        return ()
    rest = [f"--header={name}: {value}" for name, value in _own_headers(request)]
    rest += ["--no-check-certificate"] if request.tls else []
    rest += ["-O", "/dev/null", _url(request)]
    wait = f"{request.timeout_s:g}"
    return (
        ["wget", "-S", "-t", "1", "-T", wait, "--max-redirect=0", "--no-proxy", *rest],
        ["wget", "-S", "-T", wait, "-Y", "off", *rest],
        ["timeout", wait, "wget", "-S", "-Y", "off", *rest],
    )


def _read_wget(request: PlainRequest, _stdout: bytes, stderr: bytes, code: int) -> PlainAnswer | None:
    text = stderr.decode("utf-8", "replace")
    status = _STATUS.search(text)
    if status is not None:
        return PlainAnswer(status=int(status[1]), connected=True)
    if code == 124:  # of timeout(1)
        return PlainAnswer(broken="timeout", text=f"no answer within {request.timeout_s:g} s")
    if code >= 128 or _WGET_UNABLE.search(text):
        return None
    broken = next((end for end, pattern in _WGET_ENDS if pattern.search(text)), "")
    said = text.strip().rpartition("\n")[2]
    return PlainAnswer(broken=broken, text=said or f"wget ended with {code}")


CURL = Tool("curl", _curl, _read_curl)
PYTHON = Tool("python3", _python, _read_python)
WGET = Tool("wget", _wget, _read_wget)
TOOLS = (CURL, PYTHON, WGET)
