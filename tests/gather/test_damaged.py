"""Recordings with parts that are missing or broken: each costs its own section, never the answer or the truth."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from meshctl.cli.app import app
from meshctl.errors import BadInput
from meshctl.gather.evidence import state
from meshctl.kube import pods as kube_pods
from meshctl.netfilter import iproute
from meshctl.sources.snapshot import open_snapshot

DEMO = Path(__file__).parents[2] / "meshctl" / "demo" / "snapshot"
POD = "productpage"
NOISE = bytes(range(1, 256))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "recording"))


def run(recording: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--snapshot", str(recording), *words])


def netns(recording: Path) -> Path:
    return next(recording.glob(f"pods/*/{POD}-*/netns"))


def halve(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def only_ipv6(recording: Path) -> None:
    """Leave of the rules those of IPv6, and what a machine without legacy rules says of the others: nothing."""
    place = netns(recording)
    for name in ("iptables-save.txt", "nft.json"):
        (place / name).unlink(missing_ok=True)
    (place / "ip6tables-save.txt").write_text("")
    (place / "iptables-legacy-save.txt").write_text("")


def noisy(recording: Path) -> None:
    only_ipv6(recording)
    (netns(recording) / "nft.json").write_bytes(NOISE)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_dump_that_breaks_off_is_no_drift(recording: Path) -> None:
    only_ipv6(recording)
    shutil.copy(netns(DEMO) / "iptables-save.txt", netns(recording))
    halve(netns(recording) / "iptables-save.txt")
    found = document(run(recording, "iptables", "diff", POD, "-o", "json"))
    assert found["in_sync"] is None
    assert "IPv4 rules" in found["gap"]
    assert "breaks off" in found["gap"]
    shown = document(run(recording, "iptables", "dump", POD, "-o", "json"))
    assert any("breaks off" in f["text"] for f in shown["findings"])


def test_rules_that_nobody_recorded_are_no_drift(recording: Path) -> None:
    only_ipv6(recording)
    found = document(run(recording, "iptables", "diff", POD, "-o", "json"))
    assert (found["in_sync"], found["gap"]) == (None, "the IPv4 rules are not recorded")


@pytest.mark.parametrize("damage", [only_ipv6, noisy])
def test_without_rules_the_walk_is_over_those_that_the_arguments_ask_for(recording: Path, damage: Any) -> None:
    damage(recording)
    walked = run(recording, "iptables", "walk", POD, "--out", "10.1.1.1:80", "--uid", "1000")
    assert walked.exit_code == 0
    assert "the IPv4 rules were not seen" in " ".join(walked.stdout.split())
    found = document(run(recording, "iptables", "walk", POD, "--out", "10.1.1.1:80", "--uid", "1000", "-o", "json"))
    assert (found["verdict"], found["redirect_port"]) == ("redirected", 15001)
    traced = document(run(recording, "trace", "details:9080", "--from", POD, "-o", "json"))
    assert traced["outcome"]["through_client_proxy"] is True
    assert any("iptables-save" in gap for gap in traced["gaps"])


@pytest.mark.parametrize("part", ["nft.json", "ip-address.json", "ip-route.json", "ip-rule.json"])
@pytest.mark.parametrize("content", [NOISE, b'{"x', b"null", b'[{"priority": "x", "addr_info": 7, "dst": 7}]'])
def test_a_broken_part_is_named_and_left_out(recording: Path, part: str, content: bytes) -> None:
    (netns(recording) / part).write_bytes(content)
    assert run(recording, "iptables", "diff", POD).exit_code == 0
    shown = run(recording, "iptables", "dump", POD)
    assert shown.exit_code == 0
    assert part in shown.stdout.replace("\n    ", "")
    walked = run(recording, "iptables", "walk", POD, "--out", "10.1.1.1:80", "--uid", "1000", "-o", "json")
    assert json.loads(walked.stdout)["verdict"] == "redirected"
    assert part in walked.stderr


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (iproute.parse_addresses, '[{"addr_info": [{"local": "x"}]}]'),
        (iproute.parse_addresses, '[{"addr_info": [7]}]'),
        (iproute.parse_routes, '[{"dst": "10.0.0.0/8", "metric": "x"}]'),
        (iproute.parse_routes, '[{"dst": "10.0.0.0/8", "nexthops": [7]}]'),
        (iproute.parse_rules, '[{"priority": "x"}]'),
        (iproute.parse_rules, '[{"priority": 1, "src": "nowhere"}]'),
    ],
)
def test_an_entry_of_another_shape_is_named(read: Any, text: str) -> None:
    with pytest.raises(BadInput, match=r"it\.json: entry 1 of `ip -j \w+` cannot be read"):
        read(text, "it.json")


def of_kind(recording: Path, plural: str) -> Path:
    return next((recording / "resources").glob(f"{plural}.*json"))


KINDS = ("services", "endpointslices", "virtualservices", "destinationrules", "namespaces", "nodes", "events")


@pytest.mark.parametrize("plural", KINDS)
@pytest.mark.parametrize("content", [NOISE, b"null", b'{"items": [{"metadata": [1]}]}'])
def test_broken_objects_cost_no_answer(recording: Path, plural: str, content: bytes) -> None:
    of_kind(recording, plural).write_bytes(content)
    done = run(recording, "trace", "details:9080", "--from", POD, "-o", "json")
    found = document(done)
    named = of_kind(recording, plural).name
    if plural != "events":
        assert named in done.stderr
        assert any(named in gap for gap in found["gaps"])
    for words in (("describe", "pod", POD), ("check",), ("snapshot", "show"), ("trace", "--all", "classic")):
        assert run(recording, *words).exit_code in (0, 10), words


def test_fields_of_another_type_stop_nothing(recording: Path) -> None:
    nodes = of_kind(recording, "nodes")
    nodes.write_text('{"items": [{"metadata": {"name": "minikube"}, "status": {"addresses": [7, null], "x": 1}}]}')
    assert run(recording, "trace", "details:9080", "--from", POD).exit_code == 0
    nodes.write_text('{"items": [{"metadata": null, "status": {"addresses": 5}, "spec": {"podCIDRs": 1}}]}')
    assert run(recording, "trace", "details:9080", "--from", POD).exit_code == 0


@pytest.mark.parametrize("content", [NOISE, b"[]", b'{"cluster_statuses": [{"name": "x", "host_statuses": 7}, 7]}'])
def test_what_the_proxy_knows_at_the_moment_may_be_broken(recording: Path, content: bytes) -> None:
    for place in recording.glob("pods/*/*/envoy/clusters.json"):
        place.write_bytes(content)
    assert run(recording, "trace", "details:9080", "--from", POD).exit_code == 0
    assert run(recording, "trace", "details:9080").exit_code == 0


def test_without_endpoint_slices_nobody_is_said_to_be_gone(recording: Path) -> None:
    """Neither the node's rules nor the slices are there, and the caller has no proxy that was recorded."""
    of_kind(recording, "endpointslices").unlink()
    shutil.rmtree(recording / "nodes")
    shutil.rmtree(netns(recording).parent)
    found = document(run(recording, "trace", "details:9080", "--from", POD, "-o", "json"))
    assert found["outcome"]["delivered"] is None
    assert any("endpoints" in because for because in found["outcome"]["undecided_because"])


