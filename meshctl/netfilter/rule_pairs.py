"""Which of two chains' rules are the same rule: equal by meaning, moved to another place, or changed into each other.

Rules are lists in the order of their chain; positions are 0-based.
"""

from collections.abc import Sequence

from meshctl.netfilter.clauses import implied, key
from meshctl.netfilter.expected import ANY_GROUP
from meshctl.netfilter.istio_names import istio_chain
from meshctl.netfilter.matches import Match, Opaque, Owner
from meshctl.netfilter.model import Rule
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.targets import Target


def same(expected: Rule, found: Rule) -> bool:
    """Whether they are equal by meaning, as far as both are known."""
    return key(expected) == key(found) or _same_but_group(expected, found) or _same_through_nft(expected, found)


def _same_but_group(expected: Rule, found: Rule) -> bool:
    """Equal where a group's number is not known: any number counts as it."""
    groups = [m for m in expected.matches if isinstance(m, Owner) and m.kind == "gid" and m.ids]
    known = {m for m in groups if m.ids and m.ids.low < ANY_GROUP}
    if len(known) == len(groups):
        return False
    there = [m for m in found.matches if isinstance(m, Owner) and m.kind == "gid"]
    signs = sorted(m.negated for m in groups) == sorted(m.negated for m in there)
    return signs and known <= set(there) and _but_groups(expected) == _but_groups(found)


def _but_groups(rule: Rule) -> tuple[frozenset[Match], tuple[Target, ...]]:
    conditions, targets = key(rule)
    return frozenset(m for m in conditions if not (isinstance(m, Owner) and m.kind == "gid")), targets


def but_owners(rule: Rule) -> frozenset[Match]:
    """The rule's conditions but for those on the sender's user and group."""
    return frozenset(m for m in key(rule)[0] if not isinstance(m, Owner))


def _same_through_nft(expected: Rule, found: Rule) -> bool:
    """Equal as far as nft shows an iptables rule: matches and targets that it knows by name only cannot be compared."""
    if not any(isinstance(part, Opaque) and part.xt for part in (*found.matches, *found.targets)):
        return False
    mine, theirs = key(expected), key(found)
    known = tuple(mine[0])
    clear = all(implied(m, known) for m in theirs[0] if not isinstance(m, Opaque))
    targets = tuple(t for t in theirs[1] if not isinstance(t, Opaque))
    return clear and (not targets or targets == mine[1])


def aligned(mine: Sequence[Rule], theirs: Sequence[Rule]) -> list[tuple[int, int]]:
    """The longest common subsequence by meaning, as pairs of 0-based positions."""
    start = 0
    while start < min(len(mine), len(theirs)) and same(mine[start], theirs[start]):
        start += 1
    end = 0
    while end < min(len(mine), len(theirs)) - start and same(mine[-1 - end], theirs[-1 - end]):
        end += 1
    rows, columns = len(mine) - start - end, len(theirs) - start - end
    if rows * columns > 250_000:
        columns = 250_000 // max(rows, 1)
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for a in range(rows - 1, -1, -1):
        for b in range(columns - 1, -1, -1):
            if same(mine[start + a], theirs[start + b]):
                best[a][b] = best[a + 1][b + 1] + 1
            else:
                best[a][b] = max(best[a + 1][b], best[a][b + 1])
    pairs = [(at, at) for at in range(start)]
    a = b = 0
    while a < rows and b < columns:
        if same(mine[start + a], theirs[start + b]) and best[a][b] == best[a + 1][b + 1] + 1:
            pairs.append((start + a, start + b))
            a, b = a + 1, b + 1
        elif best[a + 1][b] >= best[a][b + 1]:
            a += 1
        else:
            b += 1
    pairs += [(len(mine) - end + at, len(theirs) - end + at) for at in range(end)]
    return pairs


def moved(mine: list[Rule], theirs: list[Rule], lost: list[int], added: list[int]) -> list[tuple[int, int]]:
    """Lost rules that stand elsewhere among the added ones."""
    pairs: list[tuple[int, int]] = []
    free = list(added)
    for a in lost:
        b = next((at for at in free if same(mine[a], theirs[at])), None)
        if b is not None:
            free.remove(b)
            pairs.append((a, b))
    return pairs


def passed(a: int, b: int, pairs: list[tuple[int, int]], theirs: list[Rule]) -> list[tuple[Rule, bool]]:
    """The rules that the rule at `a` (expected) and `b` (found) went past, with whether it now comes after them."""
    return [(theirs[y], y < b) for x, y in sorted(pairs) if (x < a) != (y < b) and (x, y) != (a, b)]


def changed(
    pairs: list[tuple[int, int]],
    lost: list[int],
    added: list[int],
    mine: list[Rule],
    theirs: list[Rule],
    table: str,
    chain: str,
) -> list[tuple[int, int]]:
    """Lost and added rules that stand in the same gap and are alike: the same target, or the same conditions."""
    found: list[tuple[int, int]] = []
    free = list(added)
    for a in lost:
        low = max((y for x, y in pairs if x < a), default=-1)
        high = min((y for x, y in pairs if x > a), default=len(theirs))
        near = [b for b in free if low < b < high]
        alike = [b for b in near if _alike(mine[a], theirs[b], table, chain)]
        if alike:
            found.append((a, alike[0]))
            free.remove(alike[0])
    return found


def _alike(expected: Rule, found: Rule, table: str, chain: str) -> bool:
    mine, theirs = key(expected), key(found)
    if mine[1] == theirs[1]:
        wanted, there = role_of(expected, table, chain), role_of(found, table, chain)
        same_role = wanted is not None and there is not None and wanted[0] == there[0]
        return istio_chain(chain) or same_role or bool(mine[0] & theirs[0])
    return mine[0] == theirs[0] and (istio_chain(chain) or bool(mine[0]))
