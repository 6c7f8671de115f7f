"""ReferenceGrants: which routes of other namespaces may lead to a namespace's Services.

Fields: ``gateway.networking.k8s.io/v1`` (Gateway API 1.4). Source: ``BackendAllowed``, 1.30.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields

_GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Grants:
    """What is granted: the kind and namespace of the route, the Service's namespace and name (empty: all of them).

    `given` None: the grants were not recorded.
    """

    given: frozenset[tuple[str, str, str, str]] | None = None

    @classmethod
    def read(cls, items: Iterable[Mapping[str, Any]]) -> "Grants":
        """Read the ReferenceGrants that there are; only those about Services count."""
        return cls(frozenset(one for raw in items for one in _grants(raw)))

    def allow(self, kind: str, namespace: str, to: str, name: str) -> bool | None:
        """Whether a route of one namespace may lead to a Service of another; None where that is not known."""
        if self.given is None:
            return None
        return not self.given.isdisjoint({(kind, namespace, to, name), (kind, namespace, to, "")})


def _grants(raw: Mapping[str, Any]) -> Iterable[tuple[str, str, str, str]]:
    top = Fields(raw, "", [])
    home, spec = top.below("metadata").text("namespace"), top.below("spec")
    for source in spec.each("from"):
        for to in spec.each("to"):
            if source.text("group") == _GROUP and (to.text("group"), to.text("kind")) == ("", "Service"):
                yield source.text("kind"), source.text("namespace"), home, to.text("name")
