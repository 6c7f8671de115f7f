"""Counters and gauges: ``/stats`` in its text form, and what changed between two readings."""

from collections.abc import Mapping


def parse(text: str) -> Mapping[str, int]:
    """The numbers by name; histograms, texts and anything else are left out.

    A cluster's name may hold colons and blanks stand only before the value: the last ``": "`` separates them.
    """
    found = {}
    for line in text.splitlines():
        name, colon, value = line.rpartition(": ")
        if colon and value.isdecimal():
            found[name] = int(value)
    return found


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> Mapping[str, int]:
    """What went up or down, by name."""
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
