"""Mutated inputs: no parser crashes, takes more than a second of processor time, or loses a line.

MESHCTL_FUZZ says how many inputs each parser gets; 100,000 is the long run (four minutes on two cores): none of
iptables-save's, of nft's and (twice) of the arguments' crashed, hung, lost a rule, or read another way back.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from meshctl.errors import BadInput
from meshctl.netfilter import iptables_save, iptables_text, nft_json
from meshctl.netfilter.capture_flags import FLAGS, of_arguments
from meshctl.netfilter.explain import explain
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.release import Release
from tests.netfilter.rulings import CASES

INPUTS = int(os.environ.get("MESHCTL_FUZZ", "400"))
DUMPS = sorted({file.read_text() for case in CASES for file in case.folder.glob("ip*-save.txt")})
LISTINGS = sorted({(case.folder / "nft.json").read_text() for case in CASES if (case.folder / "nft.json").exists()})
NOISE = (
    "\0",
    "\t",
    " ",
    '"',
    "'",
    "\\",
    "!",
    "-",
    "--",
    "[",
    "]",
    ":",
    "/",
    "\r",
    "\n",
    "\u2028",
    "\x85",
    "é",
    "0x",
    "%n",
)
WORDS = (*sorted({word for text in DUMPS for word in text.split()}), "-m", "!", "--", "-j", "-g", "COMMIT", "*nat")


def broken(text: str, chance: random.Random) -> str:
    """The text with one to four changes: bytes, words and lines that go, come, move or repeat."""
    for _ in range(chance.randint(1, 4)):
        lines = text.split("\n")
        at = chance.randrange(len(lines))
        kind = chance.randrange(8)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(chance.randrange(len(lines) + 1), lines[at])
        elif kind == 2:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        elif kind in (4, 5):
            words = lines[at].split(" ")
            words[chance.randrange(len(words))] = chance.choice(WORDS)
            lines[at] = " ".join(words)
        elif kind == 6:
            place = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + chance.choice(NOISE) + lines[at][place:]
        else:
            lines[at] += " " + " ".join(chance.choices(WORDS, k=3))
        text = "\n".join(lines)
    return text


def timed(read: Callable[[], None]) -> None:
    start = time.process_time()
    read()
    assert time.process_time() - start < 1


def seeds() -> Iterator[random.Random]:
    for number in range(INPUTS):
        yield random.Random(number)


def rules(ruleset: Ruleset) -> list[object]:
    return [
        (table.name, chain.name, rule.matches, rule.targets, rule.comment) for table, chain, _, rule in ruleset.rules
    ]


def appended(text: str) -> int:
    """How many rules the text's lines add."""
    return sum(line.partition("] ")[2 if line.startswith("[") else 0].startswith("-A ") for line in text.split("\n"))


def test_iptables_save() -> None:
    read = refused = 0

    def one() -> None:
        nonlocal read, refused
        try:
            ruleset = iptables_save.parse(text, "f")
        except BadInput as error:
            assert str(error).startswith("f:")  # noqa: PT017
            refused += 1
            return
        read += 1
        found = rules(ruleset)
        if text.isprintable() or not any(noise in text for noise in "\r\u2028\x85\t'\\\""):
            assert len(found) >= appended(text), text
        again = iptables_text.emit(ruleset)
        assert rules(iptables_save.parse(again, "f", ruleset.family)) == found, text
        for _ in explain(ruleset):
            pass

    for chance in seeds():
        text = broken(chance.choice(DUMPS), chance)
        timed(one)
    assert read
    assert refused


def shuffled(node: object, chance: random.Random) -> object:
    """A JSON document with one part changed somewhere."""
    if isinstance(node, dict) and node and chance.random() < 0.95:
        key = chance.choice(sorted(node))
        return {**node, key: shuffled(node[key], chance)}
    if isinstance(node, list) and node and chance.random() < 0.95:
        at = chance.randrange(len(node))
        kind = chance.randrange(12)
        if kind == 0:
            return node[:at] + node[at + 1 :]
        if kind == 1:
            return [*node, node[at]]
        return [*node[:at], shuffled(node[at], chance), *node[at + 1 :]]
    values: tuple[object, ...] = (
        None, True, -1, 0, 2**40, "", "lo", "@set", "1.2.3.4/33", [], {}, [[]], {"set": []}, {"range": [1]},
        {"prefix": {"addr": "x", "len": 99}}, {"xt": {"type": "match", "name": "x"}}, {"|": [1, 2]}, {"meta": {}},
    )  # fmt: skip
    return chance.choice(values)


def test_nft_json() -> None:
    documents = [json.loads(text) for text in LISTINGS]
    read = refused = 0

    def one() -> None:
        nonlocal read, refused
        try:
            rulesets = nft_json.parse(text, "f")
        except BadInput as error:
            assert str(error).startswith("f")  # noqa: PT017
            refused += 1
            return
        read += 1
        if not text:
            return
        walked = {"ip", "ip6", "inet"}
        listed = [item["rule"] for item in json.loads(text)["nftables"] if "rule" in item]
        known = [rule for rule in listed if rule.get("family") in walked]
        found = [rule for ruleset in rulesets for _, _, _, rule in ruleset.rules]
        assert len(found) == len(known), text
        for ruleset in merge(rulesets):
            for _ in explain(ruleset):
                pass

    for chance in seeds():
        changed = chance.choice(documents)
        for _ in range(chance.randint(1, 3)):
            changed = shuffled(changed, chance)
        text = json.dumps(changed)
        if chance.random() < 0.05:
            text = text[: chance.randrange(len(text))]
        timed(one)
    assert read
    assert refused


@pytest.mark.parametrize("native", [False, True])
def test_arguments(native: bool) -> None:
    spellings = [f"-{flag.short}" for flag in FLAGS if flag.short] + [f"--{flag.name}" for flag in FLAGS]
    variables = sorted({flag.variable for flag in FLAGS} | {name for flag in FLAGS for name in flag.variables})
    values = ("", "*", "--", "-", "15001", "80,443", "10.0.0.0/8,::1/128", "a=b", "true", "no", "é", "\0", "1,,2", ",")
    captured = refused = 0

    def one() -> None:
        nonlocal captured, refused
        try:
            capture = of_arguments(args, env, release)
        except BadInput:
            refused += 1
            return
        assert capture.proxy_uids
        captured += 1

    for chance in seeds():
        release = Release(1, chance.randint(12, 30))
        args = []
        for _ in range(chance.randint(0, 8)):
            spelling = chance.choice(spellings)
            joint = chance.randrange(4)
            value = chance.choice(values)
            args += [[spelling, value], [f"{spelling}={value}"], [spelling + value], [value]][joint]
        env = {chance.choice(variables): chance.choice(values) for _ in range(chance.randrange(3))}
        args += ["--native-nftables"] if native else []
        timed(one)
    assert captured
    assert refused
