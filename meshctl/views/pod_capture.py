"""What is captured of a pod's traffic, on the page."""

from collections.abc import Iterator

from meshctl.blocks import Block, Facts, Heading, Line, Note, Text
from meshctl.checks.evidence import Evidence
from meshctl.injection.description import Description
from meshctl.netfilter.capture import Capture
from meshctl.views import standing as standing_view


def capture_blocks(result: Description) -> Iterator[Block]:
    """The effective settings of what is captured."""
    capture = result.capture
    if capture is None:
        if result.capture_problem:
            yield Heading("What is captured")
            yield Note(result.capture_problem, "warn")
        return
    yield Heading("What is captured")
    if result.capture_problem:
        yield Note(f"istio-init would fail: {result.capture_problem}. Read as far as its arguments are known:", "bad")
    who = "the node's CNI plugin" if result.injection.cni else "istio-init"
    yield Text(
        f"Capturing means: rules in the pod's network namespace, written by {who}, send connections to the proxy."
    )
    yield Facts(_capture_rows(capture), 2)
    for note in capture.notes:
        yield Note(note, "warn")
    if result.cni_differs:
        told = tuple(
            f"{name.replace('_', ' ')}: {theirs or 'none'} instead of {mine or 'none'}"
            for name, mine, theirs in result.cni_differs
        )
        yield Note(
            "The CNI plugin reads the pod's annotations, and captures otherwise than these arguments:", "info", told
        )


def rules_note(it: Evidence) -> Iterator[Block]:
    """That the rules are not those that the arguments ask for."""
    if standing_view.broken_rules(it):
        yield Note(
            "This is what the arguments ask for. The rules that are there differ (MC301), so it is not what happens.",
            "bad",
        )


def _capture_rows(c: Capture) -> tuple[tuple[str, Line], ...]:
    def listed(text: str, nothing: str) -> str:
        return {"*": "all", "": nothing}.get(text.strip(), text.replace(",", ", "))

    incoming = listed(c.include_inbound_ports, "nothing")
    if c.include_inbound_ports == "*" and c.exclude_inbound_ports:
        incoming += f" except {listed(c.exclude_inbound_ports, '')}"
    outgoing = listed(c.include_outbound_ranges, "nothing")
    if c.exclude_outbound_ranges:
        outgoing += f" except to {listed(c.exclude_outbound_ranges, '')}"
    if c.exclude_outbound_ports:
        outgoing += f"{',' if c.exclude_outbound_ranges else ''} except to port {listed(c.exclude_outbound_ports, '')}"
    if c.include_outbound_ports:
        outgoing += f"; also everything to port {listed(c.include_outbound_ports, '')}"
    ids = f"user {c.proxy_uids}, group {c.proxy_gids}"
    rows: list[tuple[str, Line]] = [
        ("incoming TCP ports", f"{incoming} -> port {c.inbound_port} ({c.mode or 'REDIRECT'})"),
        ("outgoing TCP", f"{outgoing} -> port {c.outbound_port}"),
        ("not captured", f"what the proxy itself sends ({ids})"),
        ("DNS", "queries go to the agent (port 15053)" if c.dns else "not captured"),
    ]
    if c.exclude_interfaces:
        rows.append(("interfaces left alone", c.exclude_interfaces))
    if c.reroute_interfaces:
        rows.append(("interfaces as outgoing", c.reroute_interfaces))
    if c.owner_groups != "*" or c.owner_groups_exclude:
        rows.append(
            (
                "groups",
                f"{listed(c.owner_groups, 'none')}"
                + (f" except {c.owner_groups_exclude}" if c.owner_groups_exclude else ""),
            )
        )
    if c.drop_invalid:
        rows.append(("invalid packets", "dropped"))
    if c.dual_stack:
        rows.append(("addresses", "IPv4 and IPv6"))
    if c.native_nftables:
        rows.append(("written as", "nftables tables"))
    return tuple(rows)
