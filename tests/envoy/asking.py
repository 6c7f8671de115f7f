"""Cases for a real Envoy: a listener, its clusters and the requests to it, written down as short as can be.

All cases of a module share one Envoy; each has a port of its own. In configuration ``$PORT`` is that port, ``$UP`` the
port of an upstream that answers 200 on every address of 127.0.0.0/8, ``$DEAD`` a port where nothing listens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from meshctl.envoy.query import Query
from tests.envoy import real_envoy as real
from tests.envoy.certificates import Pair

HTTP = "envoy.extensions.filters.http"
NETWORK = "envoy.extensions.filters.network"
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request; `times` sends it more than once, to see every host that may get it."""

    path: str = "/"
    host: str | None = "a.com"
    method: str = "GET"
    headers: Headers = ()
    target: str = ""
    """What stands in the request line, if not the path: clients of forward proxies name the host there."""
    protocol: Literal["http", "http2", "tcp"] = "http"
    tls: Literal["plaintext", "tls", "mtls"] = "plaintext"
    sni: str | None = None
    alpn: tuple[str, ...] = ()
    client: str = ""
    address: str = "127.0.0.1"
    source: str = "127.0.0.1"
    direction: Literal["gateway", "outbound", "inbound"] = "gateway"
    port: int | str | None = None
    """Where it goes, if not to the case's own port."""
    times: int = 1
    open: bool = False
    """Whether the model may not know the answer."""

    def query(self, port: int) -> Query:
        return Query(
            direction=self.direction, address=self.address, port=self.at(port), protocol=self.protocol,
            tls=self.tls, host=self.host,
            path=self.path, method=self.method, headers=self.headers, sni=self.sni, alpn=self.alpn, source=self.source,
            principal=self.client or None, at=datetime.now(UTC),
        )  # fmt: skip

    def at(self, port: int) -> int:
        return port if self.port is None else int(self.port)

    def payload(self) -> bytes:
        match self.protocol:
            case "http":
                host = "elsewhere" if self.target else self.host
                return real.http(self.method, self.target or self.path, host, self.headers)
            case "http2":
                return real.http2(self.method, self.path, self.host or "", self.headers)
            case "tcp":
                return b"\x00\x01\x02 raw bytes \r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A listener and what is asked of it."""

    name: str
    listener: Mapping[str, Any]
    asks: tuple[Ask, ...]
    clusters: tuple[Mapping[str, Any], ...] = ()
    extensions: tuple[Mapping[str, Any], ...] = ()
    """Filter configurations that come by themselves (ECDS)."""


@dataclass(frozen=True)
class Files:
    """Certificates that a listener may name: ``$server`` and ``$root``; clients by the principal they have."""

    server: Pair
    root: Path
    clients: Mapping[str, Pair] = field(default_factory=dict)


def filled(value: Any, words: Mapping[str, Any]) -> Any:
    """A configuration with its ``$WORDS`` replaced."""
    match value:
        case str():
            head, slash, rest = value.partition("/")
            return f"{words[head]}/{rest}" if slash and head in words else words.get(value, value)
        case dict():
            return {key: filled(each, words) for key, each in value.items()}
        case list() | tuple():
            return [filled(each, words) for each in value]
        case _:
            return value


# --- listeners


def listen(*chains: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"chains": list(chains), **more}


def chain(name: str, *filters: Any, match: Mapping[str, Any] | None = None, tls: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "filters": list(filters)}
    found |= {"filter_chain_match": match} if match else {}
    return found | ({"transport_socket": tls} if tls else {})


