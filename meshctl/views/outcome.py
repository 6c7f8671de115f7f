"""How a request ends, as the ``outcome`` of ``meshctl.trace/v1`` and as blocks of a page."""

from typing import Literal

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Stage, Table, Text
from meshctl.envoy.grpc import named
from meshctl.path.model import Branch, End, Outcome, Trace, succeeds


def document(outcome: Outcome) -> dict[str, object]:
    """The ``outcome`` of the contract."""
    end = outcome.end
    return {
        "answered_by": end.answered_by,
        "status": end.status,
        "grpc_status": end.grpc_status,
        "response_flags": end.flags or None,
        "server_response_flags": end.server_flags or None,
        "delivered": end.delivered,
        "through_client_proxy": end.through_client,
        "through_server_proxy": end.through_server,
        "mtls": end.mtls,
        "broken": end.broken or None,
        "route": outcome.route,
        "retries": (
            {
                "attempts": outcome.retries.attempts,
                "on": outcome.retries.on,
                "per_try_timeout": outcome.retries.per_try or None,
            }
            if outcome.retries
            else None
        ),
        "timeout": outcome.timeout,
        "mirrors": list(outcome.mirrors),
        "clusters": [
            {
                "name": share.name,
                "subset": share.subset or None,
                "weight": share.weight,
                "endpoints": [
                    {"address": e.address, "pod": e.pod or None, "health": e.health} for e in share.endpoints
                ],
            }
            for share in outcome.clusters
        ],
        "branches": [_branch(branch) for branch in outcome.branches],
        "reason": end.why,
        "undecided_because": list(end.undecided),
    }


def _branch(branch: Branch) -> dict[str, object]:
    end = branch.end
    return {
        "probability": branch.probability,
        "status": end.status,
        "grpc_status": end.grpc_status,
        "response_flags": end.flags or None,
        "cluster": branch.cluster,
        "why": end.why,
        "server_response_flags": end.server_flags or None,
        "answered_by": end.answered_by,
        "delivered": end.delivered,
        "undecided_because": list(end.undecided),
    }


def blocks(trace: Trace) -> list[Block]:
    """The verdict with its reason, what it rests on, and what chance decides between."""
    found = trace.outcome
    end = found.end
    nothing = "cannot be told" if end.undecided else "no request gets through"
    rows: list[tuple[str, Line]] = [
        ("on the path", _proxies(end, any(hop.kind == "ztunnel" for hop in trace.hops))),
        ("on the wire", {"mutual": "mutual TLS", "none": "not mutual TLS", None: nothing}[end.mtls]),
    ]
    if found.route:
        rows.append(("route", found.route))
    if end.flags or end.server_flags:
        rows.append(("response flags", f"caller's proxy {end.flags or '-'}, callee's proxy {end.server_flags or '-'}"))
    if found.retries:
        each = f", each try at most {found.retries.per_try}" if found.retries.per_try else ""
        rows.append(("retries", f"{found.retries.attempts} on {found.retries.on.replace(',', ', ')}{each}"))
    if found.timeout:
        rows.append(("timeout", found.timeout))
    if found.mirrors:
        lost = any(finding.id == "MT111" for finding in trace.findings)
        rows.append(("mirrored to", f"{', '.join(found.mirrors)}{' (copies are dropped: see MT111)' if lost else ''}"))
    shown: list[Block] = [Heading("Outcome"), Note(verdict(end), _mood(end), _why(end)), Facts(tuple(rows), 2)]
    if len(found.branches) > 1:
        shown.append(Text("Chance decides between:", 2))
        shown.append(
            Table(
                (Column("share", True, 9), Column("cluster", keep=8), Column("ends", keep=7)),
                tuple((f"{b.probability:.0%}", b.cluster or "-", verdict(b.end)) for b in found.branches),
                2,
            )
        )
    return shown


def stage(trace: Trace) -> Stage:
    """The outcome as the last box of a picture: the verdict, its reason, and what chance, retries and mirrors do."""
    found = trace.outcome
    reason = found.end.undecided[0] if found.end.undecided else ("" if found.end.delivered else found.end.why)
    facts: list[str] = []
    if len(found.branches) > 1:
        facts += [f"{b.probability:.0%} {b.cluster or 'no cluster'}: {verdict(b.end)}" for b in found.branches]
    if found.retries:
        facts.append(f"retries {found.retries.attempts} on {found.retries.on.replace(',', ', ')}")
    facts += [f"mirrored to {mirror}" for mirror in found.mirrors]
    return Stage(verdict(found.end), reason, tuple(facts), (), _mood(found.end), "outcome")


def verdict(end: End) -> str:
    """How a request ends, in one line."""
    flags = f" ({end.flags})" if end.flags else ""
    if end.delivered:
        return f"delivered: the application answers{flags}"
    if end.undecided:
        return "cannot be told"
    if end.status is not None:
        by = {"client-proxy": "the caller's proxy", "server-proxy": "the callee's proxy", "gateway": "the gateway"}
        status = (
            str(end.status) if end.grpc_status is None else f"gRPC status {named(end.grpc_status)}, HTTP {end.status}"
        )
        return f"{status}{flags} from {by.get(end.answered_by or '', 'a proxy')}"
    words = {
        "reset": "the connection is reset",
        "refused": "the connection is refused",
        "timeout": "nobody answers: the client's timeout decides",
        "dns": "the name does not resolve",
        "tls": "the TLS handshake fails",
    }
    return f"{words.get(end.broken, 'no answer' if end.answered_by else 'not delivered')}{flags}"


def _mood(end: End) -> Literal["good", "bad", "warn"]:
    verdict = succeeds(end)
    return "warn" if verdict is None else ("good" if verdict else "bad")


def _why(end: End) -> tuple[Line, ...]:
    if end.undecided:
        return end.undecided
    return (end.why,) if end.why and not end.delivered else ()


def _proxies(end: End, ztunnel: bool) -> str:
    words = {True: "yes", False: "no", None: "cannot be told"}
    if ztunnel:
        return f"ztunnel yes, caller's own proxy {words[end.through_client]}, callee's {words[end.through_server]}"
    return f"caller's proxy {words[end.through_client]}, callee's proxy {words[end.through_server]}"
