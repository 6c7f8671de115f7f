"""The rule engine: 10,000 pods' rulesets made from the recorded ones, parsed, explained and compared, on one core."""

import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Row, peak_mb, seconds
from meshctl.netfilter import expected, iptables_save, release
from meshctl.netfilter.capture import Network
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.drift import compare
from meshctl.netfilter.explain import explain

FOLDER = Path(__file__).parent.parent / "fixtures" / "rulesets"
PODS = 10_000
FILES = ("iptables-save.txt", "ip6tables-save.txt")
COUNTERS = re.compile(r"\[\d+:\d+\]")


@dataclass(frozen=True)
class Pod:
    """What is read of one pod: its rules, and the arguments that asked for them."""

    texts: tuple[str, ...]
    said: dict[str, Any]


def recorded() -> list[Pod]:
    """The recorded cases that iptables wrote."""
    cases = []
    for file in sorted(FOLDER.glob("*/*/case.json")):
        texts = tuple((file.parent / name).read_text() for name in FILES if (file.parent / name).exists())
        if texts and not file.parent.name.endswith("-nft"):
            cases.append(Pod(texts, json.loads(file.read_text())))
    return cases


def fleet(cases: list[Pod], count: int, *, all_different: bool) -> Iterator[Pod]:
    """Pods like the recorded ones, each with counters of its own, or (`all_different`) ports and ids as well."""
    chance = random.Random(1)
    for number in range(count):
        pod = cases[number % len(cases)]
        texts = tuple(
            COUNTERS.sub(lambda _: f"[{chance.randrange(10**6)}:{chance.randrange(10**9)}]", t) for t in pod.texts
        )
        said = pod.said
        if all_different:
            changed = {"1337": str(2000 + number), "15001": str(20000 + number), "15006": str(40000 + number)}
            texts = tuple(_replaced(text, changed) for text in texts)
            said = json.loads(_replaced(json.dumps(said), changed))
        yield Pod(texts, said)


def _replaced(text: str, changed: dict[str, str]) -> str:
    return re.sub(r"\b(1337|15001|15006)\b", lambda found: changed[found[0]], text)


def judge(pod: Pod) -> tuple[int, bool]:
    """What one pod costs: parse, explain every rule, predict, compare."""
    found = [iptables_save.parse(text, "rules") for text in pod.texts]
    version = release.parse(str(pod.said["istio"]))
    asked = of_arguments(pod.said["args"], pod.said["env"], version)
    told = sum(1 for ruleset in found for _ in explain(ruleset, asked))
    wanted = expected.predict(asked, version, Network(tuple(pod.said["pod_addresses"]), ("10.96.0.10",)))
    return told, compare(wanted, found, asked).in_sync


def _like(pod: Pod) -> str:
    """A JSON document of the size of a pod's rules."""
    size = sum(map(len, pod.texts))
    lines = [{"rule": line.split()} for text in pod.texts for line in text.split("\n")]
    text = json.dumps({"rules": lines})
    while len(text) > size and lines:
        lines.pop()
        text = json.dumps({"rules": lines})
    return text


def rows() -> list[Row]:
    """Pods a second and peak memory, beside json.loads of as many bytes."""
    cases = recorded()
    documents = [_like(pod) for pod in cases]
    base = seconds(lambda: [json.loads(text) for text in documents]) / len(documents)
    found = []
    for all_different, name in ((False, "pods of many workloads"), (True, "no two pods alike")):
        spent, agreed = 0.0, 0
        for pod in fleet(cases, PODS, all_different=all_different):
            start = time.perf_counter()
            agreed += judge(pod)[1]
            spent += time.perf_counter() - start
        rate = PODS / spent
        what = f"rules: parse, explain, diff; {name} ({agreed:,} of {PODS:,} in sync)"
        found.append(
            Row(what, f"{rate:,.0f} pods/s", f"json.loads: {1 / base:,.0f}/s", 1 / rate / base, "1,000 pods/s")
        )
    return [*found, Row(f"rules: peak memory over {2 * PODS:,} pods", f"{peak_mb():.0f} MB", target="under 300 MB")]
