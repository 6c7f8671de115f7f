"""What is left of AuthorizationPolicies in the form in which istiod sends them to ztunnel.

ztunnel sees connections, not requests. Followed is ``convertAuthorizationPolicy`` and ``handleRule`` (``pilot/pkg/
serviceregistry/kube/controller/ambient/authorization.go``, 1.24 to 1.30). Principals stay as they are written there:
neither ``cluster.local`` nor the mesh's trust domain aliases stand for its trust domain, as they do for sidecars.
"""

from collections.abc import Iterator
from dataclasses import replace

from meshctl.istio.security import AuthorizationPolicy, PolicyRule, Term

_OF_SOURCES = frozenset(("ipBlocks", "namespaces", "principals", "serviceAccounts", "ports"))
_OF_CONDITIONS = frozenset(("source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"))

_NOTHING = Term("ztunnel", ())
"""Stands for a part of a rule of which nothing is left; no fact is known under that name."""


def told(policy: AuthorizationPolicy) -> AuthorizationPolicy | None:
    """A policy as ztunnel has it; None for one that is for waypoints or that it does not know.

    A rule that asks for more than a connection tells never allows, and denies by the rest of what it asks for. Where
    there is no rest, istiod says that it denies, and ztunnel holds what asks for nothing for unfit: that stays open.
    """
    if policy.targeted or policy.action not in ("ALLOW", "DENY"):
        return None
    return replace(policy, rules=tuple(_rules(policy)))


def _rules(policy: AuthorizationPolicy) -> Iterator[PolicyRule]:
    for rule in policy.rules:
        parts = (*rule.sources, *rule.operations)
        whole = all(t.field in _OF_SOURCES for terms in parts for t in terms)
        if whole and all(t.field in _OF_CONDITIONS for t in rule.conditions):
            yield rule
        elif policy.action == "DENY":
            yield replace(
                rule,
                sources=tuple(_rest(terms) for terms in rule.sources),
                operations=tuple(_rest(terms) for terms in rule.operations),
                conditions=tuple(t if t.field in _OF_CONDITIONS else _NOTHING for t in rule.conditions),
            )


def _rest(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term.field in _OF_SOURCES) or (_NOTHING,)
