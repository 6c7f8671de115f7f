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
    """Pod names; NAMESPACE/NAME, NAME.NAMESPACE, ``deploy/NAME``, ``svc/NAME`` and the like once they are begun."""
    return _opened(_pods(ctx, incomplete), lambda kind: _pods(ctx, kind))


def _pods(ctx: Any, incomplete: str) -> list[str]:
    kind, slash, _ = incomplete.partition("/")
    listed = _WORKLOADS.get(kind.lower())
    if slash and listed is None:
        return _starting(incomplete, (f"{kind}/{name}" for name in _names(ctx, kinds.PODS, kind)))
    before, listed = (f"{kind}/", listed) if slash and listed else ("", kinds.PODS)
    found = [*_names(ctx, listed), *_dotted(ctx, listed, incomplete.removeprefix(before))]
    kinds_of_names = () if slash else ("deploy/", "svc/", *_spaces(ctx, incomplete))
    return _starting(incomplete, [*(f"{before}{name}" for name in found), *kinds_of_names])


def _opened(found: list[str], below: Callable[[str], list[str]]) -> list[str]:
    """What is below the only candidate where that ends in a slash: a shell would put a space behind it."""
    return (below(found[0]) or found) if len(found) == 1 and found[0].endswith("/") else found


def _spaces(ctx: Any, incomplete: str) -> list[str]:
    """``NAMESPACE/`` for namespaces, once a letter of one is typed."""
    return [f"{name}/" for name in _names(ctx, kinds.NAMESPACES)] if incomplete else []


def _dotted(ctx: Any, kind: Kind, incomplete: str) -> list[str]:
    """NAME.NAMESPACE in all namespaces, once there is a dot."""
    if "." not in incomplete:
        return []
    return _quietly(lambda: [f"{m['name']}.{m['namespace']}" for m in _metadata(_items(ctx, kind, everywhere=True))])


def callers(ctx: Any, incomplete: str) -> list[str]:
    """Who may call: what `pods` has, and ``ingress``."""
    return sorted([*pods(ctx, incomplete), *_starting(incomplete, ["ingress"])])


def node_pods(ctx: Any, incomplete: str) -> list[str]:
    """The pods of this node; NAMESPACE/NAME and NAME.NAMESPACE once they are begun."""

    def listed() -> list[str]:
        from meshctl.gather import on_node

        call = _so_far(ctx)
        spelt = "/" in incomplete or "." in incomplete
        found = on_node.pods(None, None if spelt else call.namespace, call.runtime or "auto").pods
        full = [name for pod in found for name in (f"{pod.namespace}/{pod.name}", f"{pod.name}.{pod.namespace}")]
        return [*(pod.name for pod in found if not spelt), *(full if spelt else ())]

    return _starting(incomplete, _quietly(listed))


def service_names(ctx: Any, incomplete: str) -> list[str]:
    """Names of Services; NAMESPACE/NAME and NAME.NAMESPACE once they are begun."""
    return _opened(_service_names(ctx, incomplete), lambda space: _service_names(ctx, space))


def _service_names(ctx: Any, incomplete: str) -> list[str]:
    space, slash, _ = incomplete.partition("/")
    if slash:
        return _starting(incomplete, (f"{space}/{name}" for name in _names(ctx, kinds.SERVICES, space)))
    found = [*_names(ctx, kinds.SERVICES), *_dotted(ctx, kinds.SERVICES, incomplete), *_spaces(ctx, incomplete)]
    return _starting(incomplete, found)


def services(ctx: Any, incomplete: str) -> list[str]:
    """``SERVICE:PORT`` for every port of every Service of the namespace, ``SERVICE.NAMESPACE:PORT`` after a dot."""
    return _starting(incomplete, _ports(_items(ctx, kinds.SERVICES, everywhere="." in incomplete), "." in incomplete))


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """Namespace names."""
    return _starting(incomplete, _names(ctx, kinds.NAMESPACES))


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in set(names) if name.startswith(incomplete))


def _names(ctx: Any, kind: Kind, namespace: str | None = None) -> list[str]:
    return [meta.get("name", "") for meta in _metadata(_items(ctx, kind, namespace))]


def _metadata(items: list[Any]) -> list[Any]:
    return _quietly(lambda: [item.get("metadata", {}) for item in items])


def _ports(items: list[Any], dotted: bool) -> list[str]:
    def ports() -> list[str]:
        return [
            f"{meta['name']}{'.' + meta['namespace'] if dotted else ''}:{port['port']}"
            for item, meta in zip(items, _metadata(items), strict=True)
            for port in item.get("spec", {}).get("ports") or ()
        ]

    return _quietly(ports)


def _items(ctx: Any, kind: Kind, namespace: str | None = None, everywhere: bool = False) -> list[Any]:
    """The objects of a namespace, else of the one that the line names."""

    def listed() -> list[Any]:
        call = _so_far(ctx)
        world = call.world()
        place = None if everywhere or not kind.namespaced else namespace or _place(world, call)
        return list(world.objects(kind, place).items)

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
