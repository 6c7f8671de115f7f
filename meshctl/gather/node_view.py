"""A node as a path looks at it: its addresses, the range of its pods, and its own rules about an address."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from meshctl.errors import MeshctlError
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.node_dump import NodeDump
from meshctl.kube.pod_list import Head
from meshctl.netfilter import iproute, iptables_save, nft_json
from meshctl.netfilter.model import Family, Ruleset
from meshctl.path.scene import Forwarding, NodeView
from meshctl.sources.world import World

_NODE_DUMPS: tuple[tuple[str, Family], ...] = (
    ("netns/iptables-save.txt", "ipv4"),
    ("netns/ip6tables-save.txt", "ipv6"),
)

_IPVS = "kube-proxy runs in ipvs mode there, and its virtual servers (ipvsadm -Ln) were not recorded"
_NOBODY = "no rule of kube-proxy is on the node: another program does its work (Cilium can), or nobody does"

_NodeDumps: TypeAlias = Mapping[Family, tuple[NodeDump, str]]


def node_view(world: World, name: str, raw: Mapping[str, Any] | None, pods: Sequence[Head]) -> NodeView:
    """A node by name; `raw` is the Node object where there is one, else the node is known by its pods."""
    flaws: list[Flaw] = []
    whole = Fields(raw, f"Node {name}", flaws)
    status, spec = whole.below("status"), whole.below("spec")
    addresses = [a.text("address") for a in status.each("addresses") if a.text("type") != "Hostname"]
    if not addresses:
        addresses = sorted({pod.host_ip for pod in pods if pod.node == name and pod.host_ip})
    ranges = spec.texts("podCIDRs") or ((spec.text("podCIDR"),) if spec.text("podCIDR") else ())
    if not ranges:
        own = [ip for pod in pods if pod.node == name and not pod.host_network for ip in (pod.ips or (pod.ip,)) if ip]
        ranges = tuple(dict.fromkeys(f"{ip}/{64 if ':' in ip else 24}" for ip in own))
    dumps, native, gap = _node_rules(world, name)
    parsed: dict[str, tuple[Ruleset, ...]] = {}
    return NodeView(
        name,
        tuple(addresses),
        ranges,
        lambda address: _about(dumps, native, parsed, address),
        gap,
        cache(lambda: _forwarding(world, name, dumps, native)),
        gap == _NOBODY,
        cache(lambda: _behind(world, name, dumps)),
    )


def _forwarding(world: World, name: str, dumps: _NodeDumps, native: tuple[Ruleset, ...]) -> Forwarding | None:
    """The rules that can stop or translate what a node forwards, with its routes; None where there are none."""
    found = [_without_kube_proxy(ruleset) for ruleset in native]
    return _with_routes(world, name, (*found, *_cut(dumps, NodeDump.forwarding)))


def _behind(world: World, name: str, dumps: _NodeDumps) -> Forwarding | None:
    """The rules behind kube-proxy's that translate what comes to the node itself; None where there are none."""
    return _with_routes(world, name, tuple(_cut(dumps, NodeDump.behind)))


def _cut(dumps: _NodeDumps, part: Callable[[NodeDump], str]) -> Iterator[Ruleset]:
    """A part of each dump that can be read."""
    for family, (dump, source) in dumps.items():
        try:
            if text := part(dump):
                yield iptables_save.parse(text, source, family, strict=False)
        except MeshctlError:
            continue


def _with_routes(world: World, name: str, found: Sequence[Ruleset]) -> Forwarding | None:
    rulesets = tuple(ruleset for ruleset in found if ruleset.tables)
    if not rulesets:
        return None
    part = world.node_part(name, "netns/ip-route.json")
    try:
        routes = None if part.content is None else iproute.parse_routes(part.content.decode("utf-8", "replace"))
    except MeshctlError:
        routes = None
    return Forwarding(rulesets, routes)


def _without_kube_proxy(ruleset: Ruleset) -> Ruleset:
    """The tables of others with a chain at the hook of forwarding."""
    others = (t for t in ruleset.tables if not t.name.startswith("kube-proxy"))
    return replace(ruleset, tables=tuple(t for t in others if any(c.hook == "FORWARD" and c.rules for c in t.chains)))


def _node_rules(world: World, name: str) -> tuple[_NodeDumps, tuple[Ruleset, ...], str]:
    """The node's dumps of iptables, cut but not parsed, its native nft tables, and why there are none."""
    dumps: dict[Family, tuple[NodeDump, str]] = {}
    gap = ""
    for part_name, family in _NODE_DUMPS:
        part = world.node_part(name, part_name)
        if part.content is not None:
            dumps[family] = (NodeDump(part.content.decode("utf-8", "replace")), part.source)
        elif family == "ipv4":
            gap = part.gap
    native: tuple[Ruleset, ...] = ()
    listing = world.node_part(name, "netns/nft.json")
    if listing.content is not None and b'"kube-proxy' in listing.content:
        try:
            native = nft_json.parse(listing.content.decode("utf-8", "replace"), listing.source)
        except MeshctlError as error:
            gap = str(error)
    modes = {dump.kube_proxy for dump, _ in dumps.values()}
    if native or "iptables" in modes:
        return dumps, native, ""
    if "ipv4" not in dumps:
        return dumps, native, gap
    return dumps, native, gap or (_IPVS if "ipvs" in modes else _NOBODY)


def _about(
    dumps: _NodeDumps, native: tuple[Ruleset, ...], parsed: dict[str, tuple[Ruleset, ...]], address: str
) -> tuple[Ruleset, ...]:
    family: Family = "ipv6" if ":" in address else "ipv4"
    if native or family not in dumps:
        return native
    dump, source = dumps[family]
    if dump.kube_proxy == "ipvs":
        return ()
    text = dump.about(address)
    if text not in parsed:
        try:
            parsed[text] = (iptables_save.parse(text, source, family, strict=False),)
        except MeshctlError:
            parsed[text] = ()
    return parsed[text]
