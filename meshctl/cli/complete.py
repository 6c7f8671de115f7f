"""Shell completion of names: pods, workloads, Services and namespaces of the world that the line names so far."""

from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from dataclasses import fields
from io import StringIO
from typing import Any

from meshctl.cli.options import Invocation
from meshctl.sources import kinds
from meshctl.sources.world import Kind, World

SECONDS = 2.0
"""Completion that takes longer than this is of no use."""


_WORKLOADS = {
    "deploy": kinds.DEPLOYMENTS,
    "deployment": kinds.DEPLOYMENTS,
    "svc": kinds.SERVICES,
    "service": kinds.SERVICES,
    "sts": kinds.STATEFUL_SETS,
    "statefulset": kinds.STATEFUL_SETS,
    "ds": kinds.DAEMON_SETS,
    "daemonset": kinds.DAEMON_SETS,
    "rs": kinds.REPLICA_SETS,
    "job": kinds.JOBS,
    "cronjob": kinds.CRON_JOBS,
    "pod": kinds.PODS,
}


def pods(ctx: Any, incomplete: str) -> list[str]:
    """Pod names, and ``deploy/NAME``, ``svc/NAME`` and the like once the slash is there."""
    kind, slash, _ = incomplete.partition("/")
    if slash and (listed := _WORKLOADS.get(kind.lower())):
        return _starting(incomplete, (f"{kind}/{name}" for name in _names(ctx, listed)))
    return _starting(incomplete, [*_names(ctx, kinds.PODS), "deploy/", "svc/"])


def callers(ctx: Any, incomplete: str) -> list[str]:
    """Who may call: what `pods` has, and ``ingress``."""
    return sorted([*pods(ctx, incomplete), *_starting(incomplete, ["ingress"])])


def node_pods(ctx: Any, incomplete: str) -> list[str]:
    """The pods of this node."""

    def listed() -> list[str]:
        from meshctl.gather import on_node

        call = _so_far(ctx)
        return [pod.name for pod in on_node.pods(None, call.namespace, call.runtime or "auto").pods]

    return _starting(incomplete, _quietly(listed))


def service_names(ctx: Any, incomplete: str) -> list[str]:
    """Names of Services."""
    return _starting(incomplete, _names(ctx, kinds.SERVICES))


def services(ctx: Any, incomplete: str) -> list[str]:
    """``SERVICE:PORT`` for every port of every Service of the namespace."""
    return _starting(incomplete, _services(ctx))


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """Namespace names."""
    return _starting(incomplete, _names(ctx, kinds.NAMESPACES))


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in set(names) if name.startswith(incomplete))


def _names(ctx: Any, kind: Kind) -> list[str]:
    return _quietly(lambda: [item.get("metadata", {}).get("name", "") for item in _items(ctx, kind)])


def _services(ctx: Any) -> list[str]:
    def ports() -> list[str]:
        return [
            f"{item['metadata']['name']}:{port['port']}"
            for item in _items(ctx, kinds.SERVICES)
            for port in item.get("spec", {}).get("ports") or ()
        ]

    return _quietly(ports)


def _items(ctx: Any, kind: Kind) -> list[Any]:
    """The objects of the namespace that the line names."""

    def listed() -> list[Any]:
        call = _so_far(ctx)
        world = call.world()
        return list(world.objects(kind, _place(world, call) if kind.namespaced else None).items)

    return _quietly(listed)


def _quietly(listed: Callable[[], list[Any]]) -> list[Any]:
    """What is listed; nothing at all where that fails, however it does: a word is being typed, nobody reads errors."""
    with suppress(Exception), redirect_stderr(StringIO()):
        return listed()
    return []


def _place(world: World, call: Invocation) -> str | None:
    return None if call.all_namespaces else call.namespace or world.default_namespace() or None


def _so_far(ctx: Any) -> Invocation:
    """What the line says so far: the options before the command's name, then those after it."""
    names = {f.name for f in fields(Invocation)}
    given: dict[str, Any] = {}
    for params in (ctx.find_root().params, ctx.params):
        given.update({k: v for k, v in params.items() if k in names and v not in (None, [])})
    given.setdefault("request_timeout", SECONDS)
    return Invocation(**given)
