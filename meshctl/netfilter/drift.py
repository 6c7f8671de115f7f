"""Expected rules against found ones: by meaning, in order, each difference with its effect on traffic.

Istio's own check (``capture/helper.go``) counts rules and ignores their order and other tools' rules; this one does
not: a foreign RETURN in front of ISTIO_OUTPUT is drift.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from meshctl.netfilter.capture import Capture
from meshctl.netfilter.dead import dead_rules
from meshctl.netfilter.drift_chain import Comparison, Side, compare_chain, note_added
from meshctl.netfilter.drift_items import WEIGHTS, Drift, Item
from meshctl.netfilter.expected import Expected
from meshctl.netfilter.istio_names import istio_chain, istio_table
from meshctl.netfilter.model import Chain, Family, Rule, Ruleset, Table
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.rule_pairs import same


def compare(
    expected: Expected,
    found: Sequence[Ruleset],
    capture: Capture | None = None,
    *,
    recorded: Iterable[Family] | None = None,
) -> Drift:
    """What differs between predicted and found rules.

    `found` is what `merge` leaves; `recorded` are the families that were looked at (None: those in `found`),
    so that a family that nobody recorded is a gap and not a flushed one.
    """
    seen = set(recorded) if recorded is not None else {ruleset.family for ruleset in found}
    work = Comparison(expected, capture, _fix(capture))
    wanted = {ruleset.family: ruleset for ruleset in expected.rulesets}
    native = expected.native or (not expected.rulesets and any(_holds_istio(r) and r.family == "inet" for r in found))
    misplaced = _wrong_backend(work, found, native=native)
    families: tuple[Family, ...] = ("inet",) if native else ("ipv4", "ipv6")
    for family in families:
        there = [ruleset for ruleset in found if ruleset.family == family]
        want = wanted.get(family)
        if want is not None and family not in seen:
            work.notes.append(f"{_NAMES[family]} rules were not looked at, so they are not compared")
            continue
        if not (misplaced and not any(map(_holds_istio, there))):
            _compare_family(work, family, want, there)
    for ruleset in found:
        if ruleset.family not in families:
            _only_foreign(work, ruleset)
    if not expected.rulesets:
        # Nothing captures this pod: only what Istio left behind matters, not what other tools do.
        work.items[:] = [item for item in work.items if item.kind == "extra"]
    items = sorted(work.items, key=lambda item: (item.harmless, item.moot, -WEIGHTS[item.kind]))
    rules = [rule for ruleset in found for _, _, _, rule in ruleset.rules]
    drift = Drift(tuple(items), tuple(work.notes), sum(bool(r.by_name) for r in rules), len(rules))
    if not drift.partly:
        return drift
    return replace(
        drift, notes=(*drift.notes, "what nft shows by name only is not compared; iptables-save shows all of it")
    )


_NAMES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6", "inet": "native nftables"}


def _fix(capture: Capture | None) -> str:
    match capture.writer if capture is not None else "istio-init":
        case "ambient":
            return "restart the node's istio-cni pod, which writes the rules again, or delete the pod"
        case "istio-cni":
            return "delete the pod: the istio-cni plugin writes its rules afresh into the next one"
        case _:
            return "delete the pod: istio-init writes its rules afresh into the next one"


def _holds_istio(ruleset: Ruleset) -> bool:
    return any(
        istio_table(table.name) or any(istio_chain(chain.name) for chain in table.chains) for table in ruleset.tables
    )


def _istio_rules(ruleset: Ruleset) -> int:
    """How many rules stand in chains of Istio's."""
    return sum(
        len(chain.rules)
        for table in ruleset.tables
        for chain in table.chains
        if istio_table(table.name) or istio_chain(chain.name)
    )


