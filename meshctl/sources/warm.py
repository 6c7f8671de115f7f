"""Fetching ahead: a live world fetches what will be asked for side by side, a recording has it anyway."""

from collections.abc import Iterable

from meshctl.sources.world import Kind, World


def warm(
    world: World,
    lists: Iterable[tuple[Kind, str | None]],
    singles: Iterable[tuple[Kind, str, str]] = (),
) -> None:
    """Let the world fetch lists (kind, namespace) and single objects (kind, namespace, name) at once.

    It changes no answer, only how long one waits: a world that cannot fetch ahead does nothing.
    """
    prefetch = getattr(world, "prefetch", None)
    if prefetch is not None:
        prefetch(lists, singles)
