"""What a rule that nobody expects does to traffic, in words; and whether it is proven to do nothing."""

from meshctl.netfilter import wording
from meshctl.netfilter.clauses import contradicts, essential, implied, only_watches
from meshctl.netfilter.dead import Dead, reachable
from meshctl.netfilter.drift_items import Effect
from meshctl.netfilter.istio_names import istio_chain, plain_chain, plain_table
from meshctl.netfilter.matches import Match, Opaque
from meshctl.netfilter.model import Chain, Rule, Table
from meshctl.netfilter.targets import (
    Accept,
    CtZone,
    Dnat,
    Drop,
    Goto,
    Jump,
    Masquerade,
    Netmap,
    Notrack,
    Queue,
    Redirect,
    Reject,
    Return,
    SetMark,
    Snat,
    Tproxy,
)


def of_addition(
    rule: Rule,
    place: tuple[Table, Chain, int],
    dead: Dead | None,
    owner: str = "",
    want: tuple[Table, Chain | None] | None = None,
) -> Effect:
    """A rule that nobody expects, in a chain of Istio's or in a base chain; `place` ends with its 1-based number.

    `want` is the same chain as it is expected; None where nothing is expected to stand beside the rule.
    """
    table, chain, number = place
    if dead is not None:
        return Effect(f"nothing changes for traffic: {dead.reason}", harmless=True)
    if only_watches(rule):
        return Effect("nothing changes for traffic: the rule only counts or logs", harmless=True)
    asked = tuple(essential(rule.matches))
    ends = rule.target == Return() and (chain.hook is None or chain.policy in (None, "ACCEPT"))
    ends = ends or (rule.target == Accept() and chain.hook is not None and chain.policy in (None, "ACCEPT"))
    if ends and leave_alone(asked, chain.rules[number:], table):
        return Effect("nothing changes for traffic: no later rule of the chain would take these packets", harmless=True)
    if ends and want is not None and _untouched(asked, *want):
        return Effect("nothing changes for traffic: no expected rule would take these packets", harmless=True)
    if want is not None and isinstance(rule.target, Jump) and istio_chain(rule.target.chain):
        asked, does = _jumped(rule, rule.target.chain, place, want[1])
    else:
        does = outcome(rule, plain_table(table.name), plain_chain(chain.name), owner)
    what = wording.traffic(asked)
    return Effect(f"{what}{',' if ',' in what else ''} {does}")


def _untouched(matches: tuple[Match, ...], table: Table, chain: Chain | None) -> bool:
    """Whether the expected chain does nothing to these packets, if any gets there."""
    if chain is None or chain.name not in reachable(table):
        return True
    return leave_alone(matches, chain.rules, table)


def _jumped(
    rule: Rule, name: str, place: tuple[Table, Chain, int], want: Chain | None
) -> tuple[tuple[Match, ...], str]:
    """An unexpected jump to a chain of Istio's: which packets that chain takes, and what becomes of them."""
    table, chain, number = place
    asked = tuple(essential(rule.matches))
    inner = table.chain(name)
    if inner is not None and len(inner.rules) == 1:
        more = tuple(clause for clause in essential(inner.rules[0].matches) if not implied(clause, asked))
        asked = (*asked, *more)
    later = chain.rules[number:]
    others = (*chain.rules[: number - 1], *later)
    wanted = want is not None and any(
        other.target == rule.target and not contradicts(asked, tuple(essential(other.matches))) for other in want.rules
    )
    unasked = "" if wanted else ", though the arguments do not ask for it"
    if plain_chain(name) in _TAKING:
        met = any(not contradicts(asked, tuple(essential(other.matches))) for other in later)
        return asked, f"is sent to the proxy{', whatever later rules say' if met else unasked}"
    if any(other.target == rule.target for other in others):
        return asked, f"goes through {name} once more"
    return asked, f"goes through {name}{unasked}"


_TAKING = ("ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_TPROXY", "ISTIO_DIVERT")
"""Chains that send to the proxy whatever gets into them."""


def leave_alone(matches: tuple[Match, ...], later: tuple[Rule, ...], table: Table, depth: int = 0) -> bool:
    """Whether these rules do nothing to packets with these conditions but let them pass or return."""
    if depth > 16:
        return False
    for rule in later:
        conditions = tuple(essential(rule.matches))
        if contradicts(matches, conditions) or only_watches(rule) or rule.target == Return():
            continue
        inner = table.chain(rule.target.chain) if isinstance(rule.target, Jump) and not rule.also else None
        if inner is None or not leave_alone((*matches, *conditions), inner.rules, table, depth + 1):
            return False
    return True


_OUTBOUND = ("OUTPUT", "ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS", "ISTIO_REDIRECT")
_INBOUND = ("PREROUTING", "ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_PRERT", "ISTIO_TPROXY", "ISTIO_DIVERT")


def outcome(rule: Rule, table: str, chain: str, owner: str) -> str:
    """What becomes of the packets that a rule takes away from Istio's later ones."""
    target = rule.target
    match target:
        case Return() | Accept():
            return _taken_away(table, chain)
        case Drop() | Reject():
            return "is dropped" if target == Drop() else "is refused"
        case Redirect(ports):
            port = "this machine" if ports is None else f"local port {ports}"
            return f"goes to {port}, whatever Istio's later rules say"
        case Tproxy(port):
            return f"goes to the transparent socket on port {port}, whatever Istio's later rules say"
        case Dnat() | Netmap():
            return "gets another destination before Istio's later rules see it"
        case Snat() | Masquerade():
            return "gets another source address"
        case Jump(name) | Goto(name):
            return _led_to(name, owner)
        case Notrack():
            return "is not tracked, so nat leaves it alone: it is not redirected to the proxy"
        case CtZone(zone):
            return f"is tracked in conntrack zone {zone}: answers may be taken for those of another connection"
        case Queue():
            return "waits for a program's decision; without the program it is dropped"
        case Opaque(text):
            return f"meets `{text}`, which meshctl does not understand: it may change what happens to it"
        case SetMark():
            return "gets another mark, which later rules and policy routing may ask for"
        case _:
            return f"{wording.consequence(rule, base=False)}, which later rules may depend on"


def _taken_away(table: str, chain: str) -> str:
    if table == "nat" and chain in _OUTBOUND:
        return "leaves the pod without the proxy"
    if table in ("nat", "mangle") and chain in _INBOUND:
        return "reaches its listener without the proxy: no mTLS, no policy, no telemetry"
    if table == "mangle":
        return (
            "keeps its mark as it is: what the proxy sends to the pod's own address may not come in through the proxy"
        )
    if table == "raw":
        return "skips the conntrack zones: answers may be taken for those of another connection"
    return f"is not looked at by the later rules of {table} {chain}"


def _led_to(name: str, owner: str) -> str:
    if not istio_chain(name):
        whose = f", a chain of {owner}," if owner else ""
        return f"goes through {name}{whose} first: what that chain takes does not reach Istio's later rules"
    if plain_chain(name) in _TAKING:
        return "is sent to the proxy, whatever Istio's later rules say"
    return f"goes through {name} once more"
