"""A group of commands, as its help shows it."""

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """Lists its commands in the order in which they are registered, each with its whole first sentence."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """The commands, most used first."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """What each command does; Typer would cut it at 45 letters."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _sentence(self.get_command(ctx, name))) for name in self.list_commands(ctx)])


def _sentence(command: Any) -> str:
    return " ".join(str(command.help or "").partition("\n\n")[0].split()).removesuffix(".")


def without_types(command: Any) -> Any:
    """The command, whose help names what an argument is and not which type of Python holds it (``<list[str]>``)."""
    for param in command.params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda **_: None
    for below in getattr(command, "commands", {}).values():
        without_types(below)
    return command
