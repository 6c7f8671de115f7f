"""`meshctl check` on recordings: one list with the findings of every package."""

from pathlib import Path

import pytest

from meshctl.checks.finding import Finding
from meshctl.errors import NotFound
from meshctl.gather import findings
from meshctl.gather.findings import Checked
from meshctl.gather.scope import Scope
from meshctl.sources.snapshot import open_snapshot

RECORDED = Path(__file__).parents[2] / "fixtures" / "trace"


def checked(name: str, *pods: str, ignore: tuple[str, ...] = ()) -> Checked:
    world = open_snapshot(str(RECORDED / f"{name}.tar.gz"))
    return findings.check(world, pods, Scope(None, not pods), ignore)


def of(found: Checked, id: str) -> list[Finding]:
    return [f for f in found.findings if f.id == id]


def test_rules_proxy_resources_and_requests_are_in_one_list() -> None:
    found = checked("broken")
    assert {"MC207", "MC301", "MC401", "MC402", "MC501", "MC502", "MC506", "MT107"} <= {f.id for f in found.findings}
    assert [f.severity for f in found.findings] == sorted(
        (f.severity for f in found.findings), key=["error", "warning", "info"].index
    )
    (flushed,) = of(found, "MT107")
    assert flushed.subject == "service/broken/flushed"
    assert "of 4 callers" in flushed.text
    assert found.failed


def test_what_several_proxies_were_told_is_one_finding() -> None:
    told = [f for f in of(checked("broken"), "MC401") if "subset nope" in f.text]
    assert len(told) == 1
    assert "(so do " in told[0].text


def test_a_route_for_a_port_that_the_service_lacks_is_none_of_anybodys_business() -> None:
    assert not [f for f in of(checked("broken"), "MC401") if ":80," in f.text]
    assert of(checked("policies"), "MC401") == []


def test_a_request_that_a_policy_refuses_is_a_remark() -> None:
    found = of(checked("policies"), "MT105")
    assert [(f.subject, f.severity) for f in found] == [("service/policies/backend", "info")]


def test_ignored_ids_are_left_out_wherever_they_come_from() -> None:
    left = checked("broken", ignore=("mc401", "MT107", "MC506", "MC301")).findings
    assert not {"MC401", "MT107", "MC506", "MC301"} & {f.id for f in left}


def test_a_pod_alone_has_no_findings_of_other_services() -> None:
    found = checked("broken", "deploy/wrongport-v1.broken")
    assert "MC207" in {f.id for f in found.findings}
    assert not [f for f in found.findings if f.id.startswith("MT")]


def test_a_namespace_without_pods() -> None:
    world = open_snapshot(str(RECORDED / "broken.tar.gz"))
    with pytest.raises(NotFound):
        findings.check(world, (), Scope("nowhere"), ())
