"""What routes, virtual hosts and whole route configurations do to the headers of a request before it is sent on."""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass

AppendAction: TypeAlias = Literal[
    "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"
]


@dataclass(frozen=True, slots=True)
class AddedHeader:
    """A header that is added or set; `value` None is made of the connection, so it cannot be told.

    `keeps_empty`: also where its value turns out to be empty.
    """

    name: str
    value: str | None
    action: AppendAction
    keeps_empty: bool = False


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """One level's changes: what is removed goes before what is added. Names in lower case."""

    removed: tuple[str, ...] = ()
    added: tuple[AddedHeader, ...] = ()


NO_CHANGES = HeaderChanges()
