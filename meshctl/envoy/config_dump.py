"""A config dump as a store: indexed once, parsed piece by piece. The raw documents live here and nowhere else."""

from meshctl.envoy.model import Bootstrap, Cluster, Endpoint, Extension, Listener, RouteConfig, Secret


class ConfigDump:
    """One proxy's configuration. Make it with `parse`; every method parses what it returns once and keeps it."""

    source: str

    def listeners(self) -> tuple[Listener, ...]:
        """All listeners, static ones first; a rejected one has ``status.state`` rejected."""
        raise NotImplementedError

    def listener(self, name: str) -> Listener | None:
        """One listener by name."""
        raise NotImplementedError

    def route_configs(self) -> tuple[RouteConfig, ...]:
        """All route configurations that came by RDS or stand in the bootstrap."""
        raise NotImplementedError

    def route_config(self, name: str) -> RouteConfig | None:
        """One route configuration by name."""
        raise NotImplementedError

    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters."""
        raise NotImplementedError

    def cluster(self, name: str) -> Cluster | None:
        """One cluster by name."""
        raise NotImplementedError

    def endpoints(self, cluster: Cluster) -> tuple[Endpoint, ...] | None:
        """A cluster's hosts as configured (EDS, static, DNS names); None where the dump has no endpoints for it."""
        raise NotImplementedError

    def secrets(self) -> tuple[Secret, ...]:
        """The names and states of secrets."""
        raise NotImplementedError

    def extensions(self) -> tuple[Extension, ...]:
        """Filter configurations that came by themselves (ECDS)."""
        raise NotImplementedError

    def bootstrap(self) -> Bootstrap:
        """Who the proxy is."""
        raise NotImplementedError


def parse(content: bytes | str, source: str) -> ConfigDump:
    """Read a config dump (``/config_dump?include_eds``); BadInput names the place where it is broken."""
    raise NotImplementedError
