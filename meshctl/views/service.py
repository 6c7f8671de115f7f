"""A service by all of its pods: ``meshctl.describe-service/v1`` and its page."""

from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Table, Text
from meshctl.checks.stories import ServiceStory
from meshctl.kube.services import Service
from meshctl.views import pods as pods_view
from meshctl.views.pod_services import mesh_protocol

SCHEMA = "meshctl.describe-service/v1"


def document(story: ServiceStory) -> dict[str, Any]:
    """The service with its ports, endpoints, and each pod as describe-pod tells it."""
    service = story.service
    return {
        "schema": SCHEMA,
        "service": {
            "name": service.name,
            "namespace": service.namespace,
            "type": service.kind,
            "addresses": list(service.addresses),
            "headless": service.headless,
            "external_name": service.external_name or None,
            "selector": dict(service.selector),
            "ports": [
                {
                    "number": p.number,
                    "name": p.name or None,
                    "protocol": p.protocol,
                    "app_protocol": p.app_protocol or None,
                    "mesh_protocol": mesh_protocol(p)[0],
                    "target": p.target,
                }
                for p in service.ports
            ],
        },
        "endpoints": [
            {"address": e.address, "pod": e.pod or None, "ready": e.ready, "ports": [n for _, n in e.ports]}
            for e in story.endpoints
        ],
        "in_mesh": sum(1 for d, _ in story.pods if d.description.injection.mode != "none"),
        **{k: v for k, v in pods_view.document(story.pods).items() if k != "schema"},
    }


def _alias(service: Service) -> tuple[tuple[str, Line], ...]:
    return (
        ("is", "an alias in DNS (ExternalName): it has no address, selects no pods and has no endpoints of its own"),
        ("stands for", Span(service.external_name, "name")),
    )


def _backends(story: ServiceStory, inside: int) -> tuple[tuple[str, Line], ...]:
    service, ready = story.service, sum(1 for e in story.endpoints if e.ready)
    headless = "headless: its name leads to the pods directly" if service.headless else "-"
    selector = ", ".join(f"{k}={v}" for k, v in service.selector) or "none: its endpoints are written by somebody else"
    return (
        ("address", ", ".join(service.addresses) or headless),
        ("selects", selector),
        ("pods", f"{len(story.pods)}, of which {inside} in the mesh"),
        ("endpoints", f"{len(story.endpoints)}, of which {ready} ready"),
    )


def page(story: ServiceStory) -> Page:
    """What the service leads to, how its ports are understood, and what differs between its pods."""
    service = story.service
    blocks: list[Block] = [Heading((f"Service {service.name}", Span(f" in namespace {service.namespace}", "dim")), 1)]
    inside = sum(1 for d, _ in story.pods if d.description.injection.mode != "none")
    blocks.append(Facts(_alias(service) if service.external_name else _backends(story, inside)))
    table = []
    for p in service.ports:
        protocol, why = mesh_protocol(p)
        table.append((f"{p.number}/{p.protocol}", p.name or "-", p.target, Span(protocol, "strong"), why))
    columns = (
        Column("port", wrap=False),
        Column("name"),
        Column("port in the pod"),
        Column("taken as"),
        Column("because"),
    )
    blocks += [Heading("Ports"), Table(columns, tuple(table))]
    if not story.pods and service.selector:
        blocks.append(Note("no pod has these labels: every request ends with 'no healthy upstream' (503)", "bad"))
    if story.pods and inside < len(story.pods) and inside:
        out = ", ".join(d.pod.name for d, _ in story.pods if d.description.injection.mode == "none")
        blocks.append(Note(f"only a part of the pods is in the mesh; without a proxy: {out}", "warn"))
    if story.pods:
        several = pods_view.page(story.pods, title="Its pods") if len(story.pods) > 1 else pods_view.page(story.pods)
        blocks += several.blocks
    if not service.ports:
        blocks.append(Text("It has no ports."))
    return Page(f"Service {service.name}", tuple(blocks))
