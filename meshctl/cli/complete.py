"""Shell completion of names: pods, workloads, Services and namespaces of the world that the line names so far."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from meshctl.cli.options import Invocation
from meshctl.errors import MeshctlError
from meshctl.sources import kinds
from meshctl.sources.world import Kind, World

SECONDS = 2.0
"""Completion that takes longer than this is of no use."""


def pods(ctx: Any, incomplete: str) -> list[str]:
    """Pod names, and ``deploy/`` and ``svc/`` names once the slash is there."""
    kind, slash, _ = incomplete.partition("/")
    listed = {"deploy": kinds.DEPLOYMENTS, "svc": kinds.SERVICES, "sts": kinds.STATEFUL_SETS}.get(kind)
    if slash and listed:
        return _starting(incomplete, (f"{kind}/{name}" for name in _names(ctx, listed)))
    return _starting(incomplete, [*_names(ctx, kinds.PODS), "deploy/", "svc/"])


def services(ctx: Any, incomplete: str) -> list[str]:
    """``SERVICE:PORT`` for every port of every Service of the namespace."""
    return _starting(incomplete, _services(ctx))


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """Namespace names."""
    return _starting(incomplete, _names(ctx, kinds.NAMESPACES))


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in set(names) if name.startswith(incomplete))


def _names(ctx: Any, kind: Kind) -> list[str]:
    return [item.get("metadata", {}).get("name", "") for item in _items(ctx, kind)]


def _services(ctx: Any) -> list[str]:
    return [
        f"{item['metadata']['name']}:{port['port']}"
        for item in _items(ctx, kinds.SERVICES)
        for port in item.get("spec", {}).get("ports") or ()
    ]


def _items(ctx: Any, kind: Kind) -> list[Any]:
    """The objects of the namespace that the line names; nothing at all where the world cannot be reached."""
    call = _so_far(ctx)
    try:
        world = call.world()
        return list(world.objects(kind, _place(world, call) if kind.namespaced else None).items)
    except (MeshctlError, KeyError, TypeError):
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
