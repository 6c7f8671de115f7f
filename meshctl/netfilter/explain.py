"""Every rule explained: what it does, the part it plays, what asked for it, why its place matters, whether it is dead.

Pure and cached by the rules' text: pods of one workload share almost all of their rules.
"""

from collections.abc import Iterator
from functools import lru_cache

from meshctl.frozen import dataclass
from meshctl.netfilter import wording
from meshctl.netfilter.capture import Capture, Setting, split
from meshctl.netfilter.capture_flags import FLAGS
from meshctl.netfilter.dead import Dead, dead_rules, signature
from meshctl.netfilter.facts import facts
from meshctl.netfilter.foreign_tools import foreign_owner
from meshctl.netfilter.istio_names import istio_chain, istio_table, plain_chain
from meshctl.netfilter.matches import InInterface, Opaque
from meshctl.netfilter.model import Chain, Rule, Ruleset, Table
from meshctl.netfilter.role_catalog import ROLES
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.targets import Jump


@dataclass(frozen=True, slots=True)
class Explanation:
    """One rule explained.

    `role` is a key of `ROLES` with `value` for it, empty for a rule that Istio does not write; then `foreign` names
    the tool that it is from, or says that nobody is known to write it. Where nft shows too little of the rule to tell
    whose it is, both are empty and `unclear` says so. `setting` is what asked for the rule.
    `instead` are rules, as text, that still do the same to some of its packets where it is missing.
    """

    meaning: str
    role: str
    value: str
    setting: Setting | None
    foreign: str
    dead: Dead | None
    opaque: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    unclear: str = ""

    @property
    def title(self) -> str:
        """The rule's part in Istio's scheme, or whose it is."""
        return ROLES[self.role].title.replace("{}", self.value) if self.role else self.foreign or self.unclear

    @property
    def place(self) -> str:
        """Why its place in the chain matters; empty for a rule that Istio does not write."""
        return ROLES[self.role].place if self.role else ""

    @property
    def missing(self) -> str:
        """What goes wrong without it."""
        lost = ROLES[self.role].missing.replace("{}", self.value) if self.role else ""
        others = " or ".join(f"`{text}`" for text in self.instead)
        return f"{lost}, unless {others} takes it" if lost and others else lost


@dataclass(frozen=True, slots=True)
class Explained:
    """A rule with its place and its explanation; `number` is 1-based in the chain."""

    table: Table
    chain: Chain
    number: int
    rule: Rule
    told: Explanation


def explain(ruleset: Ruleset, capture: Capture | None = None) -> Iterator[Explained]:
    """Every rule of a ruleset; `capture` names the argument or variable behind each, where it is known."""
    for table in ruleset.tables:
        told = iter(_explanations(table, capture))
        for chain in table.chains:
            for number, rule in enumerate(chain.rules, 1):
                yield Explained(table, chain, number, rule, next(told))


_tables: dict[tuple[object, ...], tuple[Explanation, ...]] = {}


def _explanations(table: Table, capture: Capture | None) -> tuple[Explanation, ...]:
    """The explanations of a table's rules, chain by chain."""
    shape = signature(table) if not table.sets else None
    if shape is None:
        return tuple(_explain_table(table, capture))
    # A capture's settings take no part in its equality, but are part of what is told.
    known = (shape, capture, tuple(capture.settings.items()) if capture is not None else ())
    if known not in _tables:
        if len(_tables) > 4096:
            _tables.clear()
        _tables[known] = tuple(_explain_table(table, capture))
    return _tables[known]


def _explain_table(table: Table, capture: Capture | None) -> Iterator[Explanation]:
    dead = dead_rules(table)
    for chain in table.chains:
        around = surroundings(chain, table)
        for number, rule in enumerate(chain.rules, 1):
            yield explain_rule(rule, table.name, chain, number, around, capture, dead.get((chain.name, number)))


