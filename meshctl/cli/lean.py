"""Keeps pydantic out of the start-up: Typer loads it to coerce even a parameter that was not given (0.1 s).

Most values are absent, or text that stays text; those need no coercion. Everything else goes to Typer's own.
"""

from typing import Any


class _Plain:
    """Stands where Typer keeps a parameter's coercion until the first value that needs the real one."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as Typer would give it to the command."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        wanted = param.type_descriptor.annotation
        if wanted is bool and isinstance(value, bool):
            return value
        if wanted is str and isinstance(value, str) and not several:
            return value
        if wanted == list[str] and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return list(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def lean(command: Any) -> Any:
    """Let a command and those below it coerce only what needs it; a Typer that works otherwise is left alone."""
    every = command.get_params
    command.get_params = lambda ctx: [_leaned(param) for param in every(ctx)]
    for below in getattr(command, "commands", {}).values():
        lean(below)
    return command


def _leaned(param: Any) -> Any:
    info = getattr(getattr(param, "type_descriptor", None), "parameter_info", None)
    custom = getattr(info, "parser", None) or getattr(info, "click_type", None)
    if getattr(param, "_runtime_param", info) is None and info is not None and not custom:
        param._runtime_param = _Plain()
    return param
