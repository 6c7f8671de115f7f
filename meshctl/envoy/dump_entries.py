"""Where the resources of a dump are, by name: found without parsing them."""

from collections.abc import Iterator

from meshctl.envoy.model.basics import Failure, State, Status
from meshctl.envoy.reading import Json


class Entry:
    """Where a resource is in the document; read when it is asked for. `holder` has its version and its error."""

    __slots__ = ("also", "error", "holder", "key", "state")

    def __init__(self, holder: Json, key: str, state: State, error: Json | None = None) -> None:
        self.holder = holder
        self.key = key
        self.state: State = state
        self.error = error if error is not None else holder
        self.also: tuple[State, ...] = ()

    @property
    def message(self) -> Json:
        """The resource; of a rejected one what Envoy was given, which may be no more than its name."""
        if self.state != "rejected":
            return self.holder.below(self.key)
        given = self.error.below("error_state").below("failed_configuration")
        if not given.has("name") and self.error.has("name"):
            given.raw = {**given.raw, "name": self.error.value("name")}
        return given

    @property
    def status(self) -> Status:
        """Its version, and what became of later ones."""
        failure = self.error.below("error_state")
        told = Failure(failure.text("details"), failure.text("version_info"), failure.text("last_update_attempt"))
        holder = self.holder
        version, updated = holder.text("version_info"), holder.text("last_updated")
        return Status(self.state, version, updated, told if failure else None, self.also)


def keep(into: dict[str, Entry], each: Json, key: str, state: State, fallback: str = "") -> None:
    """Remember a resource; the first of a name wins, except over one that is only warming."""
    there = each.has(key)
    if not there and each.has("error_state"):
        name = each.text("name") or each.at("error_state", "failed_configuration").text("name")
        into.setdefault(name or fallback, Entry(each, key, "rejected"))
        return
    inner = each.value(key)
    named = inner.get("name") if isinstance(inner, dict) else None
    name = named if isinstance(named, str) and named else each.text("name") or fallback
    old = into.get(name)
    if old is None:
        into[name] = Entry(each, key, state)
    elif state == "warming":
        old.also, old.error = (*old.also, state), each
    elif fallback:
        into[f"{name}#{fallback.rpartition('#')[2]}"] = Entry(each, key, state)


def keep_states(into: dict[str, Entry], each: Json) -> None:
    """Remember a dynamic listener by its best state, and what became of later versions."""
    states = [(state, key) for state, key in _STATES if each.has(key)]
    if states:
        state, key = states[0]
        entry = Entry(each.below(key), "listener", state, each)
        entry.also = tuple(other for other, _ in states[1:])
        name = each.text("name") or entry.message.text("name")
    elif each.has("error_state"):
        entry = Entry(each, "listener", "rejected")
        name = each.text("name") or entry.message.text("name")
    else:
        return
    into.setdefault(name or each.path, entry)


_STATES: tuple[tuple[State, str], ...] = (
    ("active", "active_state"),
    ("warming", "warming_state"),
    ("draining", "draining_state"),
)


def ports(message: Json) -> Iterator[int]:
    """The ports of a listener, without parsing the rest of it."""
    yield message.at("address", "socket_address").whole("port_value")
    for extra in message.each("additional_addresses"):
        yield extra.at("address", "socket_address").whole("port_value")
