"""What the tables of a proxy's configuration share: the page, the Istio object behind a row, what Envoy rejected."""

from collections.abc import Iterable

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Table
from meshctl.envoy.model.basics import Failure, IstioConfig
from meshctl.origin import Origin

_OBJECTS = {
    "virtual-service": "VirtualService",
    "destination-rule": "DestinationRule",
    "service-entry": "ServiceEntry",
    "sidecar": "Sidecar",
    "gateway": "Gateway",
    "envoyfilter": "EnvoyFilter",
}


def istio_shown(config: IstioConfig | None) -> str:
    """The object behind a resource: ``VirtualService reviews.default``; empty where it names none."""
    if config is None:
        return ""
    return f"{_OBJECTS.get(config.kind, config.kind)} {config.name}.{config.namespace}"


def object_document(config: IstioConfig | None) -> dict[str, str] | None:
    """The object behind a resource in a document; None where it names none."""
    if config is None:
        return None
    return {"kind": _OBJECTS.get(config.kind, config.kind), "namespace": config.namespace, "name": config.name}


def path(origin: Origin | None) -> str | None:
    """Where in the dump a row comes from."""
    return origin.path if origin is not None else None


def titled(title: str, name: str, blocks: Iterable[Block], empty: str) -> Page:
    """The page of one table; `empty` is said where there is nothing to show."""
    found = tuple(blocks)
    heading = Heading((f"{title} of ", Span(name, "name")), 1)
    return Page(f"{title} of {name}", (heading, *(found or (Note(empty),))))


def table(
    columns: tuple[Column, ...], lines: Iterable[tuple[Line, ...]], rejected: Iterable[tuple[str, Failure | None]] = ()
) -> tuple[Block, ...]:
    """What Envoy rejected of what is shown, each once, above the rows; nothing where there are no rows."""
    failed = {what: failure for what, failure in rejected if failure is not None}
    notes = (Note(f"Envoy rejected {what}: {failure.details}", "bad") for what, failure in failed.items())
    rows = tuple(lines)
    return (*notes, Table(columns, rows)) if rows else ()
