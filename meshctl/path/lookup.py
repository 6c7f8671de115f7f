"""The lookup of the called name, as the caller's pod gets it answered."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.match import Query, match
from meshctl.kube.pod_list import heads
from meshctl.path import asking, dns, hosts_file
from meshctl.path.dns import Name, Zone
from meshctl.path.hosts import is_address
from meshctl.path.model import Evidence, Hop
from meshctl.path.netns import Resolver
from meshctl.path.scene import Scene, Station
from meshctl.refs import Target


def name_of(scene: Scene, station: Station, target: Target) -> Name:
    """What a pod gets for the name that it calls."""
    zone = _zone_of(scene, station)
    asked = f"{target.host}{'.' if target.absolute else ''}"
    return _doubted(_known_to_proxy(station, dns.resolve(asked, zone), zone, target.absolute), zone)


def _doubted(name: Name, zone: Zone) -> Name:
    """The answer where it cannot be told whether there is any; what needs none, or has none anyhow, stays."""
    if not zone.unsure or name.kind in _NOT_ASKED or (name.fails and not zone.other):
        return name
    doubt = f"whether {name.asked} resolves: {zone.unsure}"
    if zone.other:
        return Name(name.asked, "outside", (), name.asked, undecided=doubt)
    return replace(name, undecided=f"{doubt}; {name.undecided}" if name.undecided else doubt)


def _zone_of(scene: Scene, station: Station) -> Zone:
    """How a pod's lookups are answered, found out once."""
    key = ("zone", station.key)
    if key not in scene.cache:
        scene.cache[key] = _zone(scene, station)
    found = scene.cache[key]
    assert isinstance(found, Zone)
    return found


def _zone(scene: Scene, station: Station) -> Zone:
    resolver = station.resolver or dns.default_resolver(station.pod.namespace, scene.mesh.domain)
    asked = asking.lookups(scene, station)
    pod = station.pod
    policy = pod.dns_policy or "ClusterFirst"
    of_node = policy == "Default" or (pod.host_network and policy == "ClusterFirst")
    of_node = of_node and not any(scene.services.at(server) for server in resolver.servers[:1])
    foreign = "" if of_node else _foreign(scene, resolver, policy)
    known = {service.namespace for service in scene.services.services}
    unrecorded = tuple(n for n in scene.namespaces if scene.recorded and n not in scene.recorded and n not in known)
    return Zone(
        scene.services,
        scene.mesh,
        scene.namespaces,
        pod.namespace,
        resolver,
        asked.captured,
        not of_node and not foreign,
        unrecorded,
        scene.services_gap,
        scene.endpoints_gap,
        frozenset(pod.node for pod in heads(scene.pods)),
        foreign,
        hosts_file.of(pod, resolver.search, scene.mesh.domain),
        asked.lost,
        asked.unsure,
        asked.other,
        scene.only,
    )


def _foreign(scene: Scene, resolver: Resolver, policy: str) -> str:
    """The server that is asked, where it is none of the cluster's; empty where it is, or where that is not known.

    With dnsPolicy None somebody chose it; else the kubelet did, who takes ``--cluster-dns``: no public address.
    """
    server = next(iter(resolver.servers), "")
    if not is_address(server) or scene.services.at(server) is not None:
        return ""
    address = ip_address(server)
    if address.is_link_local or address.is_loopback:  # a cache on the node (node-local-dns), or one in the pod
        return ""
    if scene.services.in_range(server) or scene.in_pod_range(server) or scene.pod_at(server) is not None:
        return ""
    chosen = policy == "None" and not scene.services_gap
    return server if chosen or address.is_global else ""


def _known_to_proxy(station: Station, name: Name, zone: Zone, absolute: bool) -> Name:
    """A name that no recorded Service has, but that the caller's proxy was told of: then it was not recorded.

    Its address is in the proxy's configuration where it has one: Istio writes it into domains and listeners.
    """
    unknown = name.fails or (name.undecided and not name.addresses)
    if zone.lost or not unknown or name.service is not None or name.entry is not None or station.proxy is None:
        return name
    tried = () if absolute else [f"{name.asked}.{suffix}" for suffix in zone.resolver.search]
    for host in (name.asked, *tried) if zone.cluster_dns else ():
        if not host.endswith(f".{zone.domain}"):
            continue
        if not any(c.name.startswith("outbound|") and c.name.endswith(f"|{host}") for c in station.proxy.clusters()):
            continue
        known = replace(name, fails=False, full=host, undecided="", suggestions=())
        if addresses := _told_addresses(station.proxy, host):
            return replace(known, kind="service", addresses=addresses)
        reason = f"{host} is no recorded Service, but the caller's proxy has a cluster for it: its address is not known"
        return replace(known, undecided=reason)
    return name