def http(*routes: Any, filters: Sequence[Any] = (), hosts: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    """A connection manager: one virtual host for everything, or those given."""
    config = more.pop("config", {})
    hosts = hosts or [host("all", ["*"], *routes)]
    return {"manager": {"name": "routes", "virtual_hosts": list(hosts), **config}, "http_filters": filters, **more}


def tcp(cluster: str = "", **more: Any) -> dict[str, Any]:
    return {"tcp": {"cluster": cluster} if cluster else {}, **more}


def tls(*, mutual: bool = False, ask: bool = False, **more: Any) -> dict[str, Any]:
    """A downstream TLS context; `ask` for a client certificate, or demand one."""
    common: dict[str, Any] = {
        "tls_certificates": [{"certificate_chain": {"filename": "$CERT"}, "private_key": {"filename": "$KEY"}}]
    }
    if mutual or ask:
        common["validation_context"] = {"trusted_ca": {"filename": "$ROOT"}}
    kind = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    typed = real.any_type(kind, common_tls_context=common | more, require_client_certificate=mutual)
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def host(name: str, domains: Sequence[str], *routes: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "domains": list(domains), "routes": list(routes), **more}


def to(cluster: str = "one", name: str = "", match: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A route to a cluster; `per` is its ``typed_per_filter_config``."""
    per = more.pop("per", None)
    found = {"name": name or f"to-{cluster}", "match": match or {"prefix": "/"}, "route": {"cluster": cluster, **more}}
    return found | ({"typed_per_filter_config": per} if per else {})


def says(status: int, match: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    found = {"name": f"says-{status}", "match": match or {"prefix": "/"}, "direct_response": {"status": status}}
    return found | more


def http_filter(kind: str, name: str = "", **fields: Any) -> dict[str, Any]:
    """A filter by the end of its type: ``cors.v3.Cors``."""
    return {"name": name or f"envoy.filters.http.{kind.partition('.')[0]}", "typed_config": typed(kind, **fields)}


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return real.any_type(f"{HTTP}.{kind}", **fields)


def network_filter(kind: str, **fields: Any) -> dict[str, Any]:
    name = f"envoy.filters.network.{kind.partition('.')[0]}"
    return {"name": name, "typed_config": real.any_type(f"{NETWORK}.{kind}", **fields)}


def built(case: Case, port: int, log: Path, words: Mapping[str, Any]) -> dict[str, Any]:
    """The listener of a case, as Envoy takes it."""
    config = dict(filled(case.listener, {**words, "$PORT": port}))
    chains = [_chain(each, log) for each in config.pop("chains")]
    default = config.pop("default_filter_chain", None)
    if default is not None:
        config["default_filter_chain"] = _chain(default, log)
    return {**real.listener(case.name, port, chains, log), **config}


def _chain(found: Mapping[str, Any], log: Path) -> dict[str, Any]:
    return {**found, "filters": [_filter(each, log) for each in found["filters"]]}


def _filter(found: Mapping[str, Any], log: Path) -> dict[str, Any]:
    if "manager" in found:
        more = {k: v for k, v in found.items() if k not in ("manager", "http_filters")}
        made = real.manager(log, found["manager"], found["http_filters"], **more)
        if "scoped_routes" in more:
            del made["typed_config"]["route_config"]
        return made
    if "tcp" in found:
        made = real.tcp_proxy(log, found["tcp"].get("cluster", ""))
        if not found["tcp"]:
            del made["typed_config"]["cluster"]
        made["typed_config"].update({k: v for k, v in found.items() if k != "tcp"})
        return made
    return dict(found)


# --- clusters


def hosts(*addresses: str, priority: int = 0, weight: int | None = None, **more: Any) -> dict[str, Any]:
    """A locality; ``.5`` is 127.9.9.5, ``.5!`` is unhealthy, ``.5~`` degraded, ``.5#v1`` has version=v1."""
    group: dict[str, Any] = {"priority": priority, "lb_endpoints": [_endpoint(a) for a in addresses], **more}
    return group | ({"load_balancing_weight": weight} if weight is not None else {})


def _endpoint(text: str) -> dict[str, Any]:
    text, _, version = text.partition("#")
    number = text.rstrip("!~").removeprefix(".")
    place = {"socket_address": {"address": f"127.9.9.{number}", "port_value": "$UP"}}
    found: dict[str, Any] = {"endpoint": {"address": place}}
    if text.endswith(("!", "~")):
        found["health_status"] = "UNHEALTHY" if text.endswith("!") else "DEGRADED"
    if version:
        metadata = dict(pair.partition("=")[::2] for pair in version.split(",") if "=" in pair)
        metadata = metadata or {"version": version}
        found["metadata"] = {"filter_metadata": {"envoy.lb": metadata, "envoy.transport_socket_match": metadata}}
    return found


def cluster(name: str, *groups: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    policy = more.pop("policy", None)
    assignment: dict[str, Any] = {"cluster_name": name, "endpoints": list(groups)}
    assignment |= {"policy": policy} if policy else {}
    found = {"name": name, "type": "STATIC", "load_assignment": assignment, **more}
    if "cluster_type" in found or found["type"] == "ORIGINAL_DST":
        del found["load_assignment"]
    if "cluster_type" in found:
        del found["type"]
    return found


Make = Callable[..., Case]


def case(name: str, listener: Mapping[str, Any], *asks: Ask, clusters: Sequence[Mapping[str, Any]] = ()) -> Case:
    return Case(name=name, listener=listener, asks=asks, clusters=tuple(clusters))


def web(name: str, *asks: Ask, routes: Sequence[Any] = (), clusters: Sequence[Any] = (), **more: Any) -> Case:
    """A plain HTTP listener with one chain."""
    extensions = tuple(more.pop("extensions", ()))
    listener = listen(chain(f"chain-of-{name}", http(*(routes or [to()]), **more)))
    return Case(name=name, listener=listener, asks=asks, clusters=tuple(clusters), extensions=extensions)


def discovered(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A filter whose configuration comes by itself."""
    source = {"path_config_source": {"path": f"$FOLDER/{name}.json"}}
    url = f"type.googleapis.com/{HTTP}.{kind}"
    return {"name": name, "config_discovery": {"config_source": source, "type_urls": [url], **more}}
