"""What is captured of a pod's traffic, on the page."""

from collections.abc import Iterator

from meshctl.blocks import Block, Facts, Heading, Line, Note, Text
from meshctl.checks.evidence import Evidence
from meshctl.injection.description import Description
from meshctl.netfilter.capture import Capture, split
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
    yield Facts(capture_rows(capture), 2)
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


def listed(text: str) -> str:
    """A list as Istio gets it, in words: ``all``, ``80``, ``80 and 443``; empty for an empty one."""
    if text.strip() == "*":
        return "all"
    entries = [entry.strip() for entry in split(text)]
    return " and ".join((", ".join(entries[:-1]), entries[-1]) if len(entries) > 1 else entries)


def _named(what: str, text: str) -> str:
    return f"{what}{'s' if len(split(text)) > 1 else ''} {listed(text)}"


def _incoming(c: Capture) -> str:
    if not split(c.include_inbound_ports):
        return "none"
    left_out = f" except {listed(c.exclude_inbound_ports)}" if split(c.exclude_inbound_ports) else ""
    shown = listed(c.include_inbound_ports) + (left_out if c.include_inbound_ports == "*" else "")
    return f"{shown} -> port {c.inbound_port} ({c.mode or 'REDIRECT'})"


def _outgoing(c: Capture) -> str:
    """What goes to the proxy; `-q` takes its ports whatever their address, but for what is excluded."""
    to = [listed(c.exclude_outbound_ranges)] if split(c.exclude_outbound_ranges) else []
    to += [_named("port", c.exclude_outbound_ports)] if split(c.exclude_outbound_ports) else []
    taken = [listed(c.include_outbound_ranges)] if split(c.include_outbound_ranges) else []
    if split(c.include_outbound_ports) and taken != ["all"]:
        taken.append(f"everything to {_named('port', c.include_outbound_ports)}")
    if not taken:
        return "none"
    left_out = f", except to {' and to '.join(to)}" if to else ""
    return f"{'; also '.join(taken)}{left_out} -> port {c.outbound_port}"


def capture_rows(c: Capture) -> tuple[tuple[str, Line], ...]:
    """Each setting that decides what is captured, named and in words."""
    ids = f"{_named('user', c.proxy_uids)}, {_named('group', c.proxy_gids)}"
    rows: list[tuple[str, Line]] = [
        ("incoming TCP ports", _incoming(c)),
        ("outgoing TCP", _outgoing(c)),
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
                (listed(c.owner_groups) or "none")
                + (f" except {listed(c.owner_groups_exclude)}" if c.owner_groups_exclude else ""),
            )
        )
    if c.drop_invalid:
        rows.append(("invalid packets", "dropped"))
    if c.dual_stack:
        rows.append(("addresses", "IPv4 and IPv6"))
    if c.native_nftables:
        rows.append(("written as", "nftables tables"))
    return tuple(rows)
