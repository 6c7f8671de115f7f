"""Drafts as the tools print them once the kernel holds them: ``iptables-save`` text, nft JSON and nft text.

What the kernel makes of a rule's words is in the man pages of iptables-extensions(8) and nft(8): marks become hex,
host addresses of iptables get a prefix length and those of nft lose it, ``-m tcp`` appears with ``--dport``.
"""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any, Literal

from meshctl.netfilter.draft import Action, Clause, Draft, arranged, jumped_to
from meshctl.netfilter.model import BUILT_IN

ALL_BITS = 0xFFFFFFFF
TABLES = ("raw", "mangle", "nat", "filter")
_SAVE_ORDER = {"src": 0, "dst": 1, "in": 2, "out": 3, "proto": 4}


def mark_and_mask(text: str) -> tuple[int, int]:
    """Read ``1337``, ``0x539`` or ``0x539/0xfff`` as iptables does; ValueError for anything else."""
    value, slash, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if slash else ALL_BITS


# --- iptables-save -----------------------------------------------------------------------------------------------


def save_text(drafts: Iterable[Draft], version: Literal[4, 6]) -> str:
    """What ``iptables-save`` (or ``ip6tables-save``) prints of these rules; empty where there is none."""
    chains = arranged(drafts)
    names = {*chains, *jumped_to(chains.values())}
    lines: list[str] = []
    for table in TABLES:
        own = sorted(name for kind, name in names if kind == table and name not in BUILT_IN[table])
        if not any(kind == table for kind, _ in names):
            continue
        lines += [f"*{table}", *(f":{name} ACCEPT [0:0]" for name in BUILT_IN[table]), *(f":{n} - [0:0]" for n in own)]
        for name in (*BUILT_IN[table], *own):
            lines += [f"-A {name} {save_rule(rule, version)}" for rule in chains.get((table, name), ())]
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def save_rule(rule: Draft, version: Literal[4, 6]) -> str:
    """One rule's words after ``-A CHAIN``."""
    clauses = sorted(rule.clauses, key=lambda clause: _SAVE_ORDER.get(clause.kind, 5))
    protocol = next((clause.value for clause in clauses if clause.kind == "proto"), "")
    words: list[str] = []
    for clause in clauses:
        words += _save_clause(clause, protocol)
    return " ".join([*words, *_save_action(rule.action, version)])


def _save_clause(clause: Clause, protocol: str) -> list[str]:
    bang = ["!"] if clause.negated else []
    value = clause.value
    match clause.kind:
        case "src" | "dst":
            network = ip_network(value, strict=False)
            if network.prefixlen == 0 and not clause.negated:
                return []
            return [*bang, f"-{clause.kind[0]}", str(network)]
        case "in" | "out":
            return [*bang, f"-{clause.kind[0]}", value]
        case "proto":
            return [*bang, "-p", value]
        case "module":
            return ["-m", value]
        case "sport" | "dport":
            return ["-m", protocol, *bang, f"--{clause.kind}", value]
        case "dports":
            return ["-m", "multiport", *bang, "--dports", value]
        case "uid" | "gid":
            return ["-m", "owner", *bang, f"--{clause.kind}-owner", value]
        case "mark" | "connmark":
            number, mask = mark_and_mask(value)
            shown = f"{number:#x}" + ("" if mask == ALL_BITS else f"/{mask:#x}")
            return ["-m", clause.kind, *bang, "--mark", shown]
        case "state":
            return ["-m", "conntrack", *bang, "--ctstate", value]
        case "socket":
            return ["-m", "owner", *bang, "--socket-exists"]
        case "set":
            return ["-m", "set", *bang, "--match-set", value, "dst"]


def _save_action(action: Action, version: Literal[4, 6]) -> list[str]:
    match action.kind:
        case "jump":
            return ["-j", action.value]
        case "return" | "accept" | "drop":
            return ["-j", action.kind.upper()]
        case "redirect":
            return ["-j", "REDIRECT", "--to-ports", action.value]
        case "tproxy":
            mark, mask = mark_and_mask(action.extra)
            address = "0.0.0.0" if version == 4 else "::"
            return f"-j TPROXY --on-port {action.value} --on-ip {address} --tproxy-mark {mark:#x}/{mask:#x}".split()
        case "mark":
            mark, mask = mark_and_mask(action.value)
            return ["-j", "MARK", "--set-xmark", f"{mark:#x}/{mask:#x}"]
        case "connmark":
            mark, mask = mark_and_mask(action.value)
            return ["-j", "CONNMARK", "--set-xmark", f"{mark:#x}/{mask:#x}"]
        case "save-mark" | "restore-mark":
            return ["-j", "CONNMARK", f"--{action.kind}", "--nfmask", f"{ALL_BITS:#x}", "--ctmask", f"{ALL_BITS:#x}"]
        case "zone":
            return ["-j", "CT", "--zone", action.value]
        case "snat":
            return ["-j", "SNAT", "--to-source", action.value]
        case "log":
            return f"-j NFLOG --nflog-prefix {action.value} --nflog-group 1337 --nflog-size 20".split()


