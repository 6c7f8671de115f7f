"""A session with an API server: raw JSON in and out. The only module that imports `kubernetes`.

`kubernetes` reads the kubeconfig (certificates, tokens, exec plugins, proxies); the requests are plain HTTP on its
connection pool: its 5,000 model classes would only be in the way of objects that are kept as they are.
"""

import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from meshctl import json_text
from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import kube_streams
from meshctl.sources.connection import Connection
from meshctl.sources.kube_errors import Refusal, error_for, read_refusal
from meshctl.sources.kube_streams import Exit
from meshctl.sources.kubeconfig import Kubeconfig, kubeconfig_files, read_kubeconfig

PAGE = 500
_TRIES = 4
_RETRIED = (429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 10.0
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Query = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Api:
    """An API server as one user; every request that was made is in `asked`, in order, for tests and --verbose."""

    name: str
    server: str
    namespace: str
    configuration: Any
    pool: Any
    headers: tuple[tuple[str, str], ...]
    timeout_s: float
    verbose: bool = False
    asked: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, query: Query = (), what: str = "") -> Any:
        """GET a JSON document. Raises by kube_errors; NotFound for 404."""
        return self._json(self.get_bytes(path, query, what), path)

    def get_bytes(self, path: str, query: Query = (), what: str = "", limit: int | None = None) -> bytes:
        """GET raw bytes, at most `limit` of them; tried again on 429, 5xx and cut connections."""
        return self._send("GET", path, query, None, what or f"read {path}", limit)

    def pages(self, path: str, query: Query = (), what: str = "") -> Iterator[list[Any]]:
        """The items of a list, a page at a time; where it expires meanwhile (410), the rest of a fresh list, once."""
        handed_out: set[str] = set()
        seen: set[str] | None = None
        token = ""
        while True:
            limits = [] if seen is not None else [("limit", str(PAGE))]
            more = [*limits, *([("continue", token)] if token else [])]
            body = self._send("GET", path, [*query, *more], None, what, None, allow=(410,))
            document = self._json(body, path)
            if document.get("kind") == "Status":
                if seen is not None or not token:
                    raise error_for(read_refusal(410, body, what), self.server)
                seen, token = handed_out, ""
                continue
            items = document.get("items") or []
            if not isinstance(items, list):
                raise Unavailable(f"{self.server}{path}: the answer is no Kubernetes list")
            _name_kind(document, items)
            yield [item for item in items if seen is None or _uid(item) not in seen]
            handed_out.update(map(_uid, items))
            token = str((document.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def create(self, path: str, body: Any, what: str) -> Any:
        """POST an object. Mutating unless it is a review: callers have the user's flag or a yes."""
        return self._json(self._send("POST", path, (), body, what, None), path)

    def patch(self, path: str, body: Any, what: str) -> Any:
        """PATCH with a strategic merge. Mutating: callers have the user's flag or a yes."""
        return self._json(self._send("PATCH", path, (), body, what, None), path)

    def delete(self, path: str, what: str) -> None:
        """DELETE with what depends on it; gone already is fine. Mutating: only for what meshctl made itself."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "gracePeriodSeconds": 0}
        try:
            self._send("DELETE", path, (), body, what, None)
        except NotFound:
            return

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float) -> Exit:
        """Run one command in a container and collect what it prints."""
        query = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", "true"),
            *(("command", word) for word in argv),
        ]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        self._note("EXEC", f"{namespace}/{pod} {container}: {_short(argv)}")
        what = f"exec in pod {namespace}/{pod}"
        return kube_streams.run(self._stream(), path, query, what, timeout_s)

    def forwarded_get(self, namespace: str, pod: str, port: int, path: str, timeout_s: float) -> bytes:
        """GET from a port of a pod, through the API server's port-forward."""
        self._note("FORWARD", f"{namespace}/{pod}:{port}{path}")
        where = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        return kube_streams.get(self._stream(), where, port, path, f"port-forward to pod {namespace}/{pod}", timeout_s)

    def _stream(self) -> kube_streams.Endpoint:
        headers = (*self.headers, *self._authorization().items())
        return kube_streams.Endpoint(self.server, self.configuration, headers, self.timeout_s)

    def _authorization(self) -> dict[str, str]:
        with self._lock:
            token = self.configuration.get_api_key_with_prefix("authorization") or (
                self.configuration.get_api_key_with_prefix("BearerToken")
            )
        if token:
            return {"authorization": token}
        basic = self.configuration.get_basic_auth_token() if self.configuration.username else None
        return {"authorization": basic} if basic else {}

    def _note(self, verb: str, what: str) -> None:
        with self._lock:
            self.asked.append(f"{verb} {what}")
            if self.verbose:
                sys.stderr.write(f"{self.name}: {verb} {what}\n")

    def _json(self, body: bytes, path: str) -> Any:
        try:
            document = json_text.loads(body)
        except ValueError as error:
            raise Unavailable(
                f"{self.server}{path} does not answer as a Kubernetes API: {body[:80]!r}",
                hint="a proxy or a login page may stand before it; check the server in the kubeconfig",
            ) from error
        if not isinstance(document, dict):
            raise Unavailable(f"{self.server}{path} does not answer as a Kubernetes API: {body[:80]!r}")
        return document

    def _send(
        self, verb: str, path: str, query: Query, body: Any, what: str, limit: int | None, allow: tuple[int, ...] = ()
    ) -> bytes:
        asked = f"{path}?{urlencode(query)}" if query else path
        tries = _TRIES if verb == "GET" else 1
        for left in range(tries - 1, -1, -1):
            self._note(verb, asked)
            try:
                status, headers, content = self._once(verb, asked, body, limit)
            except _Cut as cut:
                if not left or not cut.again:
                    raise cut.error from cut.__cause__
                time.sleep(_pause(tries - left, ""))
                continue
            if status < 300 or status in allow:
                return content
            if not left or status not in _RETRIED:
                raise error_for(read_refusal(status, content, what), self.server)
            time.sleep(_pause(tries - left, headers.get("Retry-After", "")))
        raise AssertionError("unreachable")

    def _once(self, verb: str, asked: str, body: Any, limit: int | None) -> tuple[int, Any, bytes]:
        import urllib3

        headers = urllib3.HTTPHeaderDict({"Accept": "application/json", "User-Agent": "meshctl"})
        for name, value in (*self.headers, *self._authorization().items()):
            headers.add(name, value)
        data = None
        if body is not None:
            kind = "application/strategic-merge-patch+json" if verb == "PATCH" else "application/json"
            headers["Content-Type"] = kind
            data = json.dumps(body).encode()
        timeout = urllib3.Timeout(connect=self.timeout_s, read=self.timeout_s)
        try:
            response = self.pool.request(
                verb,
                self.server + asked,
                headers=headers,
                body=data,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                content = response.read(limit) if limit else response.read()
            finally:
                response.release_conn() if limit is None else response.close()
        except urllib3.exceptions.HTTPError as error:
            raise _Cut(*_unreachable(error, self.server, self.timeout_s)) from error
        except (OSError, ValueError) as error:
            raise _Cut(Unavailable(f"{self.server} cannot be asked: {error}"), False) from error
        return response.status, response.headers, content


class _Cut(Exception):
    """No whole answer came; `again` where trying again may help."""

    def __init__(self, error: MeshctlError, again: bool) -> None:
        self.error = error
        self.again = again


def _short(argv: Sequence[str]) -> str:
    words = ["..." if len(word) > 60 else word for word in argv]
    return " ".join(words)


def _uid(item: Any) -> str:
    return str((item.get("metadata") or {}).get("uid") or id(item))


def _name_kind(document: Any, items: list[Any]) -> None:
    """Items of a list come without kind and apiVersion: the list has them."""
    kind = str(document.get("kind") or "").removesuffix("List")
    for item in items:
        if kind and isinstance(item, dict):
            item.setdefault("kind", kind)
            item.setdefault("apiVersion", document.get("apiVersion", ""))


def _pause(attempt: int, retry_after: str) -> float:
    asked = float(retry_after) if retry_after.isdigit() else 0.2 * 2**attempt
    return min(asked, _LONGEST_WAIT_S) * random.uniform(0.8, 1.0)


def _unreachable(error: Exception, server: str, timeout_s: float) -> tuple[MeshctlError, bool]:
    import urllib3

    # Refused and unknown names are, in urllib3, kinds of connect timeouts.
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    if not refused and isinstance(error, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.ReadTimeoutError):
        return Unavailable(f"{server} did not answer within {timeout_s:g} s", hint="--request-timeout SECONDS"), False
    if isinstance(error, urllib3.exceptions.SSLError):
        return (
            Unavailable(
                f"{server}: the TLS handshake failed: {_root(error)}",
                hint="the kubeconfig's certificate-authority is not the one that signed the server's certificate,"
                " or the address is not in it",
            ),
            False,
        )
    if isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.IncompleteRead):
        return Unavailable(f"{server} cut the connection: {_root(error)}"), True
    if isinstance(error, urllib3.exceptions.ProxyError):
        return Unavailable(f"the proxy before {server} cannot be used: {_root(error)}"), False
    return Unavailable(
        f"{server} cannot be reached: {_root(error)}", hint="is the cluster up, the VPN connected?"
    ), False


def _root(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__


def connect(connection: Connection) -> Api:
    """Open a session by the kubeconfig, or by the service account inside a pod; nothing is asked yet.

    Raises BadInput where there is no usable kubeconfig, NoAccess where its plugin gives no credentials.
    """
    files = kubeconfig_files(connection.kubeconfig)
    if not files and os.environ.get("KUBERNETES_SERVICE_HOST") and not connection.context:
        return _session(connection, *_in_cluster())
    if not files:
        raise BadInput(
            "there is no kubeconfig: neither KUBECONFIG nor ~/.kube/config",
            hint="name one with --kubeconfig, or work offline: --snapshot PATH, --demo",
        )
    about = read_kubeconfig(files, connection.context)
    return _session(connection, _configuration(about), about.context, about.namespace)


def _session(connection: Connection, configuration: Any, name: str, namespace: str) -> Api:
    from kubernetes.client.rest import RESTClientObject

    configuration.connection_pool_maxsize = 16
    configuration.retries = False
    if connection.as_groups and not connection.as_user:
        raise BadInput("--as-group needs --as USER")
    headers = [("Impersonate-User", connection.as_user)] if connection.as_user else []
    headers += [("Impersonate-Group", group) for group in connection.as_groups]
    rest_client: Any = RESTClientObject
    try:
        pool = rest_client(configuration).pool_manager
    except Exception as error:
        raise BadInput(f"{name}: the kubeconfig cannot be used: {error}") from error
    return Api(
        name=name,
        server=str(configuration.host).rstrip("/"),
        namespace=connection.namespace or namespace,
        configuration=configuration,
        pool=pool,
        headers=tuple(headers),
        timeout_s=connection.timeout_s,
        verbose=connection.verbose,
    )


def _in_cluster() -> tuple[Any, str, str]:
    from kubernetes import client, config

    configuration = type.__call__(client.Configuration)
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise BadInput(f"the pod's service account cannot be used: {error}") from error
    try:
        namespace = (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = "default"
    return configuration, "in-cluster", namespace


class _Heard(logging.Handler):
    """Collects what `kubernetes` logs instead of raising: why an exec plugin gave nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _configuration(about: Kubeconfig) -> Any:
    from kubernetes import client, config

    configuration = type.__call__(client.Configuration)
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    try:
        config.load_kube_config(
            config_file=os.pathsep.join(about.files), context=about.context, client_configuration=configuration
        )
    except config.ConfigException as error:
        raise BadInput(f"{' and '.join(about.files)}: {error}") from error
    except Exception as error:
        raise BadInput(f"{' and '.join(about.files)}: cannot be used: {type(error).__name__}: {error}") from error
    finally:
        logging.getLogger().removeHandler(heard)
    if about.has_exec_plugin and not configuration.api_key and not configuration.cert_file:
        said = heard.lines[-1] if heard.lines else "it printed no credentials"
        raise NoAccess(
            f"{about.files[0]}: the exec plugin of context '{about.context}' failed: {said}",
            hint="run the plugin by hand; you may have to install it or log in again",
        )
    return configuration


__all__ = ["Api", "Exit", "Refusal", "connect"]
