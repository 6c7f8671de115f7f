"""Where a request is when filters see it: what was chosen for it so far."""

from collections.abc import Callable
from datetime import datetime

from meshctl.envoy.model.filters import HttpConfig, Missing
from meshctl.envoy.model.routes import Forward, PerFilter, Route, RouteConfig, Target, VirtualHost
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request is when filters see it: what was chosen for it, each None where nothing was.

    `target` is the cluster that chance chose, where that matters. `at` is the moment at which tokens are judged.
    `extension` finds the configuration of a filter that came by itself. `again` chooses the route anew, for filters
    that have found out something that it may depend on. `leave` hears of the request as the last filter leaves it.
    """

    config: RouteConfig
    host: VirtualHost | None
    route: Route | None
    target: Target | None = None
    at: datetime | None = None
    extension: Callable[[str], HttpConfig | Missing | None] | None = None
    again: Callable[[Request], tuple[VirtualHost | None, Route | None]] | None = None
    leave: Callable[[Request], None] | None = None

    @property
    def forward(self) -> Forward | None:
        """The route's action, where it sends requests on."""
        return self.route.action if self.route is not None and isinstance(self.route.action, Forward) else None

    def special(self, name: str) -> tuple[PerFilter, ...]:
        """What is said to one filter for this request, the most specific first: cluster, route, virtual host, all."""
        forward = self.forward
        target = self.target
        if target is None and forward is not None and len(forward.targets) == 1:
            target = forward.targets[0]
        found = (
            target.filter_config.get(name) if target is not None else None,
            self.route.filter_config.get(name) if self.route is not None else None,
            self.host.filter_config.get().get(name) if self.host is not None else None,
            self.config.filter_config.get(name),
        )
        return tuple(each for each in found if each is not None)
