"""A node as a path looks at it: its addresses, the range of its pods, and its own rules about an address."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from meshctl.errors import MeshctlError
from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.node_dump import NodeDump
from meshctl.kube.pod_list import Head
from meshctl.netfilter import iproute, iptables_save, nft_json
from meshctl.netfilter.model import Chain, Family, Ruleset
from meshctl.path.scene import NodeRules, NodeView
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
    shared = (pod for pod in pods if pod.node == name and pod.host_network)
    addresses = list(dict.fromkeys((*addresses, *(ip for pod in shared for ip in (*pod.ips, pod.ip) if ip))))
    ranges = spec.texts("podCIDRs") or ((spec.text("podCIDR"),) if spec.text("podCIDR") else ())
    if not ranges:
        own = [ip for pod in pods if pod.node == name and not pod.host_network for ip in (pod.ips or (pod.ip,)) if ip]
        ranges = tuple(dict.fromkeys(f"{ip}/{64 if ':' in ip else 24}" for ip in own))
    rules = _node_rules(world, name)
    parsed: dict[str, tuple[Ruleset, ...]] = {}
    return NodeView(
        name,
        tuple(addresses),
        ranges,
        lambda address: _about(rules, parsed, address),
        rules.gap,
        cache(lambda: _with_routes(world, name, (*rules.others, *_cut(rules.dumps, NodeDump.beside)))),
        rules.gap == _NOBODY,
        cache(lambda: _with_routes(world, name, tuple(_cut(rules.dumps, NodeDump.behind)))),
        rules.unread,
    )


def _cut(dumps: _NodeDumps, part: Callable[[NodeDump], str]) -> Iterator[Ruleset]:
    """A part of each dump that can be read."""
    for family, (dump, source) in dumps.items():
        try:
            if text := part(dump):
                yield iptables_save.parse(text, source, family, strict=False)
        except MeshctlError:
            continue


def _with_routes(world: World, name: str, found: Sequence[Ruleset]) -> NodeRules | None:
    rulesets = tuple(ruleset for ruleset in found if ruleset.tables)
    if not rulesets:
        return None
    part = world.node_part(name, "netns/ip-route.json")
    try:
        routes = None if part.content is None else iproute.parse_routes(part.content.decode("utf-8", "replace"))
    except MeshctlError:
        routes = None
    return NodeRules(rulesets, routes)


@dataclass(frozen=True, slots=True)
class _NodeRules:
    """A node's dumps of iptables, cut but not parsed, and nft's own tables: kube-proxy's with all, and the `others`."""

    dumps: _NodeDumps
    native: tuple[Ruleset, ...] = ()
    others: tuple[Ruleset, ...] = ()
    gap: str = ""
    unread: str = ""


def _node_rules(world: World, name: str) -> _NodeRules:
    dumps: dict[Family, tuple[NodeDump, str]] = {}
    gap = ""
    for part_name, family in _NODE_DUMPS:
        part = world.node_part(name, part_name)
        if part.content is not None:
            dumps[family] = (NodeDump(part.content.decode("utf-8", "replace")), part.source)
        elif family == "ipv4":
            gap = part.gap
    listed: tuple[Ruleset, ...] = ()
    unread = ""
    listing = world.node_part(name, "netns/nft.json")
    if listing.content is not None and _has_native(listing.content):
        try:
            listed = nft_json.parse(listing.content.decode("utf-8", "replace"), listing.source)
        except MeshctlError as error:
            gap = unread = str(error)
    native = listed if any(t.name.startswith(_KUBE_PROXY) for ruleset in listed for t in ruleset.tables) else ()
    others = tuple(_others(ruleset) for ruleset in listed if not (ruleset.through_nft and ruleset.family in dumps))
    modes = {dump.kube_proxy for dump, _ in dumps.values()}
    if native or "iptables" in modes:
        gap = ""
    elif "ipv4" in dumps:
        gap = gap or (_IPVS if "ipvs" in modes else _NOBODY)
    return _NodeRules(dumps, native, others, gap, unread)


_KUBE_PROXY = "kube-proxy"
_TABLE = re.compile(rb'"table": ?\{"family": ?"(\w+)", ?"name": ?"([^"]*)"')
_OF_IPTABLES = frozenset(
    (family, name) for family in (b"ip", b"ip6") for name in (b"raw", b"mangle", b"nat", b"filter", b"security")
)


def _has_native(listing: bytes) -> bool:
    """Whether a listing may have more than iptables' own tables: those are in its dumps, and reading it takes long."""
    found = _TABLE.findall(listing)
    breaks_off = not listing.rstrip().endswith(b"}")
    return not found or breaks_off or any(table not in _OF_IPTABLES for table in found)


def _others(ruleset: Ruleset) -> Ruleset:
    """The tables of others than kube-proxy with a chain that filters."""
    others = (t for t in ruleset.tables if not t.name.startswith(_KUBE_PROXY))
    return replace(ruleset, tables=tuple(t for t in others if any(_filters(chain) for chain in t.chains)))


def _filters(chain: Chain) -> bool:
    return chain.hook is not None and chain.type != "nat" and (bool(chain.rules) or chain.policy == "DROP")


def _about(rules: _NodeRules, parsed: dict[str, tuple[Ruleset, ...]], address: str) -> tuple[Ruleset, ...]:
    family: Family = "ipv6" if ":" in address else "ipv4"
    if rules.native or family not in rules.dumps:
        return rules.native
    dump, source = rules.dumps[family]
    if dump.kube_proxy == "ipvs":
        return ()
    text = dump.about(address)
    if text not in parsed:
        try:
            parsed[text] = (iptables_save.parse(text, source, family, strict=False),)
        except MeshctlError:
            parsed[text] = ()
    return parsed[text]
