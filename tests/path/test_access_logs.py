"""Every request that a sidecar logged as outbound: cluster, route, status and flags are among those predicted."""

import pytest

from meshctl.envoy import access_log
from meshctl.envoy.access_log import LogLine
from meshctl.path.model import Branch, Request
from tests.path.recordings import NAMES, predicted, scene, world

BY_HEADER = (("classic", "outbound|9080|v2|reviews.classic.svc.cluster.local"), ("policies", "beta-users"))
"""Lines of requests with a header that an access log does not show."""


def lines() -> list[tuple[str, str, LogLine]]:
    found = {}
    for name in NAMES:
        for pod in scene(name).pods:
            part = world(name).part(pod.namespace, pod.name, "logs/istio-proxy.txt")
            if not part.content or scene(name).station(pod).mode == "gateway":
                continue
            for line in access_log.parse(part.content.decode(), part.source):
                if not line.cluster.startswith("inbound|") and _outbound(line):
                    key = (name, pod.name, line.method, line.authority, line.path, line.cluster, line.flags)
                    found[key] = (name, f"{pod.namespace}/{pod.name}", line)
    return [case for case in found.values() if not any(n == case[0] and m in case[2].text for n, m in BY_HEADER)]


def _outbound(line: LogLine) -> bool:
    return line.method != "" or line.cluster != ""


CASES = lines()


@pytest.mark.parametrize(
    ("name", "sender", "line"), CASES, ids=[f"{c[0]}-{c[2].authority or c[2].local}" for c in CASES]
)
def test_a_logged_request_is_among_those_predicted(name: str, sender: str, line: LogLine) -> None:
    url = f"http://{line.authority}{line.path}" if line.method else f"tcp://{line.local}"
    found = predicted(name, sender, url, Request(method=line.method or "GET"))
    assert (found.outcome.route or "") == line.route
    assert any(_fits(branch, line) for branch in found.outcome.branches), found.outcome.branches


def _fits(branch: Branch, line: LogLine) -> bool:
    end = branch.end
    if (branch.cluster or "") != line.cluster:
        return False
    if end.undecided:
        return True
    status = end.status == line.status if end.status is not None else bool(end.delivered) or not line.method
    return status and end.flags == ",".join(line.flags)


def test_there_are_lines_to_compare() -> None:
    assert len(CASES) > 35
