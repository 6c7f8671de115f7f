"""Every access-log line of the recordings, asked again: the dump must give the cluster, route and status."""

from collections import Counter
from collections.abc import Iterator

from meshctl.envoy import access_log, config_dump
from meshctl.envoy.access_log import LogLine
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.match import Match, Query, match
from meshctl.envoy.select import Wanted, routes, targets
from meshctl.sources import kinds
from meshctl.sources.snapshot import open_snapshot
from tests.envoy import dumps

SNAPSHOTS = ("bookinfo", "broken", "classic", "cnimode", "nftmode", "policies", "variants")
REWRITTEN = {"/old/thing"}
"""Logged by the callee as the client's own path, though it got the one that the client's proxy had rewritten."""


def lines() -> Iterator[tuple[str, ConfigDump, LogLine]]:
    for name in SNAPSHOTS:
        world = open_snapshot(str(dumps.RECORDED / f"{name}.tar.gz"))
        for item in world.objects(kinds.PODS).items:
            namespace, pod = item["metadata"]["namespace"], item["metadata"]["name"]
            log, dump = (world.part(namespace, pod, p) for p in ("logs/istio-proxy.txt", "envoy/config_dump.json"))
            if log.content is None or dump.content is None:
                continue
            parsed = config_dump.parse(dump.content, dump.source)
            for line in access_log.parse(log.content.decode(errors="replace"), log.source):
                yield pod, parsed, line


def asked_again(dump: ConfigDump, line: LogLine) -> Match:
    host, _, port = line.local.rpartition(":")
    inside = line.inbound or host in dump.bootstrap().ips
    gateway = dump.bootstrap().proxy_type == "router"
    secure = bool(line.server_name)
    query = Query(
        direction="gateway" if gateway else "inbound" if inside else "outbound",
        address=host,
        port=int(port),
        protocol="http" if line.is_http else "tcp",
        tls="mtls" if secure and inside else "tls" if secure else "plaintext",
        sni=line.server_name or None,
        alpn=("istio", "h2") if secure and inside else (),
        host=line.authority or None,
        path=line.path or "/",
        method=line.method or "GET",
        source=line.remote.rpartition(":")[0] or None,
        at=line.start,
    )
    return match(dump, query)


def needs_headers(dump: ConfigDump, line: LogLine) -> bool:
    """Whether the route that was taken asks for a header, which the log does not tell."""
    rows = (row.route for row in routes(dump, Wanted(cluster=line.cluster)) if row.route is not None)
    return any(r.match.headers and line.cluster in targets(r) for r in rows)


def verdict(dump: ConfigDump, line: LogLine) -> str:
    found = asked_again(dump, line)
    clusters = {share.name for share in found.clusters}
    if line.cluster and line.cluster not in clusters:
        return "header" if needs_headers(dump, line) else "wrong"
    if line.route and (found.route is None or found.route.name != line.route):
        return "header" if needs_headers(dump, line) else "wrong"
    if found.undecided_because:
        return "undecided"
    if found.status is not None and not line.upstream_host and line.status != found.status:
        return "wrong"
    return "wrong" if found.forwards is False and line.upstream_host else "right"


def test_every_logged_request_is_predicted() -> None:
    counted: Counter[str] = Counter()
    for pod, dump, line in lines():
        if not line.local.rpartition(":")[2].isdecimal() or (line.inbound and line.path in REWRITTEN):
            continue
        outcome = verdict(dump, line)
        counted[outcome] += 1
        assert outcome != "wrong", f"{pod}: {line.text}\n{asked_again(dump, line)}"
    assert counted["right"] >= 60, counted
    assert counted["undecided"] + counted["header"] <= counted["right"] / 8, counted
