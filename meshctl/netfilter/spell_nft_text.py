"""A listing of expected rules as ``nft list ruleset`` prints it."""

from typing import Any


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
