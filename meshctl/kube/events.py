"""Events about pods (core/v1 Event): what the scheduler, the kubelet and controllers did or failed to do."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `container` is set where it is about one, `count` how often it happened."""

    reason: str
    message: str
    warning: bool
    kind: str
    name: str
    namespace: str
    uid: str = ""
    container: str = ""
    first_at: datetime | None = None
    count: int = 1
    reporter: str = ""


def event(raw: Mapping[str, Any]) -> Event:
    """Read one Event of core/v1 (``eventTime`` is used where the older times are empty)."""
    flaws: list[Flaw] = []
    top = Fields(raw, "", flaws)
    about = top.below("involvedObject")
    moment = top.time("eventTime")
    path = about.text("fieldPath")
    return Event(
        reason=top.text("reason"),
        message=top.text("message"),
        warning=top.text("type") == "Warning",
        kind=about.text("kind"),
        name=about.text("name"),
        namespace=about.text("namespace"),
        uid=about.text("uid"),
        container=path.partition("{")[2].rstrip("}"),
        first_at=top.time("firstTimestamp") or moment,
        count=top.number("count") or 1,
        reporter=top.text("reportingComponent") or top.below("source").text("component"),
    )


def about(raws: Iterable[Mapping[str, Any]], kind: str, namespace: str, name: str) -> tuple[Event, ...]:
    """The events about one object, oldest first."""
    found = []
    for raw in raws:
        involved = raw.get("involvedObject")
        if not isinstance(involved, Mapping) or involved.get("name") != name or involved.get("kind") != kind:
            continue
        if involved.get("namespace", namespace) == namespace:
            found.append(event(raw))
    return tuple(sorted(found, key=lambda e: (e.first_at is None, e.first_at and e.first_at.timestamp())))
