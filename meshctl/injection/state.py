"""What was seen of a running pod: who listens where, the proxy's readiness, its certificates, what it refused."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.json_text import left_out
from meshctl.kube.containers import Container
from meshctl.kube.fields import moment_of
from meshctl.kube.pods import Pod

if TYPE_CHECKING:  # where no dump was recorded, nothing pays for Envoy's model
    from meshctl.envoy.config_dump import ConfigDump


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket: `address` without brackets and zone, `user` None where it was not told."""

    address: str
    port: int
    program: str = ""
    pid: int | None = None
    user: int | None = None
    container_id: str = ""

    @property
    def local_only(self) -> bool:
        """Whether only the pod itself can connect."""
        return self.address.startswith("127.") or self.address == "::1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the proxy: `name` is Istio's (``default``, ``ROOTCA``), `identity` the first URI in it."""

    name: str
    not_after: datetime | None
    not_before: datetime | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A piece of configuration that Envoy refused: `kind` is listener, cluster, route ..."""

    kind: str
    name: str
    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Each part is None where its source was missing; `proxy` is the proxy's own configuration."""

    listeners: tuple[Listener, ...] | None = None
    certificates: tuple[Certificate, ...] | None = None
    refused: tuple[Refused, ...] | None = None
    server_state: str | None = None
    proxy: "ConfigDump | None" = None
    problems: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def sockets(text: str) -> tuple[Listener, ...]:
    """Read the LISTEN lines of ``ss -Htlnpe`` (iproute2): state, queues, local address, peer, then key:value words."""
    found: dict[tuple[str, int], Listener] = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("tcp", "tcp6", "udp"):
            words = words[1:]
        if len(words) < 4 or words[0] != "LISTEN":
            continue
        address, _, port = words[3].rpartition(":")
        if not port.isdigit():
            continue
        entry = _listener(address.strip("[]").partition("%")[0], int(port), line)
        found.setdefault((entry.address, entry.port), entry)
    return tuple(sorted(found.values(), key=lambda e: (e.port, e.address)))


def _listener(address: str, port: int, line: str) -> Listener:
    program, pid, user, cgroup = "", None, 0, ""
    if 'users:(("' in line:
        quoted = line.partition('users:(("')[2]
        program = quoted.partition('"')[0]
        number = quoted.partition("pid=")[2].partition(",")[0]
        pid = int(number) if number.isdigit() else None
    for word in line.split():
        if word.startswith("uid:") and word[4:].isdigit():
            user = int(word[4:])
        elif word.startswith("cgroup:"):
            cgroup = word.rpartition("/")[2].removesuffix(".scope").rpartition("-")[2]
    return Listener(address, port, program, pid, user, cgroup)


def open_ports(listeners: Iterable[Listener]) -> Mapping[int, Listener]:
    """By port, the listener that others can reach, if there is one, else the local one."""
    found: dict[int, Listener] = {}
    for listener in listeners:
        if listener.port not in found or found[listener.port].local_only:
            found[listener.port] = listener
    return found


def of_application(listeners: Iterable[Listener], pod: Pod, injection: Injection) -> tuple[Listener, ...]:
    """The listeners that are not the proxy's or the agent's."""
    mesh_ids = {_id(c) for c in pod.containers if c.name in injection.ours}
    users = {injection.proxy_user} if injection.proxy else set()
    return tuple(
        found
        for found in listeners
        if (found.container_id not in mesh_ids if found.container_id and mesh_ids - {""} else found.user not in users)
        and found.program not in ("envoy", "pilot-agent")
    )


def _id(container: Container) -> str:
    return container.status.container_id.rpartition("/")[2] if container.status else ""


def certificates(raw: Any) -> tuple[Certificate, ...]:
    """Read Envoy's ``/certs`` admin answer (``certs.json``)."""
    entries = raw.get("certificates") if isinstance(raw, Mapping) else None
    found = {
        _certificate("default" if key == "cert_chain" else "ROOTCA", cert): None
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
        for key in ("cert_chain", "ca_cert")
        for cert in _listed(entry.get(key))
        if isinstance(cert, Mapping)
    }
    return tuple(found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _certificate(name: str, cert: Mapping[str, Any]) -> Certificate:
    names = cert.get("subject_alt_names")
    uris = [n.get("uri") for n in names if isinstance(n, Mapping) and n.get("uri")] if isinstance(names, list) else []
    return Certificate(
        name, moment_of(cert.get("expiration_time")), moment_of(cert.get("valid_from")), str(uris[0]) if uris else ""
    )


_DYNAMIC = (
    ("dynamic_listeners", "listener"),
    ("dynamic_active_clusters", "cluster"),
    ("dynamic_warming_clusters", "cluster"),
    ("dynamic_route_configs", "route configuration"),
    ("dynamic_active_secrets", "certificate"),
    ("dynamic_warming_secrets", "certificate"),
)


def refused(config_dump: Any) -> tuple[Refused, ...]:
    """The ``error_state`` entries of Envoy's ``/config_dump``: what it was sent and did not take."""
    return tuple(_refused(config_dump))


def _refused(config_dump: Any) -> Iterator[Refused]:
    configs = config_dump.get("configs") if isinstance(config_dump, Mapping) else None
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, Mapping):
            continue
        for key, kind in _DYNAMIC:
            entries = config.get(key)
            for entry in entries if isinstance(entries, list) else ():
                state = entry.get("error_state") if isinstance(entry, Mapping) else None
                if isinstance(state, Mapping):
                    yield Refused(
                        kind,
                        _name(entry, state),
                        str(state.get("details", "")),
                        moment_of(state.get("last_update_attempt")),
                    )


def _name(entry: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    name = entry.get("name")
    if name:
        return str(name)
    for holder in (state.get("failed_configuration"), entry.get("cluster"), entry.get("route_config")):
        if isinstance(holder, Mapping) and holder.get("name"):
            return str(holder["name"])
    return "(unnamed)"


def parse(parts: Mapping[str, bytes | None]) -> State:
    """Read the parts of a recording by their names; a missing or broken one costs only itself."""
    problems: list[str] = []
    listeners = None
    text = parts.get("netns/sockets.txt")
    if text is not None:
        listeners = sockets(text.decode("utf-8", "replace"))
    certs = _json(parts, "envoy/certs.json", problems)
    dump = _json(parts, "envoy/config_dump.json", problems)
    info = _json(parts, "envoy/server_info.json", problems)
    return State(
        listeners=listeners,
        certificates=None if certs is None else certificates(certs),
        refused=None if dump is None else refused(dump),
        server_state=str(info.get("state")) if isinstance(info, Mapping) and info.get("state") else None,
        proxy=None if dump is None else _proxy(dump, problems),
        problems=tuple(problems),
    )


def _proxy(dump: Any, problems: list[str]) -> "ConfigDump | None":
    from meshctl.envoy import config_dump

    try:
        return config_dump.read(dump, "envoy/config_dump.json")
    except BadInput as error:
        problems.append(f"{error}; left out")
        return None


def _json(parts: Mapping[str, bytes | None], name: str, problems: list[str]) -> Any:
    content = parts.get(name)
    if content is None:
        return None
    return left_out(content, name, problems)
