"""Drafts as ``nft -j list ruleset`` lists them once the kernel holds them: host addresses lose their prefix length."""

from collections.abc import Iterable
from typing import Any

from meshctl.netfilter.addresses import address_text, prefix
from meshctl.netfilter.draft import Clause, Draft, arranged, jumped_to, mark_and_mask
from meshctl.netfilter.matches import ALL_BITS

_NFT_TABLE_ORDER = ("nat", "mangle", "raw")

_NFT_CHAINS = {
    "PREROUTING": "prerouting",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
    "ISTIO_INBOUND": "istio-inbound",
    "ISTIO_OUTPUT": "istio-output",
    "ISTIO_OUTPUT_DNS": "istio-output-dns",
    "ISTIO_REDIRECT": "istio-redirect",
    "ISTIO_IN_REDIRECT": "istio-in-redirect",
    "ISTIO_DIVERT": "istio-divert",
    "ISTIO_TPROXY": "istio-tproxy",
    "ISTIO_DROP": "istio-drop",
    "ISTIO_PRERT": "istio-prerouting",
}

_NFT_CHAIN_ORDER = {
    "nat": (
        "PREROUTING", "OUTPUT", "POSTROUTING", "ISTIO_PRERT", "ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT",
        "ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS",
    ),
    "mangle": (
        "PREROUTING", "OUTPUT", "ISTIO_PRERT", "ISTIO_OUTPUT", "ISTIO_DIVERT", "ISTIO_TPROXY", "ISTIO_INBOUND",
        "ISTIO_DROP",
    ),
    "raw": ("PREROUTING", "OUTPUT", "ISTIO_PRERT", "ISTIO_OUTPUT", "ISTIO_INBOUND", "ISTIO_OUTPUT_DNS"),
}  # fmt: skip

_PRIORITIES = {"nat": -100, "mangle": -150, "raw": -300}


def nft_json(drafts: Iterable[Draft], prefix: str) -> dict[str, Any]:
    """What ``nft -j list ruleset`` lists of these rules; `prefix` is ``istio-proxy`` or ``istio-ambient``."""
    chains = arranged(drafts, clamp=True)
    there = {*chains, *jumped_to(chains.values())}
    objects: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}]
    for table in _NFT_TABLE_ORDER:
        names = [name for name in _NFT_CHAIN_ORDER[table] if (table, name) in there]
        place = {"family": "inet", "table": f"{prefix}-{table}"}
        if names:
            objects.append({"table": {"family": "inet", "name": f"{prefix}-{table}"}})
        objects += [{"chain": {**place, "name": _NFT_CHAINS[name], **_nft_hook(table, name)}} for name in names]
        for name in names:
            for rule in chains.get((table, name), ()):
                expr = _nft_expressions(rule, counter=not _uncounted(prefix, name))
                objects.append({"rule": {**place, "chain": _NFT_CHAINS[name], "expr": expr}})
    return {"nftables": objects}


def _uncounted(prefix: str, chain: str) -> bool:
    # The ambient agent's jumps from the base chains have no counter (cni/pkg/nftables/nftables.go).
    return prefix == "istio-ambient" and chain in ("PREROUTING", "OUTPUT")


def _nft_hook(table: str, chain: str) -> dict[str, Any]:
    if chain not in ("PREROUTING", "OUTPUT", "POSTROUTING"):
        return {}
    kind = {"nat": "nat", "raw": "filter", "mangle": "route" if chain == "OUTPUT" else "filter"}[table]
    return {
        "type": kind,
        "hook": chain.lower(),
        "prio": 100 if chain == "POSTROUTING" else _PRIORITIES[table],
        "policy": "accept",
    }


def _nft_expressions(rule: Draft, *, counter: bool) -> list[dict[str, Any]]:
    protocol = next((clause.value for clause in rule.clauses if clause.kind == "proto"), "")
    # `tcp dport` implies the protocol, so the listing leaves `meta l4proto tcp` out beside it.
    implied = any(clause.kind in ("sport", "dport", "dports") for clause in rule.clauses)
    found = [_nft_match(clause, protocol) for clause in rule.clauses if not (implied and clause.kind == "proto")]
    tail = _nft_action(rule)
    counting: list[dict[str, Any]] = [{"counter": {"packets": 0, "bytes": 0}}] if counter else []
    if rule.action.kind == "tproxy":
        return [*found, *tail[:-1], *counting, tail[-1]]
    return [*found, *counting, *tail]