def explain_rule(
    rule: Rule,
    table: str,
    chain: Chain,
    number: int,
    around: "Surroundings",
    capture: Capture | None = None,
    dead: Dead | None = None,
) -> Explanation:
    """One rule explained in its surroundings."""
    role, value = refined_role(rule, table, chain, number, around, capture)
    by_name = " and ".join(f"`{part.text}`" for part in rule.by_name)
    unclear = bool(by_name) and not role and not foreign_owner(rule, table, chain.name)
    foreign = "" if role or unclear else _whose(rule, table, chain.name)
    return Explanation(
        _meaning(rule, chain.hook is not None),
        role,
        value,
        _setting(role, value, capture),
        foreign,
        dead,
        tuple(part.text for part in rule.opaque),
        unclear=f"whose it is cannot be told: nft shows {by_name} by name only" if unclear else "",
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What neighbours tell about a rule: interfaces that are rerouted, groups that are the proxy's own.

    `ambient` says that the table's ISTIO_OUTPUT is the ambient agent's, which a jump to it does not show.
    """

    rerouted: frozenset[str] = frozenset()
    proxy_groups: frozenset[str] = frozenset()
    ambient: bool = False


def surroundings(chain: Chain, table: Table) -> Surroundings:
    """What the rules of a chain, and those of the table, tell about each other."""
    rerouted: set[str] = set()
    groups: set[str] = set()
    for rule in chain.rules:
        asked = facts(rule)
        if isinstance(asked.in_interface, InInterface) and isinstance(rule.target, Jump):
            rerouted.add(asked.in_interface.name)
        if asked.on_lo and len(asked.gids) == 1:
            groups.add(str(asked.gids[0].ids))
    return Surroundings(frozenset(rerouted), frozenset(groups), chain.hook == "OUTPUT" and _ambient(table))


def _ambient(table: Table) -> bool:
    output = table.chain("ISTIO_OUTPUT") or table.chain("istio-output")
    return output is not None and any(facts(rule).mark is not None for rule in output.rules)


def refined_role(
    rule: Rule, table: str, chain: Chain, number: int, around: Surroundings, capture: Capture | None
) -> tuple[str, str]:
    """The role by shape, where two roles share a shape decided by the neighbours or the capture."""
    found = role_of(rule, table, chain.name)
    if found is None:
        return "", ""
    role, value = found
    if role == "outbound-jump" and around.ambient:
        return "ambient-jump", ""
    if role == "interface-excluded" and value in around.rerouted:
        return "reroute-return", value
    if role == "interface-excluded" and capture is not None and value in split(capture.reroute_interfaces):
        return "reroute-return", value
    if role == "loop-guard" and value.startswith("gid "):
        gid = value.removeprefix("gid ")
        return (role, value) if gid in around.proxy_groups else ("group-excluded", gid)
    if role == "inbound-excluded" and number == 1 and plain_chain(chain.name) == "ISTIO_INBOUND" and "nat" in table:
        # The tunnel port always comes first; with -e it need not be 15008.
        return "tunnel-return", value
    if role == "tunnel-return" and number > 1:
        return "inbound-excluded", value
    if role == "ranges-end":
        return _returned_everything(number == len(chain.rules), capture)
    if role == "ssh-return" and capture is not None and "22" in split(capture.exclude_inbound_ports):
        return "inbound-excluded", value
    return role, value


def _returned_everything(last: bool, capture: Capture | None) -> tuple[str, str]:
    """A RETURN for everything: the end of listed ranges, or an excluded range that holds every address.

    iptables-save prints ``-d 0.0.0.0/0`` as no condition at all.
    """
    ranges = split(capture.include_outbound_ranges) if capture is not None else ()
    if last and (capture is None or ranges not in ((), ("*",))):
        return "ranges-end", ""
    everywhere = [cidr for cidr in split(capture.exclude_outbound_ranges) if cidr.endswith("/0")] if capture else []
    if capture is None or everywhere:
        return "range-excluded", ", ".join(everywhere) or "every address"
    return "", ""


_meanings: dict[tuple[str, type, bool], str] = {}


def _meaning(rule: Rule, base: bool) -> str:
    known = (rule.text, type(rule.target), base)
    found = _meanings.get(known) if rule.text else None
    if found is None:
        found = wording.sentence(rule, base=base)
        if rule.text:
            if len(_meanings) > 65536:
                _meanings.clear()
            _meanings[known] = found
    return found


def _whose(rule: Rule, table: str, chain: str) -> str:
    owner = foreign_owner(rule, table, chain)
    if owner:
        return f"not Istio's: a rule of {owner}"
    if role_of(rule, table, chain) is not None:
        return "not asked for: Istio writes such a rule for other arguments only"
    if istio_chain(chain) or istio_table(table):
        return "not Istio's: no release of Istio writes such a rule into its own chain"
    if isinstance(rule.target, Opaque) or any(isinstance(match, Opaque) for match in rule.matches):
        return "not understood: shown as it is"
    return "not Istio's: from a tool that meshctl does not know"


_FLAG_OF = {flag.field: flag.shown for flag in FLAGS if flag.field} | {
    "owner_groups": "ISTIO_OUTBOUND_OWNER_GROUPS",
    "owner_groups_exclude": "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
    "loopback_cidr": "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR",
}
_ALWAYS = {
    "ssh-return": "written by every istio-iptables up to 1.12",
    "passthrough": "always written",
    "tproxy-head-passthrough": "always written with -m TPROXY",
    "old-self-call": "written by Istio's script before 1.1",
    "old-inbound": "written by Istio's script before 1.0",
}


_CAPTURING = frozenset(("inbound-jump", "inbound-included", "inbound-all", "range-included", "outbound-all"))
"""What an empty list of ports or ranges writes none of."""


@lru_cache(maxsize=65536)
def _default_setting(role: str, value: str) -> Setting | None:
    """What asks for a rule of this role, where no capture is at hand."""
    field = ROLES[role].field
    if role in _ALWAYS:
        return Setting("", value, _ALWAYS[role])
    if not field:
        return Setting("", value, "always written for ambient pods") if role.startswith("ambient") else None
    if role in ("self-call", "local-return", "loop-guard", "tproxy-self-mark") and value.startswith("gid"):
        field = "proxy_gids"
    if field in ("proxy_uids", "proxy_gids"):
        value = value.rpartition(" ")[2]
    return Setting(_FLAG_OF[field], value, "as the rule itself tells" if value else "")


def _setting(role: str, value: str, capture: Capture | None) -> Setting | None:
    if not role:
        return None
    default = _default_setting(role, value)
    if default is None or capture is None or role in _ALWAYS:
        return default
    field = ROLES[role].field
    if role in ("self-call", "local-return", "loop-guard", "tproxy-self-mark") and value.startswith("gid"):
        field = "proxy_gids"
    known = capture.setting(field)
    if known is None and field == "proxy_gids":
        known = capture.setting("proxy_uids")
    if role in _CAPTURING and not getattr(capture, field, ""):
        return Setting(default.flag, "", f"{known.source if known else 'default'}, which asks for no such rule")
    if known is not None:
        return Setting(known.flag, known.value, known.source)
    written = getattr(capture, field, "")
    shown = str(written).lower() if isinstance(written, bool) else str(written)
    if capture.writer == "ambient":
        return Setting(default.flag if field else "", value, "always written for ambient pods")
    return Setting(default.flag, shown, "default")