# --- nft ---------------------------------------------------------------------------------------------------------

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
            network = ip_network(clause.value, strict=False)
            field = {"src": "saddr", "dst": "daddr"}[clause.kind]
            left = {"payload": {"protocol": "ip" if network.version == 4 else "ip6", "field": field}}
            right = str(network.network_address)
            if network.prefixlen < network.max_prefixlen:
                right = {"prefix": {"addr": right, "len": network.prefixlen}}
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
            version = next(ip_network(c.value, strict=False).version for c in rule.clauses if c.kind == "dst")
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


# --- nft text ----------------------------------------------------------------------------------------------------


def nft_text(listing: dict[str, Any]) -> str:
    """What ``nft list ruleset`` prints of a listing made by `nft_json`."""
    tables: dict[str, dict[str, list[str]]] = {}
    for entry in listing["nftables"]:
        match entry:
            case {"table": table}:
                tables[table["name"]] = {}
            case {"chain": chain}:
                lines = tables[chain["table"]].setdefault(chain["name"], [])
                if "hook" in chain:
                    priority = _priority_name(chain)
                    lines.append(f"type {chain['type']} hook {chain['hook']} priority {priority}; policy accept;")
            case {"rule": rule}:
                tables[rule["table"]][rule["chain"]].append(" ".join(map(_nft_words, rule["expr"])))
            case _:
                pass
    blocks = []
    for table, chains in tables.items():
        bodies = [
            f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"
            for name, lines in chains.items()
        ]
        blocks.append(f"table inet {table} {{\n" + "\n".join(bodies) + "}\n")
    return "".join(blocks)


def _priority_name(chain: dict[str, Any]) -> str:
    if chain["prio"] == 100:
        return "srcnat"
    if chain["prio"] == -100:
        return "dstnat" if chain["hook"] == "prerouting" else "-100"
    return {-150: "mangle", -300: "raw"}[chain["prio"]]


def _nft_words(expression: dict[str, Any]) -> str:
    match expression:
        case {"counter": _}:
            return "counter packets 0 bytes 0"
        case {"match": {"op": op, "left": left, "right": right}}:
            return " ".join((_nft_left(left), *(["!="] if op == "!=" else []), _nft_right(left, right)))
        case {"jump": {"target": target}}:
            return f"jump {target}"
        case {"redirect": {"port": port}}:
            return f"redirect to :{_nft_right({}, port)}"
        case {"snat": {"family": family, "addr": address}}:
            return f"snat {family} to {address}"
        case {"tproxy": {"family": family, "port": port}}:
            return f"tproxy {family} to :{_nft_right({}, port)}"
        case {"mangle": {"key": key, "value": value}}:
            return f"{_nft_left(key)} set {_nft_right(key, value)}"
        case {"log": {"prefix": prefix, "group": group, "snaplen": size}}:
            return f'log prefix "{prefix}" group {group} snaplen {size}'
        case _:
            return next(iter(expression))


def _nft_left(left: dict[str, Any]) -> str:
    match left:
        case {"payload": {"protocol": protocol, "field": field}}:
            return f"{protocol} {field}"
        case {"meta": {"key": ("iifname" | "oifname") as key}}:
            return str(key)
        case {"meta": {"key": key}}:
            return f"meta {key}"
        case {"ct": {"key": key}}:
            return f"ct {key}"
        case {"&": [inner, mask]}:
            return f"{_nft_left(inner)} & {mask:#010x}"
        case _:
            return str(left)


def _nft_right(left: dict[str, Any], right: Any) -> str:
    match right:
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [low, high]}:
            return f"{low}-{high}"
        case {"set": values}:
            return "{ " + ", ".join(_nft_right(left, value) for value in values) + " }"
        case {"|": [{"&": [inner, mask]}, value]}:
            return f"{_nft_left(inner)} & {mask:#010x} | {value:#010x}"
        case {"meta": _} | {"ct": _}:
            return _nft_left(right)
        case [*values]:
            return ",".join(map(str, values))
        case int() if "mark" in str(left):
            return f"{right:#010x}"
        case str() if "ifname" in str(left):
            return f'"{right}"'
        case _:
            return str(right)
