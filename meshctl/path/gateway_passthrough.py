"""Servers of a gateway that pass connections on by the name of a cluster in TLS (``AUTO_PASSTHROUGH``).

Followed is ``builtAutoPassthroughFilterChains`` (``pilot/pkg/networking/core/gateway.go``, 1.12 to 1.30): a chain for
each port of each Service of the mesh whose name the server's hosts cover, and for each of its subsets; all of them only
for the ALPN that the mesh's proxies offer.
"""

import re
from collections.abc import Iterable

from meshctl.frozen import dataclass
from meshctl.istio.resource import host_fits
from meshctl.path import registry, unrecorded
from meshctl.path.gateway_servers import Served
from meshctl.path.scene import Scene, Station

_NAME = re.compile(r"outbound_\.(\d+)_\.([^.]*)_\.(.+)")
"""How the mesh's proxies write a cluster in TLS: port, subset and host."""


@dataclass(frozen=True, slots=True)
class Automatic:
    """The server that has a chain for the name of a cluster; `unknown` says why that cannot be told."""

    served: Served
    cluster: str
    unknown: str = ""


def chain_for(scene: Scene, station: Station, served: Iterable[Served], sni: str) -> Automatic | None:
    """What takes a connection with a name in TLS; None where no server passes it on by itself."""
    named = _NAME.fullmatch(sni)
    if named is None:
        return None
    number, subset, host = int(named[1]), named[2], named[3]
    for one in served:
        if one.server.tls == "AUTO_PASSTHROUGH" and any(host_fits(name, host) for name in one.names):
            known = (k for k in registry.there(scene, station, number, None) if k.host.lower() == host)
            if any(k.entry is None or k.entry.internal for k in known):
                return _of_subset(scene, station, one, sni, subset, host)
            if (why := unrecorded.of_host(scene, station, host)) != "":
                return Automatic(one, sni, f"whether {host} has port {number} is not known: {why}")
    return None


def _of_subset(scene: Scene, station: Station, served: Served, sni: str, subset: str, host: str) -> Automatic | None:
    rule = registry.destination_rule(scene, station, host)
    if not subset or (rule is not None and any(one.name.lower() == subset for one in rule.subsets)):
        return Automatic(served, sni)
    why = unrecorded.of_rules(scene, station, host)
    return Automatic(served, sni, f"whether {host} has subset {subset} is not known: {why}") if why else None