def _told_addresses(proxy: ConfigDump, host: str) -> tuple[str, ...]:
    """The addresses that a proxy's configuration has for a Service: of its virtual host, or of its own listener."""
    for config in proxy.route_configs():
        for virtual in config.virtual_hosts:
            if virtual.name.rpartition(":")[0] == host and (own := [d for d in virtual.domains if is_address(d)]):
                return tuple(own[:1])
    for listener in proxy.listeners():
        for place in listener.addresses:
            if not is_address(place.host) or place.host in ("0.0.0.0", "::"):
                continue
            query = Query(direction="outbound", address=place.host, port=place.port, protocol="tcp")
            if any(share.name.endswith(f"|{host}") for share in match(proxy, query).clusters):
                return (place.host,)
    return ()


_NOT_ASKED = ("address", "loopback", "hosts")
"""Names that no nameserver is asked for."""

_KIND_WORDS = {
    "service": "a Service's cluster IP",
    "headless": "a headless Service: the pods' own addresses",
    "external-name": "an ExternalName Service",
    "entry": "a ServiceEntry",
    "pod": "a pod's own name",
    "address": "an address: nothing to look up",
    "loopback": "this pod itself",
    "hosts": "written into the pod's /etc/hosts",
    "outside": "a name outside of the cluster",
}


def hop(scene: Scene, station: Station, name: Name) -> Hop:
    """The lookup as a station of the path."""
    looked_up = name.kind not in ("address", "loopback")
    title = f"look up {name.asked}" if looked_up else f"address {name.asked}"
    facts, proof = tuple(_facts(station, name)), tuple(_proof(scene, station, name))
    if name.fails:
        return Hop("dns", "caller", station.key, title, _failing(name), facts, proof, "bad")
    addresses, what = ", ".join(name.addresses), _KIND_WORDS[name.kind]
    said = f"{name.full} is {addresses}, {what}" if name.full != addresses else what
    if name.undecided:
        said = f"{said}; not certain: {name.undecided}" if addresses else f"cannot be told: {name.undecided}"
        return Hop("dns", "caller", station.key, title, said, facts, proof, "warn", arrow=addresses)
    return Hop("dns", "caller", station.key, title, said, facts, proof, arrow=addresses)


def _facts(station: Station, name: Name) -> Iterator[str]:
    if name.tried:
        yield f"tried before: {', '.join(name.tried[:6])}"
    if name.alias:
        yield f"an alias of {name.alias}"
    if name.captured:
        by = "ztunnel" if station.mode == "ambient" else "the proxy's agent"
        yield f"answered by {by} (DNS capture)"
    if station.resolver is not None and name.kind not in _NOT_ASKED:
        yield f"search list from {'/'.join(station.resolver.source.split('/')[-2:])}"


def _proof(scene: Scene, station: Station, name: Name) -> Iterator[Evidence]:
    if name.service is not None:
        origin = name.service.origin
        yield Evidence(origin.source, origin.path, f"Service {name.service.namespace}/{name.service.name}")
    if name.entry is not None:
        meta = name.entry.meta
        yield Evidence(meta.origin.source, meta.origin.path, f"ServiceEntry {meta.namespace}/{meta.name}")
    if name.fails and name.service is None:
        for one in scene.services.services[:1]:
            yield Evidence(one.origin.source, "", f"{len(scene.services.services)} Services, none of that name")
        if station.resolver is not None:
            yield Evidence(station.resolver.source, "", f"search {' '.join(station.resolver.search)}")


def _failing(name: Name) -> str:
    if name.why:
        return name.why
    if name.by_node:
        return f"{name.full}: the node's resolver is asked, and completes no name of one label"
    if name.kind == "external-name":
        return f"{name.full} is an alias of {name.alias or 'nothing'}, which does not resolve"
    if name.service is not None:
        return f"{name.full} has no address: {_KIND_WORDS[name.kind]} without ready pods"
    return f"{name.full}: no such name"
