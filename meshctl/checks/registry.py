"""All checks, in the order of their ids. To add one: write its module (ID, TITLE, check) and name it here."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from meshctl.checks import (
    ambient_not_carried,
    annotation_on_workload,
    annotation_value,
    app_as_proxy_user,
    app_before_proxy,
    bad_ending,
    both_namespace_labels,
    cancelling_settings,
    certificate_expiry,
    cluster_without_endpoints,
    conflicting_protocols,
    empty_setting,
    failed_events,
    failing_init,
    host_network,
    image_auto,
    init_without_proxy,
    inject_as_annotation,
    job_with_sidecar,
    lost_probe,
    missing_labels,
    misspelt_annotation,
    needless_hold,
    nobody_listens,
    not_injected,
    not_ready,
    outdated_proxy,
    partial_resources,
    port_range,
    privileged_ports_without_capture,
    proxy_ahead,
    refused_configuration,
    removed_annotation,
    route_without_cluster,
    rules_without_proxy,
    stale_configuration,
    swallowed_flag,
    two_meshes,
    unapplied_annotation,
    undeclared_port,
    unknown_parts,
    unknown_revision,
    unknown_subset,
    unmatched_subset,
    unnamed_port,
    unreadable_receipt,
    unresolved_target,
    useless_setting,
    warming,
)
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import RANK, Finding


class Check(Protocol):
    """What a check's module offers."""

    ID: str
    TITLE: str

    def check(self, it: Evidence) -> Iterator[Finding]:
        """Find what the check looks for."""
        ...


CHECKS: tuple[Check, ...] = (
    app_as_proxy_user,
    host_network,
    misspelt_annotation,
    removed_annotation,
    annotation_on_workload,
    port_range,
    annotation_value,
    swallowed_flag,
    empty_setting,
    cancelling_settings,
    useless_setting,
    privileged_ports_without_capture,
    missing_labels,
    unnamed_port,
    conflicting_protocols,
    inject_as_annotation,
    both_namespace_labels,
    unknown_revision,
    not_injected,
    partial_resources,
    unreadable_receipt,
    failing_init,
    lost_probe,
    image_auto,
    init_without_proxy,
    needless_hold,
    two_meshes,
    unknown_parts,
    ambient_not_carried,
    rules_without_proxy,
    job_with_sidecar,
    unapplied_annotation,
    app_before_proxy,
    bad_ending,
    not_ready,
    outdated_proxy,
    certificate_expiry,
    refused_configuration,
    nobody_listens,
    undeclared_port,
    unresolved_target,
    failed_events,
    proxy_ahead,
    route_without_cluster,
    cluster_without_endpoints,
    warming,
    stale_configuration,
    unmatched_subset,
    unknown_subset,
)


def run(it: Evidence, ignore: Iterable[str] = ()) -> tuple[Finding, ...]:
    """All findings about one pod, worst first; `ignore` are ids to leave out, in any case."""
    left_out = {i.upper() for i in ignore}
    found = [f for check in CHECKS if check.ID not in left_out for f in check.check(it)]
    found += [f for f in it.foreign if f.id.upper() not in left_out]
    return ordered(found)


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by id and subject; each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda f: (RANK[f.severity], f.id, f.subject)))
