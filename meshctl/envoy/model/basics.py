"""What every part of a proxy's configuration has: its place, its version, its source, and what is not known."""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.origin import Origin
from meshctl.words import show_address

State: TypeAlias = Literal["static", "active", "warming", "draining", "rejected"]
Direction: TypeAlias = Literal["inbound", "outbound", "unspecified"]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A piece of configuration that meshctl can name but not judge."""

    text: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens or is reached: a socket, a Unix socket (`pipe`), or a listener in the same process."""

    host: str
    port: int = 0
    kind: Literal["socket", "pipe", "internal"] = "socket"
    protocol: Literal["TCP", "UDP"] = "TCP"

    def __str__(self) -> str:
        match self.kind:
            case "pipe":
                return f"unix:{self.host}"
            case "internal":
                return f"internal:{self.host}"
            case "socket":
                return show_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class IstioConfig:
    """The object that a resource was made from (``metadata.filter_metadata.istio.config``); `kind` as in the path."""

    kind: str
    namespace: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}.{self.namespace}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Envoy refused the latest version of a resource (``error_state``): what is active is older, or nothing."""

    details: str
    version: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Which version of a resource this is, and what became of later ones."""

    state: State
    version: str = ""
    updated: str = ""
    failure: Failure | None = None
    also: tuple[State, ...] = ()
