"""Builds a group's command when it is called: Typer builds all of them, two dozen parameters each, to call one."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import typer

from meshctl.cli.group import without_types
from meshctl.cli.lean import lean


class Unbuilt(MutableMapping[str, Any]):
    """A group's commands by name; what is not built yet is built when it is asked for."""

    def __init__(self, registered: list[Any]) -> None:
        self._registered = {info.name: info for info in registered}
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            info = self._registered[name]
            made = typer.main.get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)
            self._built[name] = without_types(lean(made))
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        self._built.pop(name, None)
        self._registered.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._built or name in self._registered

    def __iter__(self) -> Iterator[str]:
        return iter({**self._registered, **self._built})

    def __len__(self) -> int:
        return len({**self._registered, **self._built})


def built(app: typer.Typer) -> Any:
    """The Typer app as a command; a group's own commands are left for later."""
    if len(app.registered_commands) < 2 or app.registered_groups:
        return without_types(lean(typer.main.get_command(app)))
    registered, app.registered_commands = app.registered_commands, []
    try:
        group = typer.main.get_group(app)
    finally:
        app.registered_commands = registered
    lean(group)
    group.commands = Unbuilt(registered)
    return group