@pytest.mark.parametrize("whose", [POD, "details"])
def test_a_part_of_a_proxys_configuration_that_is_broken_costs_that_proxy_only(recording: Path, whose: str) -> None:
    place = next(recording.glob(f"pods/*/{whose}-*/envoy/config_dump.json"))
    dump = json.loads(place.read_text())
    for section in dump["configs"]:
        for entry in section.get("dynamic_listeners", ()):
            entry["active_state"]["listener"] = "x"
    place.write_text(json.dumps(dump))
    found = document(run(recording, "trace", "details:9080", "--from", POD, "-o", "json"))
    assert found["outcome"]["delivered"] is True
    assert any(str(place) in gap and "active_state.listener should be an object" in gap for gap in found["gaps"])


@pytest.mark.parametrize("target", ["0.0.0.0:9080", "127.0.0.1:9080"])
def test_no_address_at_all_is_the_pod_itself(target: str) -> None:
    done = CliRunner().invoke(app, ["--demo", "trace", target, "--from", POD, "-o", "json"])
    found = document(done)["outcome"]
    assert (found["delivered"], found["through_client_proxy"], found["through_server_proxy"]) == (True, False, False)


def test_checks_go_on_without_what_is_broken(recording: Path) -> None:
    place = next(recording.glob(f"pods/*/{POD}-*/envoy/config_dump.json"))
    dump = json.loads(place.read_text())
    for section in dump["configs"]:
        for entry in (*section.get("static_clusters", ()), *section.get("dynamic_active_clusters", ())):
            entry["cluster"] = [7]
    place.write_text(json.dumps(dump))
    only_ipv6(recording)
    shown = run(recording, "describe", "pod", POD)
    assert shown.exit_code == 0
    assert "cluster should be an object, is a list" in " ".join(shown.stdout.split())
    assert "the IPv4 rules" in shown.stdout
    for words in (("check",), ("check", POD), ("describe", "service", "productpage")):
        done = run(recording, *words)
        assert done.exit_code == 0, (words, done.output)
        assert "MC301" not in done.stdout