def _nft_match(clause: Clause, protocol: str) -> dict[str, Any]:
    left: dict[str, Any]
    right: Any = clause.value
    match clause.kind:
        case "src" | "dst":
            network = prefix(clause.value)
            field = {"src": "saddr", "dst": "daddr"}[clause.kind]
            left = {"payload": {"protocol": "ip" if network.version == 4 else "ip6", "field": field}}
            right = address_text(network.version, network.address)
            if not network.is_host:
                right = {"prefix": {"addr": right, "len": network.length}}
        case "in" | "out":
            left = {"meta": {"key": {"in": "iifname", "out": "oifname"}[clause.kind]}}
        case "proto" | "module":
            left = {"meta": {"key": "l4proto"}}
        case "sport" | "dport":
            left, right = {"payload": {"protocol": protocol, "field": clause.kind}}, _port(clause.value)
        case "dports":
            left = {"payload": {"protocol": protocol, "field": "dport"}}
            right = {"set": sorted((_port(port) for port in clause.value.split(",")), key=_low)}
        case "uid" | "gid":
            left = {"meta": {"key": f"sk{clause.kind}"}}
            right = int(clause.value) if clause.value.isdigit() else clause.value
        case "mark" | "connmark":
            left = {"meta": {"key": "mark"}} if clause.kind == "mark" else {"ct": {"key": "mark"}}
            right, mask = mark_and_mask(clause.value)
            if mask != ALL_BITS:
                left = {"&": [left, mask]}
        case "set":
            left = {"payload": {"protocol": "ip6" if clause.value.endswith("-v6") else "ip", "field": "daddr"}}
            right = f"@{clause.value}"
        case "socket":
            raise AssertionError("nft's writer has no such condition")
        case "state":
            states = sorted(clause.value.lower().split(","))
            left, right = {"ct": {"key": "state"}}, states[0] if len(states) == 1 else states
            return {"match": {"op": "in", "left": left, "right": right}}
    return {"match": {"op": "!=" if clause.negated else "==", "left": left, "right": right}}


def _port(text: str) -> Any:
    low, dash, high = text.replace(":", "-").partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        return text
    return {"range": [int(low), int(high)]} if dash else int(low)


def _low(port: Any) -> int:
    """What nft sorts a set's elements by."""
    return int(port["range"][0]) if isinstance(port, dict) else int(port)


def _nft_action(rule: Draft) -> list[dict[str, Any]]:
    action = rule.action
    mark: dict[str, Any] = {"meta": {"key": "mark"}}
    connmark: dict[str, Any] = {"ct": {"key": "mark"}}
    match action.kind:
        case "jump":
            return [{"jump": {"target": _NFT_CHAINS[action.value]}}]
        case "return" | "accept" | "drop":
            return [{action.kind: None}]
        case "redirect":
            return [{"redirect": {"port": _port(action.value)}}]
        case "tproxy":
            version = next(prefix(c.value).version for c in rule.clauses if c.kind == "dst")
            tproxy = {"family": "ip" if version == 4 else "ip6", "port": _port(action.value)}
            return [
                {"tproxy": tproxy},
                {"mangle": {"key": mark, "value": mark_and_mask(action.extra)[0]}},
                {"accept": None},
            ]
        case "mark":
            return [{"mangle": {"key": mark, "value": mark_and_mask(action.value)[0]}}]
        case "connmark":
            # nft keeps the bits that are set anyway in the mask.
            value, mask = mark_and_mask(action.value)
            return [
                {"mangle": {"key": connmark, "value": {"|": [{"&": [connmark, (ALL_BITS & ~mask) | value]}, value]}}}
            ]
        case "save-mark":
            return [{"mangle": {"key": connmark, "value": mark}}]
        case "restore-mark":
            return [{"mangle": {"key": mark, "value": connmark}}]
        case "snat":
            return [{"snat": {"family": "ip6" if ":" in action.value else "ip", "addr": action.value}}]
        case "zone":
            return [{"mangle": {"key": {"ct": {"key": "zone"}}, "value": int(action.value)}}]
        case "log":
            return [{"log": {"prefix": action.value, "group": 1337, "snaplen": 20}}]