def _wrong_backend(work: Comparison, found: Sequence[Ruleset], *, native: bool) -> bool:
    """Istio's rules where they are not expected, or twice; whether they are only where they are not expected."""
    places = {(ruleset.family, ruleset.backend) for ruleset in found if _istio_rules(ruleset)}
    right = {place for place in places if (place[0] == "inet") == native}
    wrong = places - right
    if not work.expected.rulesets:
        return False
    asked, other = ("native nftables", "iptables") if native else ("iptables", "native nftables")
    if wrong and not right:
        family = min(wrong)[0]
        work.items.append(
            Item(
                kind="wrong-backend", family=family, table="", chain="", expected=asked, found=other,
                effect=f"the arguments ask for {asked}, the rules are in {other}: another setting wrote them",
                fix=f"check global.nativeNftables in the mesh's values; {work.fix}",
            )
        )  # fmt: skip
    for family in ("ipv4", "ipv6"):
        backends = sorted({backend for place, backend in places if place in (family, "inet")})
        if len(backends) > 1:
            work.items.append(
                Item(
                    kind="both-backends", family=family, table="", chain="", expected="one backend",
                    found=" and ".join(backends),
                    effect="the kernel runs both sets of rules: a packet meets Istio's rules twice, "
                    "and whichever set is stale still acts",
                    fix=f"remove Istio's rules from one backend; {work.fix}",
                )
            )  # fmt: skip
            break
    return bool(wrong and not right)


def _compare_family(work: Comparison, family: Family, want: Ruleset | None, there: Sequence[Ruleset]) -> None:
    """One family's expected tables against the ruleset that holds Istio's rules; the others are foreign."""
    chosen = max(there, key=lambda ruleset: (_istio_rules(ruleset), _holds_istio(ruleset)), default=None)
    for ruleset in there:
        if ruleset is not chosen:
            _only_foreign(work, ruleset)
    names = dict.fromkeys(
        [*(t.name for t in (want.tables if want else ())), *(t.name for t in (chosen.tables if chosen else ()))]
    )
    for name in names:
        expected_table = want.table(name) if want else None
        found_table = chosen.table(name) if chosen else None
        _compare_table(work, family, expected_table or Table(name), found_table or Table(name))


def _only_foreign(work: Comparison, ruleset: Ruleset) -> None:
    """A ruleset that should hold nothing of Istio's: its base chains' rules are other tools'."""
    for table in ruleset.tables:
        if istio_table(table.name):
            continue
        for chain in table.chains:
            if chain.hook is None or not (chain.rules or chain.policy == "DROP"):
                continue
            dead = dead_rules(table)
            _policy(work, ruleset.family, table, None, chain)
            for number, rule in enumerate(chain.rules, 1):
                if not _is_istios(rule, table.name, chain.name):
                    note_added(work, ruleset.family, (table, chain, number), rule, dead.get((chain.name, number)))


def _is_istios(rule: Rule, table: str, chain: str) -> bool:
    found = role_of(rule, table, chain)
    return found is not None and found[0] not in ("guardrail",)


def _compare_table(work: Comparison, family: Family, want: Table, there: Table) -> None:
    names = dict.fromkeys([*(c.name for c in want.chains), *(c.name for c in there.chains)])
    changed: list[tuple[Chain | None, Chain | None]] = []
    for name in names:
        one, other = want.chain(name), there.chain(name)
        _policy(work, family, there, one, other)
        if not _same_chain(one, other):
            changed.append((one, other))
    if not changed:
        return
    dead_there, dead_wanted = dead_rules(there), dead_rules(want)
    for one, other in changed:
        compare_chain(work, family, Side(want, one, dead_wanted), Side(there, other, dead_there))


def _same_chain(one: Chain | None, other: Chain | None) -> bool:
    mine, theirs = one.rules if one else (), other.rules if other else ()
    if len(mine) != len(theirs):
        return False
    return all(a.text == b.text or same(a, b) for a, b in zip(mine, theirs, strict=True))


def _policy(work: Comparison, family: Family, table: Table, one: Chain | None, other: Chain | None) -> None:
    if other is None or other.hook is None or other.policy in (None, "ACCEPT"):
        return
    if one is not None and one.policy == other.policy:
        return
    work.items.append(
        Item(
            kind="changed", family=family, table=table.name, chain=other.name, expected="policy ACCEPT",
            found=f"policy {other.policy}", effect=f"what no rule of {table.name} {other.name} accepts is dropped",
            fix="find out what set the policy; Istio never does", where=str(other.origin),
        )
    )  # fmt: skip
