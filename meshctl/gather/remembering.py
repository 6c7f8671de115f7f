"""A source that is asked for the same thing twice, once: what ``check`` reads to judge pods, its traces read again."""

from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.sources.world import Kind, Objects, Part, World

MOST_PODS = 40
"""Of so many pods the parts are kept; a config dump alone is about half a megabyte."""


class Remembering:
    """A world that keeps what it fetched, until it has seen more than `most` pods: then it keeps no parts (`full`)."""

    def __init__(self, world: World, most: int = MOST_PODS) -> None:
        self._world = world
        self._most = most
        self._parts: dict[tuple[str, str], dict[str, Part]] = {}
        self._objects: dict[tuple[Kind, str | None, str], Objects] = {}
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        """As `World.objects`, fetched once."""
        key = (kind, namespace, selector)
        if key not in self._objects:
            self._objects[key] = self._world.objects(kind, namespace, selector)
        return self._objects[key]

    def part(self, namespace: str, pod: str, name: str) -> Part:
        """As `World.part`, fetched once."""
        return self.parts(namespace, pod, (name,))[name]

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        """As `World.parts`: only those are fetched that were not yet."""
        known = self._parts.get((namespace, pod), {})
        missing = [name for name in names if name not in known]
        found = {**known, **(self._world.parts(namespace, pod, missing) if missing else {})}
        if not self.full:
            self._parts[(namespace, pod)] = found
            self.full = len(self._parts) > self._most
        if self.full:
            self._parts.clear()
        return {name: found[name] for name in names if name in found}
