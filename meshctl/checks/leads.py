"""What a proxy's routes and listeners lead to: every mention of a cluster, with the place that mentions it."""

from collections.abc import Iterator
from functools import lru_cache

from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model.basics import IstioConfig
from meshctl.envoy.model.managers import TcpProxy
from meshctl.envoy.model.routes import Forward
from meshctl.frozen import dataclass
from meshctl.injection.mode import Mode


@dataclass(frozen=True, slots=True)
class Lead:
    """A route (or a listener's TCP proxy) that leads to `cluster`.

    `host` and `port` are those of the virtual host, empty and None for TCP and for wildcards; `status` is what Envoy
    answers where there is no such cluster, None for TCP.
    """

    cluster: str
    place: str
    path: str
    host: str = ""
    port: int | None = None
    status: int | None = None


@lru_cache(maxsize=2)  # two checks ask for the same proxy, one after the other
def of(dump: ConfigDump) -> tuple[Lead, ...]:
    """Every lead of a proxy's route configurations and of the listeners that work."""
    return tuple(dict.fromkeys((*_of_routes(dump), *_of_listeners(dump))))


def _of_routes(dump: ConfigDump) -> Iterator[Lead]:
    for config in dump.route_configs():
        for virtual_host in config.virtual_hosts:
            host, _, tail = virtual_host.name.rpartition(":")
            port = int(tail) if host and tail.isdigit() else None
            for route in virtual_host.routes.get():
                if not isinstance(route.action, Forward):
                    continue
                named = route.name or f"for {route.match.path.kind} {route.match.path.value}"
                place = f"the route {named} of {virtual_host.name} in {config.name or 'a listener'}"
                for target in route.action.targets:
                    if target.cluster and not target.from_header:
                        status = route.action.not_found_status
                        yield Lead(target.cluster, place, route.origin.path or "", host, port, status)


def _of_listeners(dump: ConfigDump) -> Iterator[Lead]:
    for listener in dump.serving():
        last = listener.default_chain.get()
        for chain in (*listener.chains.get(), *((last,) if last is not None else ())):
            for each in chain.filters.get():
                config = each.config.get() if "TcpProxy" in each.type or "tcp_proxy" in each.name else None
                for target in config.targets if isinstance(config, TcpProxy) else ():
                    place = f"listener {listener.name}" + (f", chain {chain.name}" if chain.name else "")
                    yield Lead(target.cluster, place, each.origin.path or "")


def made_from(dump: ConfigDump) -> frozenset[IstioConfig]:
    """The mesh resources that the proxy's clusters, routes and listeners say they were made from."""
    found = {cluster.istio for cluster in dump.clusters()} | {listener.istio for listener in dump.listeners()}
    for config in dump.route_configs():
        for virtual_host in config.virtual_hosts:
            found |= {route.istio for route in virtual_host.routes.get()}
    return frozenset(each for each in found if each is not None)


def host_of(cluster: str) -> tuple[str, str, str]:
    """Port, subset and host of a cluster for outgoing requests by Istio's name; empty for other clusters."""
    match cluster.split("|", 3):
        case ["outbound", port, subset, host]:
            return port, subset, host
        case _:
            return "", "", ""


def concerns(host: str, namespace: str, mode: Mode) -> bool:
    """Whether a host is a pod's own matter: of its namespace, or of no namespace at all; all hosts for gateways.

    Every proxy knows every service, so what is wrong with one is told by the pods of its own namespace.
    """
    _, _, rest = host.partition(".")
    place, _, zone = rest.partition(".")
    return mode == "gateway" or not zone.startswith("svc.") or place == namespace
