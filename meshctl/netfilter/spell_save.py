"""Drafts as ``iptables-save`` prints them once the kernel holds them.

What the kernel makes of a rule's words is in iptables-extensions(8): marks become hex, host addresses get a prefix
length, ``-m tcp`` appears with ``--dport``.
"""

from collections.abc import Iterable
from typing import Literal

from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.draft import Action, Clause, Draft, arranged, jumped_to, mark_and_mask
from meshctl.netfilter.matches import ALL_BITS
from meshctl.netfilter.model import BUILT_IN

TABLES = ("raw", "mangle", "nat", "filter")

_SAVE_ORDER = {"src": 0, "dst": 1, "in": 2, "out": 3, "proto": 4}


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
            network = prefix(value)
            if network.mask == 0 and not clause.negated:
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
