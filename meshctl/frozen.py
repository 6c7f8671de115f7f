"""``@dataclass(frozen=True, slots=True)`` at a twentieth of its price at import; everything else is the library's own.

The library compiles six functions for each class when the class is made, about a millisecond; meshctl has hundreds of
classes and a command uses a few dozen. Here the class is made at once, and its ``__init__`` is compiled when the first
instance is; comparing, hashing and showing need nothing compiled. `fields`, `replace`, `asdict` and ``match`` work as
ever. docs/decisions/005-start-up.md has the numbers.
"""

import dataclasses
from inspect import get_annotations
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        """The library's decorator, lazily compiled for frozen slotted classes that derive from nothing."""
        if cls is None:
            return lambda decorated: dataclass(decorated, **options)
        lazily = {"frozen", "slots", "kw_only"} >= options.keys() and options.get("frozen") and options.get("slots")
        if not lazily or cls.__bases__ != (object,) or "ClassVar" in str(get_annotations(cls)):
            return dataclasses.dataclass(**options)(cls)
        return _made(cls, bool(options.get("kw_only")))


_KIND: Any = getattr(dataclasses, "_FIELD")  # noqa: B009 - fields() and replace() look at it, and it has no public name


def _made(cls: type, kw_only: bool) -> type:
    """The class again, with slots in place of its defaults."""
    body = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    described = {
        name: _described(name, kind, body.pop(name, dataclasses.MISSING), kw_only)
        for name, kind in get_annotations(cls).items()
    }
    body["__slots__"] = tuple(described)
    body["__match_args__"] = () if kw_only else tuple(described)
    body["__dataclass_fields__"] = described
    body["__dataclass_params__"] = _PARAMETERS
    compared = tuple(name for name, field in described.items() if field.compare)
    body.setdefault("_values_compared", staticmethod(_values(compared)))
    for name, function in _BEHAVIOUR.items():
        body.setdefault(name, function)
    if body.get("__hash__") is None:
        body["__hash__"] = _hash
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _described(name: str, kind: Any, default: Any, kw_only: bool) -> Any:
    field: Any = default if isinstance(default, dataclasses.Field) else dataclasses.field(default=default)
    field.name, field.type, field.kw_only, field._field_type = name, kind, kw_only, _KIND
    if field.default.__class__.__hash__ is None:
        raise ValueError(f"mutable default {type(field.default)} for field {name} is not allowed: use default_factory")
    return field


def _values(names: tuple[str, ...]) -> Any:
    if not names:
        return lambda _self: ()
    return attrgetter(*names) if len(names) > 1 else attrgetter(names[0])


def _compile(cls: Any) -> None:
    """Give the class its real ``__init__``, which sets each slot through its descriptor."""
    names: dict[str, Any] = {"_MISSING": dataclasses.MISSING}
    parameters, lines = ["self"], []
    fields = cls.__dataclass_fields__
    if fields and cls.__match_args__ == ():
        parameters.append("*")
    for name, field in fields.items():
        names[f"_set_{name}"] = cls.__dict__[name].__set__
        value = name
        if field.default_factory is not dataclasses.MISSING:
            names[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_MISSING")
            value = f"_make_{name}() if {name} is _MISSING else {name}"
        elif field.default is not dataclasses.MISSING:
            names[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"  _set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or ["  pass"]), names)
    initialise = names["__init__"]
    initialise.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = initialise


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    _compile(type(self))
    self.__init__(*args, **kwargs)


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self is other or self._values_compared(self) == self._values_compared(other)


def _hash(self: Any) -> int:
    return hash(self._values_compared(self))


def _repr(self: Any) -> str:
    shown = (f"{n}={getattr(self, n)!r}" for n, field in self.__dataclass_fields__.items() if field.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_set(_self: Any, name: str, _value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__dataclass_fields__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__dataclass_fields__, state, strict=True):
        object.__setattr__(self, name, value)


_BEHAVIOUR = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _refuse_set,
    "__delattr__": _refuse_delete,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Model:
    """Its parameters are those of every class that is made here."""


_PARAMETERS = _Model.__dict__["__dataclass_params__"]
