"""Pods on this node: ``meshctl.pids/v1`` and its page."""

from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Table, Text
from meshctl.reports import NodeContainer, NodePod, NodePods

SCHEMA = "meshctl.pids/v1"


def document(found: NodePods) -> dict[str, Any]:
    """Every pod with its containers and processes, and how each was found."""
    return {
        "schema": SCHEMA,
        "host": found.host,
        "found_by": found.way,
        "pods": [_pod(pod) for pod in found.pods],
        "problems": list(found.problems),
    }


def _pod(pod: NodePod) -> dict[str, Any]:
    return {
        "name": pod.name,
        "namespace": pod.namespace or None,
        "uid": pod.uid or None,
        "runtime": pod.runtime,
        "host_network": pod.host_network,
        "network_namespace": pod.network_namespace or None,
        "entered_by": pod.entered_by or None,
        "not_entered_because": pod.why_not or None,
        "containers": [
            {
                "name": c.name,
                "id": c.id,
                "pid": c.pid or None,
                "state": c.state,
                "attempt": c.attempt,
                "image": c.image or None,
                "started_at": c.started_at or None,
                "network_namespace": c.namespace or None,
                "found_by": c.found_by,
            }
            for c in pod.containers
        ],
        "processes": [
            {
                "pid": p.pid,
                "container": p.container or None,
                "role": p.role,
                "command": p.command,
                "uid": p.uid,
                "started_at": p.started_at,
            }
            for p in pod.processes
        ],
    }


def page(found: NodePods, one: bool) -> Page:
    """One pod in full, or all pods of the node as a table."""
    blocks = _pod_blocks(found.pods[0]) if one and found.pods else _all_blocks(found)
    blocks += [Note(f"not asked with success: {problem}", "warn") for problem in found.problems]
    return Page("Pods on this node", tuple(blocks))


def _all_blocks(found: NodePods) -> list[Block]:
    title = Heading((f"Pods on {found.host}", Span(f"  by {found.way}", "dim")), 1)
    if not found.pods:
        return [title, Note("no pods run here, as far as can be told", "warn")]
    columns = (
        Column("pod", keep=9),
        Column("namespace", keep=8),
        Column("containers running", keep=5),
        Column("enter by PID", right=True, keep=8),
        Column("network namespace", keep=4),
    )
    return [title, Table(columns, tuple(_row(pod) for pod in found.pods))]


def _row(pod: NodePod) -> tuple[Line, ...]:
    running = [c for c in pod.containers if c.pid and c.state == "running"]
    names = ", ".join(c.name for c in running if c.name != "(sandbox)") or "-"
    if pod.host_network:
        return Span(pod.name, "name"), pod.namespace, names, "-", Span("the node's (hostNetwork)", "dim")
    first = running[0] if running else None
    return (
        Span(pod.name, "name"),
        pod.namespace,
        names,
        str(first.pid) if first else "-",
        first.namespace if first else Span("nothing runs", "dim"),
    )


def _pod_blocks(pod: NodePod) -> list[Block]:
    rows: list[tuple[str, Line]] = [("uid", pod.uid or "-"), ("found by", pod.runtime)]
    if pod.entered_by:
        rows += [("network namespace", pod.network_namespace), ("entered by", pod.entered_by)]
    where = f" in namespace {pod.namespace}" if pod.namespace else ""
    blocks: list[Block] = [Heading((f"Pod {pod.name}", Span(where, "dim")), 1), Facts(tuple(rows))]
    if pod.why_not:
        blocks.append(Note(pod.why_not, "warn"))
    columns = (
        Column("container", keep=9),
        Column("PID", right=True, keep=9),
        Column("state", keep=7),
        Column("started", keep=3),
        Column("network namespace", keep=5),
        Column("image", keep=2),
    )
    blocks += [Heading("Containers"), Table(columns, tuple(map(_container, pod.containers)))]
    if pod.processes:
        shown = tuple(
            (
                str(p.pid),
                p.role,
                p.container or "-",
                str(p.uid),
                p.started_at.partition("+")[0],
                Span(p.command, "code"),
            )
            for p in pod.processes
        )
        heads = (
            Column("PID", right=True, keep=9),
            Column("role", keep=8),
            Column("container", keep=6),
            Column("uid", right=True, keep=5),
            Column("started", keep=3),
            Column("command", keep=4),
        )
        blocks += [Heading("Processes in its network"), Table(heads, shown)]
    if pod.entered_by:
        pid = pod.entered_by.rpartition("PID ")[2].rstrip(")")
        blocks.append(Text(("its rules: ", Span(f"meshctl iptables dump --pid {pid}", "code"))))
    return blocks


def _container(c: NodeContainer) -> tuple[Line, ...]:
    attempt = f", restart {c.attempt}" if c.attempt else ""
    return (
        Span(c.name, "name"),
        str(c.pid) if c.pid else "-",
        f"{c.state}{attempt}",
        c.started_at.partition(".")[0] or "-",
        c.namespace or "-",
        c.image or "-",
    )