@pytest.mark.parametrize("content", [NOISE, b"", b"LISTEN 0 128 0.0.0.0:15006 0.0.0.0:*\nLISTEN 0 5"])
def test_sockets_that_cannot_be_read_are_not_looked_at_and_never_nothing_listens(
    recording: Path, content: bytes
) -> None:
    (netns(recording) / "sockets.txt").write_bytes(content)
    found = document(run(recording, "describe", "pod", POD, "-o", "json"))
    assert "MC207" not in {f["id"] for f in found["findings"]}
    checked = run(recording, "check", POD)
    assert checked.exit_code == 0
    assert "MC207" not in checked.stdout
    assert re.search(r"Not looked at\n  productpage-\S+ netns/sockets.txt: no", checked.stdout)


def test_where_no_proxy_is_an_empty_listing_says_that_nothing_listens(recording: Path) -> None:
    pod = {"metadata": {"name": "sleep", "namespace": "bookinfo"}, "spec": {"containers": [{"name": "sleep"}]}}
    (place := recording / "pods/bookinfo/sleep/netns").mkdir(parents=True)
    (place / "sockets.txt").write_bytes(b"")
    world = open_snapshot(str(recording))
    assert state(world, kube_pods.pod(pod), has_proxy=False).listeners == ()
    assert state(world, kube_pods.pod(pod), has_proxy=True).listeners is None


@pytest.mark.parametrize("name", ["config_dump.json", "certs.json", "server_info.json"])
@pytest.mark.parametrize("content", [NOISE, b"[" * 100_000])
def test_a_part_of_the_proxy_that_cannot_be_read_is_named(recording: Path, name: str, content: bytes) -> None:
    file = next(recording.glob(f"pods/*/{POD}-*/envoy")) / name
    file.write_bytes(content)
    for words in (("describe", "pod", POD), ("check", POD)):
        shown = run(recording, *words)
        assert shown.exit_code == 0
        assert f"envoy/{name}: not valid JSON" in " ".join(shown.stdout.partition("Not looked at")[2].split())


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("namespaces", ("describe", "namespace", "bookinfo")),
        ("services", ("describe", "service", "reviews")),
        ("pods", ("describe", "pod", POD)),
    ],
)
def test_what_stands_in_a_list_that_cannot_be_read_is_not_said_to_be_missing(
    recording: Path, file: str, words: tuple[str, ...]
) -> None:
    (recording / f"resources/{file}.json").write_bytes(NOISE)
    result = run(recording, *words)
    assert (result.exit_code, "there is no" in result.output) == (2, False)
    (recording / f"resources/{file}.json").unlink()
    result = run(recording, *words)
    assert result.exit_code == 3
    assert f"no {file} can be looked at: resources/{file}.json is not in the snapshot" in result.output


@pytest.mark.parametrize(
    ("broken", "gap"),
    [
        ("nft.json", "a listing of rules could not be read"),
        ("iptables-legacy-save.txt", "a listing of rules could not be read"),
        ("iptables-save.txt", "8 of 18 rules have a part that nft shows by name only"),
    ],
)
def test_rules_of_which_a_listing_is_broken_are_not_called_in_sync(recording: Path, broken: str, gap: str) -> None:
    (netns(recording) / broken).write_bytes(NOISE)
    compared = document(run(recording, "iptables", "diff", POD, "-o", "json"))
    assert (compared["in_sync"], compared["items"], compared["gap"]) == (None, [], gap)
    assert f"? {POD}" in " ".join(run(recording, "iptables", "diff").stdout.split())
    checked = " ".join(run(recording, "check", POD).stdout.split())
    assert "packet rules: " in checked.partition("Not looked at")[2]


def test_arguments_that_no_rules_can_be_told_of_are_named_by_the_check(recording: Path) -> None:
    file = recording / "resources/pods.json"
    pods = json.loads(file.read_text())
    (spec,) = [pod["spec"] for pod in pods["items"] if pod["metadata"]["name"].startswith(POD)]
    args = next(c["args"] for c in spec["initContainers"] if c["name"] == "istio-init")
    args[args.index("-z") + 1] = "99999"
    file.write_text(json.dumps(pods))
    checked = " ".join(run(recording, "check", POD).stdout.split())
    assert "packet rules: what they should be is not known: " in checked.partition("Not looked at")[2]
    assert "'99999' is no port" in checked


def test_what_a_finding_tells_is_not_told_again_as_unreadable(recording: Path) -> None:
    place = recording / "resources/pods.json"
    pods = json.loads(place.read_text())
    for pod in pods["items"]:
        pod["metadata"].get("annotations", {})["sidecar.istio.io/status"] = "{broken"
    place.write_text(json.dumps(pods))
    shown = run(recording, "describe", "pod", POD).stdout
    assert shown.count("sidecar.istio.io/status is not valid JSON") == 1
    assert "MC121" in shown
    assert document(run(recording, "describe", "pod", POD, "-o", "json"))["injection"]["problems"]
