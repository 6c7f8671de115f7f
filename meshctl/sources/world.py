"""What every source of truth offers, recorded or live: Kubernetes objects and, per pod and node, named parts.

A part has the name that it has in the snapshot format (``netns/iptables-save.txt``, ``envoy/config_dump.json``,
``runtime/sandbox.json``, ``logs/istio-proxy.txt`` ...), whether it is read from a file or fetched just now, so
nothing above a source knows which it is talking to.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A Kubernetes resource kind: `plural` and `group` (empty for the core group), and the versions to ask for."""

    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True

    @property
    def file_stem(self) -> str:
        """The name of its file in a snapshot, without ``.json``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class Part:
    """Raw bytes with the name to cite, or the reason why there are none and what to do about it.

    `denied`: there may be some, but this user may not read them (RBAC, or an admission policy).
    """

    source: str
    content: bytes | None
    gap: str = ""
    denied: bool = False

    @property
    def there(self) -> bool:
        """Whether anything was read."""
        return self.content is not None


@dataclass(frozen=True, slots=True)
class Objects:
    """Raw Kubernetes objects as the API returns them; `recorded` is False where this kind could not be looked at.

    `broken` tells a recording that cannot be read from one that never was.
    """

    source: str
    items: Sequence[Mapping[str, Any]]
    recorded: bool = True
    gap: str = ""
    broken: bool = False


class World(Protocol):
    """A snapshot, a live cluster, or a node: fetches, never judges.

    `objects` and `part` do not raise for what is merely absent (they say so in `gap`); they raise Unavailable,
    NoAccess or BadInput where the source itself fails.
    """

    @property
    def name(self) -> str:
        """How to cite it: the snapshot's path, or the context's name."""
        ...

    @property
    def live(self) -> bool:
        """Whether the answers are of this moment."""
        ...

    def now(self) -> datetime:
        """The moment at which ages are judged: the clock, or the recording's ``captured_at``."""
        ...

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that the recording covers; empty where the source covers a whole cluster."""
        ...

    def default_namespace(self) -> str:
        """The namespace to use where the user names none; empty where there is no such choice."""
        ...

    def root_namespace(self) -> str:
        """The namespace of the mesh's control plane: as the user names it, else as what is there tells."""
        ...

    def prefetch(
        self, lists: Iterable[tuple[Kind, str | None]], singles: Iterable[tuple[Kind, str, str]] = (), /
    ) -> None:
        """Fetch lists (kind, namespace) and single objects (kind, namespace, name) side by side, where that helps.

        It changes no answer, only how long one waits.
        """
        ...

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        """Every object of a kind, in one namespace or (None) in all, that a label selector selects."""
        ...

    def one(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        """One object by name (ConfigMaps are only ever read this way); None where it is not there."""
        ...

    def has_now(self, kind: Kind, namespace: str, name: str, /) -> bool | None:
        """Whether an object is there at this moment, whatever a list said before; None where nobody can be asked."""
        ...

    def user_of(self, namespace: str, pod: str, container: str, /) -> tuple[int, int] | None:
        """As whom (uid, gid) a running container's first process runs; None where it cannot be asked."""
        ...

    def part(self, namespace: str, pod: str, name: str) -> Part:
        """One named part of a pod."""
        ...

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        """Several parts of a pod at once, so that a live source can fetch them together."""
        ...

    def part_names(self, namespace: str, pod: str, folder: str) -> tuple[str, ...]:
        """The names of a pod's parts in one folder (``runtime``, ``logs``, ``netns`` ...)."""
        ...

    def node_part(self, node: str, name: str) -> Part:
        """One named part of a node."""
        ...
