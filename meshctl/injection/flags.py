"""Command lines as pflag (the Go library that Istio's programs use) reads them: one flag with one value each.

A flag that takes a value takes the next argument whatever it looks like: in ``-x -b '*'`` the value of ``-x`` is
``-b`` (istio#28106). Such a value is kept and marked `swallowed`.
"""

from collections.abc import Mapping, Sequence

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class FlagShape:
    """A flag that a program knows: `short` is one letter or empty."""

    long: str
    short: str = ""
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command line, or a flag with its value.

    `flag` is as written (``-x``, ``--run-validation``; the word itself for a positional argument); `value` is None
    for a flag without one; `name` is the flag's long name, empty where the program does not know it. `index` counts
    arguments from 0.
    """

    flag: str
    value: str | None
    name: str
    index: int
    swallowed: bool = False
    positional: bool = False


def parse(arguments: Sequence[str], shapes: Sequence[FlagShape]) -> tuple[Argument, ...]:
    """Split a command line; what no shape fits stays visible with an empty `name`."""
    longs = {shape.long: shape for shape in shapes}
    shorts = {shape.short: shape for shape in shapes if shape.short}
    found: list[Argument] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            found.extend(
                Argument(rest, None, "", index + 1 + at, positional=True)
                for at, rest in enumerate(arguments[index + 1 :])
            )
            break
        argument, used = _one(arguments, index, longs, shorts)
        found.append(argument)
        index += used
    return tuple(found)


def _one(
    arguments: Sequence[str], index: int, longs: Mapping[str, FlagShape], shorts: Mapping[str, FlagShape]
) -> tuple[Argument, int]:
    word = arguments[index]
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        shape, flag = longs.get(name), f"--{name}"
    elif word.startswith("-") and len(word) > 1:
        shape, flag = shorts.get(word[1]), word[:2]
        equals, value = ("=", word[2:].removeprefix("=")) if len(word) > 2 else ("", "")
        if shape is None:
            # An unknown flag (`-c` before Istio 1.15, a foreign one): keep the word as it is.
            return _unknown(arguments, index, word)
    else:
        return Argument(word, None, "", index, positional=True), 1
    if shape is None:
        if equals:
            return Argument(flag, value, "", index), 1
        return _unknown(arguments, index, word)
    if equals:
        return Argument(flag, value, shape.long, index), 1
    if shape.boolean:
        return Argument(flag, None, shape.long, index), 1
    if index + 1 >= len(arguments):
        return Argument(flag, None, shape.long, index), 1
    following = arguments[index + 1]
    swallowed = _is_flag(following, longs, shorts)
    return Argument(flag, following, shape.long, index, swallowed), 2


def _unknown(arguments: Sequence[str], index: int, word: str) -> tuple[Argument, int]:
    """A flag nobody knows: whether the next word is its value cannot be told, so it is taken unless it is a flag."""
    following = arguments[index + 1] if index + 1 < len(arguments) else None
    if following is None or following.startswith("-"):
        return Argument(word, None, "", index), 1
    return Argument(word, following, "", index), 2


def _is_flag(word: str, longs: Mapping[str, FlagShape], shorts: Mapping[str, FlagShape]) -> bool:
    if word.startswith("--"):
        return word[2:].partition("=")[0] in longs
    return len(word) >= 2 and word[0] == "-" and word[1] in shorts
