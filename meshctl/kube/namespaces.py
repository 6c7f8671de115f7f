"""Namespaces: their labels decide about injection and ambient mode."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.origin import NOWHERE, Origin


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace with its labels and annotations."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    phase: str = ""
    origin: Origin = NOWHERE


def namespace(raw: Mapping[str, Any], source: str = "") -> Namespace:
    """Read one Namespace object."""
    flaws: list[Flaw] = []
    top = Fields(raw, "", flaws)
    meta = top.below("metadata")
    return Namespace(
        meta.text("name"),
        meta.strings("labels"),
        meta.strings("annotations"),
        meta.time("creationTimestamp"),
        top.below("status").text("phase"),
        Origin(source),
    )
