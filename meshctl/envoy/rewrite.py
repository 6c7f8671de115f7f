"""What becomes of hosts and paths: normalisation before routing, rewrites and redirects after it."""

from urllib.parse import unquote

from meshctl.envoy import strings
from meshctl.envoy.model.managers import HttpManager
from meshctl.envoy.model.matching import PathMatch, RouteMatch
from meshctl.envoy.model.routes import Forward, Redirect
from meshctl.envoy.request import Request

_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def without_port(host: str) -> str:
    """A host without its port (Envoy, ``HeaderUtility::getPortStart``); IPv6 addresses stay in brackets."""
    head, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal() or head.endswith(":") or ("]" in host and not head.endswith("]")):
        return host
    return host if ":" in head and not head.startswith("[") else head


def named(host: str) -> str:
    """A host without whatever follows its last colon: what ``ignore_port_in_host_matching`` compares."""
    head, colon, rest = host.rpartition(":")
    return head if colon and "]" not in rest else host


def host_seen(manager: HttpManager, host: str, port: int) -> str:
    """The host that routes see: some connection managers take the port or a trailing dot off."""
    if manager.strip_trailing_dot:
        bare = without_port(host)
        host = bare.removesuffix(".") + host[len(bare) :]
    if manager.strip_port == "any":
        return without_port(host)
    if manager.strip_port == "matching" and host.endswith(f":{port}"):
        return without_port(host)
    return host


def unescapes(manager: HttpManager, path: str) -> bool:
    """Whether a connection manager redirects (307) to the path without escaped slashes."""
    lowered = path.partition("?")[0].lower()
    return manager.escaped_slashes == "UNESCAPE_AND_REDIRECT" and ("%2f" in lowered or "%5c" in lowered)


def path_seen(manager: HttpManager, path: str) -> str | None:
    """The path that filters and routes see; None where the proxy refuses it (400), as it does one with a fragment."""
    if "#" in path:
        return None
    bare, mark, query = path.partition("?")
    lowered = bare.lower()
    if manager.escaped_slashes != "KEEP_UNCHANGED" and ("%2f" in lowered or "%5c" in lowered):
        if manager.escaped_slashes == "REJECT_REQUEST":
            return None
        for escape, char in (("%2F", "/"), ("%2f", "/"), ("%5C", "\\"), ("%5c", "\\")):
            bare = bare.replace(escape, char)
    if manager.normalize_path:
        normal = _normal(bare)
        if normal is None:
            return None
        bare = normal
    if manager.merge_slashes:
        bare = _merged(bare)
    return bare + mark + query


def path_by_setting(setting: str, path: str) -> str | None:
    """The path as proxies with Istio's ``pathNormalization`` see it (MeshConfig, 1.30); None where they refuse it."""
    if setting == "NONE":
        return path
    bare, mark, query = path.partition("?")
    if setting == "DECODE_AND_MERGE_SLASHES":
        for escape, char in (("%2F", "/"), ("%2f", "/"), ("%5C", "\\"), ("%5c", "\\")):
            bare = bare.replace(escape, char)
    normal = _normal(bare)
    if normal is None:
        return None
    return (_merged(normal) if "MERGE_SLASHES" in setting else normal) + mark + query


def _merged(path: str) -> str:
    """Runs of slashes as one; a path of nothing but slashes keeps two (Envoy, ``PathTransformer::mergeSlashes``)."""
    if "//" not in path:
        return path
    last = "/" if path.endswith("/") else ""
    return "/" + "/".join(part for part in path.split("/") if part) + last


def _normal(path: str) -> str | None:
    """RFC 3986, section 6.2.2: unreserved characters unescaped, dot segments resolved, backslashes as slashes."""
    if not path.startswith("/"):
        return path
    plain = _unescaped(path.replace("\\", "/"))
    if "\x00" in plain or "%00" in plain:
        return None
    kept: list[str] = []
    segments = plain.split("/")[1:]
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        if segment in (".", ".."):
            if segment == ".." and kept:
                kept.pop()
            if last:
                kept.append("")
        else:
            kept.append(segment)
    return "/" + "/".join(kept)


def _unescaped(text: str) -> str:
    head, *rest = text.split("%")
    out = [head]
    for piece in rest:
        char = unquote("%" + piece[:2]) if len(piece) >= 2 else ""
        out.append(char + piece[2:] if len(char) == 1 and char in _UNRESERVED else "%" + piece)
    return "".join(out)


def percent_decoded(text: str) -> str:
    """A text with its ``%XX`` read, as Envoy reads the parameters that it looks for tokens in."""
    return unquote(text)


def location(action: Redirect, match: RouteMatch, request: Request) -> str | None:
    """Where a redirect leads (Envoy, ``RouteEntryImplBase::newUri``); None where a rewrite cannot be computed."""
    scheme = "https" if action.https else action.scheme or request.scheme
    host, port = action.host, f":{action.port}" if action.port else ""
    if not host:
        host = request.host
        bare = without_port(host)
        changed = scheme != request.scheme and host[len(bare) :] == {"http": ":80", "https": ":443"}.get(request.scheme)
        if port or changed:
            host = bare
    path = _redirect_path(action, match, request)
    return None if path is None else f"{scheme}://{host}{port}{path}"


def _redirect_path(action: Redirect, match: RouteMatch, request: Request) -> str | None:
    query = request.path[len(request.bare_path) :]
    if action.path:
        if "?" in action.path:
            return action.path
        return action.path + ("" if action.strip_query else query)
    bare: str | None = request.bare_path
    if action.prefix_rewrite or action.regex_rewrite:
        bare = _rewritten(action.prefix_rewrite, action.regex_rewrite, match.path, request.bare_path)
    if bare is None:
        return None
    return bare + ("" if action.strip_query else query)


def _rewritten(prefix: str, regex: tuple[str, str] | None, match: PathMatch, path: str) -> str | None:
    if regex is not None:
        return strings.regex_replace(*regex, path)
    if match.kind in ("prefix", "path", "path_separated_prefix"):
        return prefix + path[len(match.value) :]
    return prefix if match.kind == "regex" else None


def upstream_path(action: Forward, match: RouteMatch, request: Request) -> str | None:
    """The path that the upstream gets; None where it cannot be computed."""
    if not action.prefix_rewrite and action.regex_rewrite is None:
        return request.path
    query = request.path[len(request.bare_path) :]
    bare = _rewritten(action.prefix_rewrite, action.regex_rewrite, match.path, request.bare_path)
    return None if bare is None else bare + query
