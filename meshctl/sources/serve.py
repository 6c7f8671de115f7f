"""A snapshot as a read-only Kubernetes API on the loopback interface: for kubectl, k9s, and meshctl's live source.

Discovery, get, list (labels, fields, pages), watch (what there is, then silence), tables, logs, and exec and
port-forward as far as their answers were recorded. Everything that would change something is refused with 405; asking
for one's own rights changes nothing and is answered.
"""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.sources import exec_parts, serve_streams, serve_tables
from meshctl.sources.serve_catalog import Catalog, Resource, choose
from meshctl.sources.serve_http import Answering, Refused
from meshctl.sources.snapshot import Snapshot

Raw = Mapping[str, Any]
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_READS = ("get", "list", "watch")


class SnapshotServer(ThreadingHTTPServer):
    """Serves one snapshot; `asked` lists the requests, for tests."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, snapshot: Snapshot, port: int = 0) -> None:
        self.snapshot = snapshot
        self.catalog = Catalog(snapshot)
        self.asked: list[str] = []
        self.stopping = threading.Event()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise BadInput(f"port {port} cannot be served on: {error}", hint="choose another: --port PORT") from error

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nobody's concern."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def shutdown(self) -> None:
        """Stop, and end the watches that are open."""
        self.stopping.set()
        super().shutdown()


class Handler(Answering):
    """What Kubernetes' API says to each request."""

    server: SnapshotServer

    def _serve(self, answer: Callable[[], None]) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        super()._serve(answer)

    def do_GET(self) -> None:
        """Reads."""
        self._serve(self._read)

    def do_POST(self) -> None:
        """Only the question what one may do."""
        self._serve(self._review)

    def do_HEAD(self) -> None:
        """Refused like every verb that Kubernetes' API does not have."""
        self._serve(self._refuse)

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD

    def _review(self) -> None:
        if urlsplit(self.path).path != _REVIEWS:
            self._refuse()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "json" not in self.headers.get("Content-Type", "json"):
            raise Refused(415, "UnsupportedMediaType", "a recording understands JSON only")
        try:
            review = json_text.loads(body)
            asked = review["spec"]["resourceAttributes"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "BadRequest", "that is no SelfSubjectAccessReview") from None
        streams = asked.get("subresource") in ("exec", "portforward")
        allowed = asked.get("verb") in _READS or (streams and asked.get("verb") == "create")
        self._json(201, {**review, "status": {"allowed": allowed, "reason": "a recording can only be read"}})

    def _read(self) -> None:
        parts = urlsplit(self.path)
        words = [unquote(word) for word in parts.path.split("/") if word]
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        match words:
            case ["version"]:
                self._json(200, self._version())
            case ["healthz" | "readyz" | "livez", *_]:
                self._send(200, b"ok", "text/plain")
            case ["api"]:
                self._json(200, {"kind": "APIVersions", "versions": self.server.catalog.groups().get("", ["v1"])})
            case ["apis"]:
                self._json(200, self._group_list())
            case ["api", version]:
                self._json(200, self._resource_list("", version))
            case ["apis", group]:
                self._json(200, self._group(group))
            case ["apis", group, version]:
                self._json(200, self._resource_list(group, version))
            case ["api", version, *rest]:
                self._objects("", version, rest, query)
            case ["apis", group, version, *rest]:
                self._objects(group, version, rest, query)
            case _:
                raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _version(self) -> Raw:
        version = str((self.server.snapshot.about.get("versions") or {}).get("kubernetes") or "v1.30.0")
        major, _, rest = version.removeprefix("v").partition(".")
        return {"major": major, "minor": rest.partition(".")[0], "gitVersion": version, "platform": "recording"}

    def _group_list(self) -> Raw:
        groups = [self._group(name) for name in sorted(self.server.catalog.groups()) if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str) -> dict[str, Any]:
        versions = self.server.catalog.groups().get(group)
        if not group or versions is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        known = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
        return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": known, "preferredVersion": known[0]}

    def _resource_list(self, group: str, version: str) -> Raw:
        found = self.server.catalog.of(group, version)
        if not found:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        resources = [
            {
                "name": resource.plural,
                "singularName": resource.kind.lower(),
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": list(_READS),
                "shortNames": list(resource.short_names),
            }
            for resource in found
        ]
        group_version = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}

    def _objects(self, group: str, version: str, rest: list[str], query: dict[str, str]) -> None:
        namespace = None
        if len(rest) >= 3 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        resource = self.server.catalog.find(group, version, rest[0])
        if resource is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if len(rest) == 1 and query.get("watch", "") in ("true", "1"):
            self._watch(resource, namespace, query)
        elif len(rest) == 1:
            self._list(resource, namespace, query)
        elif len(rest) == 2:
            self._one(resource, namespace, rest[1])
        else:
            self._subresource(resource, namespace or "", rest[1], rest[2])

    def _list(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> None:
        limit = query.get("limit", "")
        chosen = choose(
            resource,
            namespace,
            query.get("labelSelector", ""),
            query.get("fieldSelector", ""),
            int(limit) if limit.isdigit() else 0,
            query.get("continue", ""),
        )
        metadata: dict[str, Any] = {"resourceVersion": "1"}
        if chosen.token:
            metadata |= {"continue": chosen.token, "remainingItemCount": chosen.left}
        if self._wants_table():
            self._json(200, serve_tables.table(resource, chosen.items, self.server.snapshot.now(), metadata))
            return
        items = list(chosen.items)
        document = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        self._json(200, {**document, "items": items})

    def _find(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        for item in resource.items:
            metadata = item["metadata"]
            if metadata.get("name") == name and (not resource.namespaced or metadata.get("namespace") == namespace):
                return item
        suffix = f".{resource.group}" if resource.group else ""
        raise Refused(404, "NotFound", f'{resource.plural}{suffix} "{name}" not found')

    def _one(self, resource: Resource, namespace: str | None, name: str) -> None:
        found = self._find(resource, namespace, name)
        if self._wants_table():
            now = self.server.snapshot.now()
            self._json(200, serve_tables.table(resource, [found], now, {"resourceVersion": "1"}))
        else:
            self._json(200, found)

    def _wants_table(self) -> bool:
        return "as=Table" in self.headers.get("Accept", "")

    def _watch(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> None:
        """What there is (where the client has not seen it), then nothing: a recording does not change."""
        chosen = choose(resource, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        listing = query.get("sendInitialEvents") == "true"
        begins = listing or query.get("resourceVersion", "") in ("", "0")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for item in chosen.items if begins else ():
            self._event("ADDED", self._shown(resource, item))
        if listing:
            metadata = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
            self._event("BOOKMARK", bookmark)
        seconds = query.get("timeoutSeconds", "")
        self._wait_for_client(float(seconds) if seconds.isdigit() else None)
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _wait_for_client(self, seconds: float | None) -> None:
        """Until the time is over, the server stops, or the client hangs up (its socket becomes readable)."""
        import select
        import time

        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.server.stopping.is_set() and (deadline is None or time.monotonic() < deadline):
            readable, _, _ = select.select([self.connection], [], [], 0.2)
            if readable:
                return

    def _shown(self, resource: Resource, item: Raw) -> Raw:
        if not self._wants_table():
            return item
        return serve_tables.table(resource, [item], self.server.snapshot.now(), {"resourceVersion": "1"})

    def _event(self, kind: str, item: Raw) -> None:
        line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _subresource(self, resource: Resource, namespace: str, name: str, sub: str) -> None:
        pod = self._find(resource, namespace, name)
        if resource.plural != "pods" or sub not in ("log", "exec", "portforward"):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        query = parse_qs(urlsplit(self.path).query)
        if sub == "log":
            self._log(pod, namespace, name, query)
            return
        stream = self._upgrade()

        def parts(part: str) -> bytes | None:
            return self.server.snapshot.part(namespace, name, part).content

        if sub == "exec":
            command = query.get("command", [])
            if tuple(command) == exec_parts.FIRST_PROCESS:
                serve_streams.answer(stream, self._first_process(namespace, name, query.get("container", [""])[0]))
            else:
                serve_streams.run_command(stream, command, parts)
        else:
            ports = query.get("ports", ["0"])[0]
            serve_streams.forward(stream, int(ports) if ports.isdigit() else 0, parts)

    def _first_process(self, namespace: str, pod: str, container: str) -> bytes | None:
        """``/proc/1/status`` as far as the runtime's last record of a container tells: as whom it was started."""
        names = self.server.snapshot.part_names(namespace, pod, "runtime")
        records = sorted(name for name in names if name.startswith(f"container-{container}."))
        content = self.server.snapshot.part(namespace, pod, f"runtime/{records[-1]}").content if records else None
        try:
            user = json_text.loads(content or b"")["info"]["runtimeSpec"]["process"]["user"]
            ids = [(name, int(user.get(key, 0))) for name, key in (("Uid", "uid"), ("Gid", "gid"))]
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return "".join(f"{name}:" + f"\t{number}" * 4 + "\n" for name, number in ids).encode()

    def _log(self, pod: Raw, namespace: str, name: str, query: dict[str, list[str]]) -> None:
        names = [c.get("name") for c in pod.get("spec", {}).get("containers") or ()]
        container = query.get("container", [str(names[0]) if names else ""])[0]
        content = self.server.snapshot.part(namespace, name, f"logs/{container}.txt").content
        if content is None:
            raise Refused(404, "NotFound", f'the logs of container "{container}" in pod "{name}" were not recorded')
        limit = query.get("limitBytes", [""])[0]
        tail = query.get("tailLines", [""])[0]
        if tail.isdigit():
            content = b"".join(content.splitlines(keepends=True)[-int(tail) :]) if int(tail) else b""
        self._send(200, content[: int(limit)] if limit.isdigit() else content, "text/plain")
