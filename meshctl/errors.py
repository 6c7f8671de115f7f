"""The error tree and the exit codes; the one boundary that prints them is ``meshctl.cli.app``.

MeshctlError            1  a fault of meshctl itself
├── BadInput            2  bad usage, or input that cannot be read
├── NotFound            3  a pod, namespace, file or snapshot that the user named is not there
├── NoAccess            4  a permission, an RBAC rule or an admission policy refuses
└── Unavailable         5  unreachable, hanging, or gone while being read
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller (DESIGN.md, "Errors and exit codes")."""

    OK = 0
    INTERNAL = 1
    BAD_INPUT = 2
    NOT_FOUND = 3
    NO_ACCESS = 4
    UNAVAILABLE = 5
    FINDINGS = 10
    INTERRUPTED = 130


class MeshctlError(Exception):
    """Something went wrong in a way that meshctl can name; `hint` says what to do next."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, also as the cause of another: Python 3.11 wraps what is raised in a class's body."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, KeyboardInterrupt)


class BadInput(MeshctlError):
    """The usage is wrong, or the input cannot be read; the message names the file and the place."""

    exit_code = ExitCode.BAD_INPUT


class NotFound(MeshctlError):
    """What the user named is not there."""

    exit_code = ExitCode.NOT_FOUND


class NoAccess(MeshctlError):
    """A permission is missing: the message says which, the hint how to get it."""

    exit_code = ExitCode.NO_ACCESS


class Unavailable(MeshctlError):
    """The other side cannot be reached, hangs, or went away."""

    exit_code = ExitCode.UNAVAILABLE
