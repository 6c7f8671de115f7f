"""What a route does to a request's headers, as a VirtualService writes it.

Source: ``Headers`` of ``networking/v1alpha3/virtual_service.proto`` and ``TranslateHeadersOperations``, 1.30.
"""

from collections.abc import Iterable, Mapping

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Headers of the request, by lower-case name: some are removed, then some replaced, then some added to.

    Values are as written: Envoy fills in what stands between percent signs. `host` is what Host becomes, empty for as
    it is.
    """

    remove: tuple[str, ...] = ()
    put: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    host: str = ""


UNCHANGED = HeaderChanges()
"""No change."""

_HOST = (":authority", "host")


def read_changes(headers: Fields) -> HeaderChanges:
    """Read ``headers`` of a route or a destination."""
    request = headers.below("request")
    return of_pairs(request.texts("remove"), request.strings("set"), request.strings("add"))


def of_pairs(remove: Iterable[str], put: Mapping[str, str], add: Mapping[str, str]) -> HeaderChanges:
    """The changes that are written; pseudo headers stay as they are, but for the host."""
    host = next((value for said in (put, add) for name, value in said.items() if name.lower() in _HOST and value), "")
    removed = tuple(name.lower() for name in remove if not _is_internal(name))
    return HeaderChanges(removed, _of_headers(put), _of_headers(add), host)


def _of_headers(said: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in sorted(said.items()) if not _is_internal(name))


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"
