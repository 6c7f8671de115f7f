"""What one proxy decides about one request: the document of ``meshctl.proxy-match/v1``, and its page."""

from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Style, Table
from meshctl.envoy.client import offered_alpn, server_name
from meshctl.envoy.query import Match, Query, Step
from meshctl.envoy.verdict import Verdict
from meshctl.words import show_address


def document(result: Match) -> dict[str, Any]:
    """The names that were chosen (null where unnamed or not reached), the outcome, and every step."""
    return {
        "schema": "meshctl.proxy-match/v1",
        "query": _query(result.query),
        "listener": (result.listener.name or None) if result.listener else None,
        "filter_chain": (result.filter_chain.name or None) if result.filter_chain else None,
        "route_config": result.route_config_name,
        "virtual_host": (result.virtual_host.name or None) if result.virtual_host else None,
        "route": (result.route.name or None) if result.route else None,
        "cluster": result.cluster or None,
        "clusters": [{"name": share.name, "weight": share.weight} for share in result.clusters],
        "action": result.action,
        "status": result.status,
        "grpc_status": result.grpc_status,
        "location": result.location,
        "response_flags": result.flags,
        "response_code_details": result.details or None,
        "forwards": result.forwards,
        "error": result.error,
        "probability": result.probability,
        "filters": [_verdict(v) for v in result.verdicts],
        "steps": [_step(s) for s in result.steps],
        "undecided_because": list(result.undecided_because),
        "alternatives": [document(other) for other in result.alternatives],
    }


def _query(query: Query) -> dict[str, Any]:
    return {
        "direction": query.direction,
        "address": query.address,
        "port": query.port,
        "protocol": query.protocol,
        "tls": query.tls,
        "host": query.host,
        "path": query.path,
        "method": query.method,
        "headers": [{"name": name, "value": value} for name, value in query.headers],
        "sni": server_name(query) or None if query.tls != "plaintext" else None,
        "alpn": list(offered_alpn(query)) if query.tls != "plaintext" else [],
        "source": query.source,
        "source_port": query.source_port,
        "principal": query.principal,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    policy = verdict.policy
    return {
        "filter": verdict.filter,
        "type": verdict.type or None,
        "decision": verdict.decision,
        "because": verdict.because,
        "status": verdict.status,
        "share": verdict.share,
        "delay_seconds": verdict.delay_s,
        "policy": {"namespace": policy.namespace, "name": policy.name, "rule": policy.rule} if policy else None,
        "shadow": verdict.shadow,
        "path": verdict.origin.path if verdict.origin else None,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "what": step.what,
        "chosen": step.chosen or None,
        "because": step.because,
        "path": step.origin.path if step.origin else None,
    }


_ERRORS = {
    "no-listener": "connection refused: nothing listens there",
    "no-filter-chain": "the proxy closes the connection: no filter chain fits",
    "tls-mismatch": "the TLS handshake fails",
    "protocol-error": "the proxy cannot decode the bytes",
    "no-virtual-host": "no virtual host is for this host",
    "no-route": "no route fits",
    "tls-redirect": "this host is for https only",
    "config-rejected": "Envoy rejects this configuration",
}


def outcome(result: Match) -> tuple[str, Style]:
    """The end in a sentence, and whether it is a good one."""
    if result.undecided_because:
        return "undecided", "warn"
    if result.status is not None:
        flags = f" ({result.flags})" if result.flags else ""
        place = f" to {result.location}" if result.location else ""
        cause = f": {_ERRORS[result.error]}" if result.error else ""
        return f"the proxy answers {result.status}{flags}{place}{cause}", "bad" if result.status >= 400 else "good"
    if result.error is not None:
        return _ERRORS[result.error], "bad"
    if result.forwards:
        total = sum(s.weight for s in result.clusters) or 1
        names = (
            s.name if len(result.clusters) == 1 else f"{100 * s.weight / total:.4g}% {s.name}" for s in result.clusters
        )
        return f"goes to {', '.join(names)}", "good"
    return f"the proxy closes the connection{f' ({result.flags})' if result.flags else ''}", "bad"


def page(name: str, result: Match) -> Page:
    """The outcome first, then every decision with its reason, then the filters."""
    query = result.query
    asked = f"{query.protocol} to {show_address(query.address, query.port)}, {query.tls}"
    asked += f", {query.method} {query.host or '(no host)'}{query.path}" if query.protocol != "tcp" else ""
    sentence, style = outcome(result)
    blocks: list[Block] = [
        Heading((f"{query.direction} at ", Span(name, "name")), 1),
        Facts((("request", asked), ("outcome", (Span(sentence, style), *_shares(result))))),
        *(Note(because, "warn") for because in result.undecided_because),
        Table(
            (Column("DECISION", keep=7, wrap=False), Column("CHOSEN", keep=9), Column("BECAUSE", keep=8)),
            tuple(_row(step) for step in result.steps),
        ),
    ]
    shown = [v for v in result.verdicts if v.decision != "passes" or v.policy_name]
    if shown:
        columns = (Column("FILTER", keep=5), Column("DECISION", keep=7), Column("BECAUSE", keep=9))
        blocks += [Heading("Filters"), Table(columns, tuple(_filter(v) for v in shown))]
    for other in result.alternatives:
        blocks += [
            Heading(f"By chance, {_percent(other.probability)} of the requests"),
            Facts((("outcome", (outcome(other)[0], *_answered(other))),)),
        ]
    return Page(f"{query.direction} at {name}", tuple(blocks))


def _shares(result: Match) -> tuple[str, ...]:
    """How many of the requests take this way, and what filters answer by chance."""
    chance = (f", {_percent(result.probability)} of the requests",) if result.alternatives else ()
    return (*chance, *_answered(result))


def _answered(result: Match) -> tuple[str, ...]:
    return tuple(
        f"; {v.filter} answers {_percent(v.share)} of them with {v.status}"
        for v in result.verdicts
        if v.decision == "answers" and v.share < 1.0 and not v.shadow
    )


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _row(step: Step) -> tuple[Line, ...]:
    return step.what, Span(step.chosen, "name") if step.chosen else Span("none", "bad"), step.because


_MOODS: dict[str, Style] = {"answers": "bad", "undecided": "warn", "not-modelled": "warn", "delays": "warn"}


def _filter(verdict: Verdict) -> tuple[Line, ...]:
    shadow = " (dry run)" if verdict.shadow else ""
    return verdict.filter, Span(verdict.decision + shadow, _MOODS.get(verdict.decision, "")), verdict.because
