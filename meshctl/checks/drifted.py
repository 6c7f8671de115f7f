"""Rules that differ from those that the pod's arguments ask for: one finding a difference."""

from collections.abc import Sequence

from meshctl.checks.finding import Finding, Severity
from meshctl.netfilter.drift_items import Item
from meshctl.netfilter.istio_names import istio_chain
from meshctl.netfilter.model import Ruleset

ID = "MC301"
TITLE = "The packet rules are not those that the arguments ask for"


def finding(item: Item, subject: str) -> Finding:
    """A difference as a finding; other tools' rules that are proven to change nothing are remarks."""
    severity: Severity = "error" if item.kind in _SEVERE else "warning"
    if item.harmless:
        severity = "info"
    rule = item.found or item.expected
    where = f"{item.family} {item.table}/{item.chain}" + (f" rule {item.number}" if item.number else "")
    text = f"{_WORDS.get(item.kind, item.kind)} in {where}: {rule or 'the whole chain'}: {item.effect}"
    return Finding(id=ID, severity=severity, subject=subject, text=text, evidence=item.where or where, fix=item.fix)


def remarks(rulesets: Sequence[Ruleset], captured: bool, subject: str) -> tuple[Finding, ...]:
    """What stands out in the rules alone and is no difference from what is asked for: leftovers and guardrails."""
    if not any(istio_chain(c.name) for r in rulesets for t in r.tables for c in t.chains):
        return ()
    from meshctl.netfilter import dump

    stands_out = dump.remarks(dump.Dump(subject, tuple(rulesets), captured=captured))
    return tuple(
        Finding(id=r.id, severity=r.severity, subject=subject, text=r.text, evidence="netns", fix=r.fix)
        for r in stands_out
        if r.id in _ALONE
    )


REMARKS = {
    "rules-none": "There is no packet rule",
    "rules-not-recorded": "The packet rules were not recorded",
    "rules-unreadable": "A listing of packet rules could not be read",
    "rules-both-backends": "Istio's rules are in both iptables variants",
    "rules-guardrail": "A guardrail drops the pod's traffic",
    "rules-foreign": "A rule of another program stands in a chain of Istio's",
    "rules-not-understood": "A rule has a part that meshctl does not know",
    "rules-sidecar-and-ambient": "Rules of a sidecar and of ambient stand side by side",
    "rules-leftover": "Istio's rules are there, and nothing asks for them",
    "rules-remark": "Something else is worth a look in a rule listing",
}
"""What `iptables dump` says of rules alone."""
_ALONE = ("rules-guardrail", "rules-leftover", "rules-sidecar-and-ambient")
_SEVERE = ("missing", "changed", "wrong-backend", "both-backends", "shadowed")
_WORDS = {
    "missing": "a rule is missing",
    "extra": "there is a rule too many",
    "reordered": "a rule stands in another place",
    "changed": "a rule was changed",
    "shadowed": "a rule never gets a packet",
    "foreign": "there is a rule of another program",
    "wrong-backend": "the rules are in the other iptables variant",
    "both-backends": "there are rules in both iptables variants",
}
