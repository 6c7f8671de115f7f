"""Rules that differ from those that the pod's arguments ask for: one finding a difference."""

from meshctl.checks.finding import Finding, Severity
from meshctl.netfilter.drift import Item

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
