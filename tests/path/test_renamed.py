"""A recording in which something has another name throughout: what is predicted of it is the same, so named."""

import json
import re
from collections.abc import Sequence
from itertools import groupby, product
from typing import Any

import pytest

from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.sources.snapshot import Files, Snapshot
from meshctl.views import trace_document
from tests.path.recordings import DUMPS, Without, truths, world

Pairs = Sequence[tuple[str, str]]
REVISION = [f"{q}istio.io/rev{q}:{space}{q}" for q in ('"', '\\"') for space in ("", " ")] + ['\\"revision\\":\\"']
OTHERS: dict[str, Pairs] = {
    "the cluster's domain": [("svc.cluster.local", "svc.k8s.corp"), (" cluster.local\\n", " k8s.corp\\n")],
    "the control plane's namespace": [("istio-system", "mesh-control")],
    "its revision": [
        *((f"{text}default", f"{text}canary") for text in REVISION),
        ("configmap.istio-system.istio.json", "configmap.istio-system.istio-canary.json"),
        ("istio-sidecar-injector.json", "istio-sidecar-injector-canary.json"),
    ],
    "addresses of Services": [(f"10.{n}.", f"172.{n - 80}.") for n in range(96, 112)],
    "addresses of pods": [("10.244.", "100.64."), ("172.17.0.", "100.65.7.")],
    "the proxy's ports": [("15001", "25001"), ("15006", "25006")],
    "workloads and Services": [("productpage", "frontpage"), ("reviews", "critiques"), ("ratings", "stars")],
}


def renamed(text: str, pairs: Pairs) -> str:
    """The text with all names replaced, but for what is part of a longer number."""
    for old, new in pairs:
        whole = re.compile(rf"(?<!\d){re.escape(old)}" + (r"(?!\d)" if old[-1].isdigit() else ""))
        text = whole.sub(new.replace("\\", r"\\"), text)
    return text


class Renamed:
    """The files of a recording with other names in them, and in their own."""

    def __init__(self, name: str, what: str) -> None:
        whole = world(name)
        assert isinstance(whole, Snapshot)
        self.files, self.pairs = whole.files, OTHERS[what]
        self.about = json.loads(renamed(json.dumps(whole.about), self.pairs))
        self.contents: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        if name not in self.contents:
            content = self.files.read(renamed(name, [(new, old) for old, new in self.pairs]))
            if content is not None:
                text = renamed(content.decode("utf-8", "surrogateescape"), self.pairs)
                content = text.encode("utf-8", "surrogateescape")
            self.contents[name] = content
        return self.contents[name]

    def names(self, folder: str) -> tuple[str, ...]:
        there = self.files.names(renamed(folder, [(new, old) for old, new in self.pairs]))
        return tuple(renamed(name, self.pairs) for name in there)


def document(files: Files, about: Any, target: str, sender: str, namespace: str) -> str:
    """The whole of what is predicted, as JSON."""
    _, found = predict(Snapshot("it", files, about), Asked(target=target, sender=sender), Scope(namespace=namespace))
    return json.dumps(trace_document.document(found, None, None), indent=1, sort_keys=True, default=str)


@pytest.mark.parametrize("what", OTHERS)
def test_a_prediction_knows_no_name_by_heart(what: str) -> None:
    pairs = OTHERS[what]
    for name, cases in groupby(truths(), key=lambda case: case.name):
        whole, other = world(name), Renamed(name, what)
        assert isinstance(whole, Snapshot)
        for case, gone in product(cases, ((), DUMPS)):
            namespace, sender = case.raw["from_pod"].split("/")
            told = (case.raw["url"], sender, namespace)
            before = document(Without(whole.files, gone), whole.about, *told)
            after = document(Without(other, gone), other.about, *(renamed(text, pairs) for text in told))
            assert after == renamed(before, pairs), (case.id, gone)
        assert any(content != whole.files.read(file) for file, content in other.contents.items())
