"""How users name things: pods, workloads, services, targets of a trace. Parsed here, looked up elsewhere."""

import ipaddress
import re
from typing import Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.frozen import dataclass

WorkloadKind: TypeAlias = Literal[
    "pod", "deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob", "service"
]

_KINDS: dict[str, WorkloadKind] = {
    "po": "pod",
    "pod": "pod",
    "pods": "pod",
    "deploy": "deployment",
    "deployment": "deployment",
    "deployments": "deployment",
    "deployment.apps": "deployment",
    "rs": "replicaset",
    "replicaset": "replicaset",
    "replicasets": "replicaset",
    "sts": "statefulset",
    "statefulset": "statefulset",
    "statefulsets": "statefulset",
    "ds": "daemonset",
    "daemonset": "daemonset",
    "daemonsets": "daemonset",
    "job": "job",
    "jobs": "job",
    "cj": "cronjob",
    "cronjob": "cronjob",
    "svc": "service",
    "service": "service",
    "services": "service",
}


@dataclass(frozen=True, slots=True)
class PodRef:
    """A pod as a user names it: `kind` None means a pod's name, or a prefix of one.

    `namespace` is that of ``NAMESPACE/NAME``, as meshctl itself writes pods. Without one `name` may still hold it after
    its last dot (``productpage-v1-xyz.default``): pod names may contain dots, so only a look at the pods can tell; see
    `readings`.
    """

    text: str
    kind: WorkloadKind | None
    name: str
    namespace: str | None = None

    def readings(self) -> tuple[tuple[str, str | None], ...]:
        """The (name, namespace) pairs this may mean, the literal one first."""
        if self.namespace is not None:
            return ((self.name, self.namespace),)
        head, dot, tail = self.name.rpartition(".")
        return ((self.name, None), (head, tail)) if dot and head and tail else ((self.name, None),)


def parse_pod(text: str) -> PodRef:
    """Read ``name``, ``name.namespace``, ``namespace/name``, ``pod/x``, ``deploy/x``, ``svc/x``.

    What stands before the slash is a namespace where it is no kind. Raises BadInput where one of both is missing.
    """
    kind_text, slash, name = text.strip().partition("/")
    if not slash:
        if not kind_text:
            raise BadInput("the pod's name is empty", hint="name a pod, or deploy/NAME, svc/NAME")
        return PodRef(text, None, kind_text)
    kind = _KINDS.get(kind_text.lower())
    if kind is None and kind_text and name and "/" not in name:
        return PodRef(text, None, name, kind_text)
    if kind is None or not name:
        raise BadInput(f"'{text}' is no pod", hint=POD_FORMS)
    return PodRef(text, kind, name)


POD_FORMS = "use NAME, NAME.NAMESPACE, NAMESPACE/NAME, pod/NAME, deploy/NAME, sts/NAME, ds/NAME, job/NAME or svc/NAME"
"""How a pod may be named."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is sent to: `host` as the application writes it, `port` None where the text has none.

    `scheme` is ``http``, ``https``, ``grpc`` or ``tcp``, empty where the text has none; `path` is empty likewise.
    `absolute`: the name ends in a dot, so that no search list is tried; `host` is without it.
    """

    text: str
    host: str
    port: int | None
    scheme: str = ""
    path: str = ""
    absolute: bool = False

    @property
    def address(self) -> str | None:
        """The host in its usual spelling where it is an IP address, else None."""
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return None


_SCHEME_PORTS = {"http": 80, "https": 443, "grpc": 80, "ws": 80, "wss": 443}


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = (*_SCHEME_PORTS, "tcp", "tls")


def parse_target(text: str) -> Target:
    """Read ``reviews:9080``, ``reviews.ns``, ``http://reviews:9080/path?query``, ``10.0.0.1:80``, ``[::1]:80``.

    A fragment (``#part``) is left out: clients keep it to themselves. Raises BadInput where there is no host or the
    port is no number from 1 to 65535.
    """
    named = _SCHEME.match(text.strip())
    scheme = named[1].lower() if named else ""
    rest = text.strip()[named.end() if named else 0 :]
    if not scheme:
        rest = rest.removeprefix("svc/")
    rest, path = _cut_path(rest)
    rest = rest.rpartition("@")[2]
    if scheme and scheme not in _SCHEMES:
        raise BadInput(f"'{text}' is no target: {scheme} is not followed", hint=f"schemes are: {', '.join(_SCHEMES)}")
    host, port_text = _split_port(rest)
    if not host or any(c.isspace() for c in host) or "/" in host:
        why = "its host has a space in it" if any(c.isspace() for c in host) else "it has no host"
        raise BadInput(f"'{text}' is no target: {why}", hint="use SERVICE:PORT, SERVICE.NS:PORT or a URL")
    port = _port(port_text, text) if port_text is not None else _SCHEME_PORTS.get(scheme)
    return Target(text, host.rstrip(".").lower(), port, scheme, path, host.endswith("."))


def _cut_path(rest: str) -> tuple[str, str]:
    """The host with its port, and the path with its query as it is sent: it starts with a slash (RFC 9112, 3.2.1)."""
    rest = rest.partition("#")[0]
    end = min((place for mark in "/?" if (place := rest.find(mark)) >= 0), default=len(rest))
    host, path = rest[:end], rest[end:]
    return host, f"/{path}" if path.startswith("?") else path


def _split_port(rest: str) -> tuple[str, str | None]:
    if rest.startswith("["):
        host, _, after = rest[1:].partition("]")
        return host, after[1:] if after.startswith(":") else None
    if rest.count(":") > 1:
        return rest, None
    host, colon, port = rest.partition(":")
    return host, port if colon else None


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        raise BadInput(f"'{whole}' is no target: '{text}' is no port", hint="a port is a number from 1 to 65535")
    return int(text)


def near_misses(name: str, known: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
    """The known names most like a misspelt one, best first."""
    from difflib import get_close_matches

    starts = [k for k in known if k.startswith(name) or name in k]
    close = get_close_matches(name, known, n=most, cutoff=0.6)
    return tuple(dict.fromkeys([*close, *starts]))[:most]
