"""What the mesh may have in namespaces that were not recorded, where a proxy's configuration was not either.

A recording may cover some namespaces only, and any namespace may have a ServiceEntry or a VirtualService for all.
"""

import re
from collections.abc import Callable

from meshctl.envoy.config_dump import ConfigDump
from meshctl.istio.entries import imports_from
from meshctl.path import registry
from meshctl.path.hosts import ANYWHERE, is_address
from meshctl.path.scene import Scene, Station

_HOME = re.compile(r"\|[^.|]+\.([^.|]+)\.svc\.[^|]*$")
"""Of which namespace the Service of a cluster is, by the cluster's name."""

_OF_KUBERNETES = ("kube-system", "kube-public", "kube-node-lease")
"""Namespaces of Kubernetes itself, which are not for resources of the mesh."""


_ANOTHER = "(another)"
"""Stands for the namespaces that the user may not even list."""


def of_mesh(scene: Scene, counts: Callable[[str], bool] = lambda _name: True) -> str:
    """Which namespaces may hold more of the mesh's resources, of those that count; empty where all were recorded."""
    there = (*scene.namespaces, _ANOTHER) if scene.only else scene.namespaces
    left = [name for name in there if not _was(scene, name) and name not in _OF_KUBERNETES and counts(name)]
    if not left:
        return ""
    if scene.only:
        return f"what other namespaces than {scene.only} have may not be read"
    which = f"namespace {left[0]} has" if len(left) == 1 else f"namespaces {', '.join(left[:3])} have"
    return f"what {which} was not recorded"


def unlisted(scene: Scene, proxy: ConfigDump) -> bool:
    """Whether a proxy knows Services of namespaces that are not in the list of namespaces, so that it lacks some."""
    named = (_HOME.search(name) for name in proxy.cluster_names())
    return any(found is not None and found[1] not in scene.namespaces for found in named)


def for_all(scene: Scene) -> str:
    """What counts for every workload and was not recorded: the root namespace's resources; empty where they were."""
    root = scene.mesh.config.root_namespace
    there = bool(scene.only) or root in scene.namespaces
    return f"what namespace {root} has for the whole mesh" if there and not _was(scene, root) else ""


def of_host(scene: Scene, station: Station, host: str) -> str:
    """Why a host that is in no recorded object may be in another one; empty where that cannot be.

    A name of a Service in full is of its namespace alone. A Sidecar may import nothing from the others.
    """
    labels = host.rstrip(".").split(".")
    if len(labels) > 2 and labels[2] == "svc":
        home = labels[1]
        known = any(service.namespace == home for service in scene.services.services)
        return "" if known else _of_home(scene, home)
    return of_mesh(scene, _seen_by(scene, station))


def of_destination(scene: Scene, station: Station, address: str, host: str) -> str:
    """Why a destination that no recorded object is about may be another one's; `host` is empty where none is asked for.

    Names and addresses of recorded objects are these' own, whatever the port.
    """
    unknown = address in ("", *ANYWHERE)
    if host and not is_address(host):
        if not registry.named(scene, host, station.pod.namespace):
            return of_host(scene, station, host)
        if unknown:
            return ""
    if not unknown and registry.owned(scene, address):
        return ""
    return of_mesh(scene, _seen_by(scene, station))


def of_rules(scene: Scene, station: Station, host: str) -> str:
    """Why a DestinationRule that was not recorded may be the one for a host; empty where that cannot be.

    Istio looks in the caller's namespace first, then in that of the host.
    """
    rule = registry.destination_rule(scene, station, host)
    if rule is not None and rule.meta.namespace == station.pod.namespace:
        return ""
    home, _ = registry.home_of(scene, host, station.pod.namespace)
    return _of_home(scene, home)


def _of_home(scene: Scene, home: str) -> str:
    return of_mesh(scene, lambda name: name in (home, _ANOTHER) and home != scene.only)


def _was(scene: Scene, namespace: str) -> bool:
    return not scene.recorded or namespace in scene.recorded


def _seen_by(scene: Scene, station: Station) -> Callable[[str], bool]:
    """Whether a pod's proxy is told of anything in a namespace."""
    sidecar = registry.sidecar_of(scene, station) if station.mode != "gateway" else None
    return lambda name: sidecar is None or name == _ANOTHER or imports_from(sidecar, name)
