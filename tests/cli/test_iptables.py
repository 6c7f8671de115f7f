import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from meshctl.cli.app import app
from tests.netfilter.rulings import CASES, RESOLVER, Case, case

TRACE = Path(__file__).parents[2] / "fixtures" / "trace"


def run(*words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(app, ["iptables", *words], input=input)


def options(recorded: Case) -> list[str]:
    said = recorded.said
    found = ["--istio", str(said["istio"]), "--resolver", RESOLVER]
    for name, value in said["env"].items():  # type: ignore[attr-defined]
        found += ["--env", f"{name}={value}"]
    for address in said["pod_addresses"]:  # type: ignore[attr-defined]
        found += ["--address", address]
    return found


def arguments(recorded: Case) -> list[str]:
    return ["--", *recorded.said["args"]]  # type: ignore[misc]


def files(recorded: Case) -> list[str]:
    names = ("iptables-save.txt", "ip6tables-save.txt", "nft.json")
    there = [recorded.folder / name for name in names if (recorded.folder / name).exists()]
    return [word for file in there for word in ("--rules", str(file))]


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_expect_and_diff_agree_with_the_kernel(recorded: Case) -> None:
    predicted = run("expect", *options(recorded), *arguments(recorded))
    assert predicted.exit_code == 0
    assert ("table inet" in predicted.stdout) is recorded.native
    found = run("diff", *files(recorded), *options(recorded), "-o", "json", *arguments(recorded))
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["in_sync"] is True


def test_diff_of_bare_files_exits_10_on_drift(tmp_path: Path) -> None:
    recorded = case("1.30.3/default")
    file = tmp_path / "save.txt"
    file.write_text((recorded.folder / "iptables-save.txt").read_text().replace("-j ISTIO_OUTPUT", "-j ACCEPT", 1))
    found = run("diff", "--rules", str(file), *options(recorded), *arguments(recorded))
    assert found.exit_code == 10
    assert "without the proxy" in found.stdout


def test_expect_says_what_it_assumed_on_stderr() -> None:
    found = run("expect", "--istio", "1.22", "--", "istio-iptables", "-i", "*", "-b", "*")
    assert found.exit_code == 0
    assert "unverified, nearest verified: 1.30.3" in found.stderr
    assert found.stdout.startswith("*nat")


def test_expect_in_the_other_backend() -> None:
    words = ("--istio", "1.30", "--", "istio-iptables", "-i", "*", "-b", "*")
    assert run("expect", "-o", "nft", *words).stdout.startswith("table inet istio-proxy-nat")
    assert run("expect", "-o", "iptables", *words, "--native-nftables").stdout.startswith("*nat")
    assert run("expect", "-o", "nft", "--istio", "1.26", "--", "istio-iptables").exit_code == 2


def test_expect_fails_as_istio_iptables_would() -> None:
    found = run("expect", "--istio", "1.14", "--", "istio-iptables", "-c", "eth1")
    assert found.exit_code == 2
    assert "unknown shorthand flag: 'c'" in found.output


def test_explain_reads_standard_input() -> None:
    text = (case("1.30.3/default").folder / "iptables-save.txt").read_text()
    found = run("explain", "-", "-o", "json", input=text)
    assert found.exit_code == 0
    assert json.loads(found.stdout)["summary"]["istio"] == 18


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("dump", "--rules", "/nowhere"), 3, "no file"),
        (("dump", "x", "--pid", "1"), 2, "exclude each other"),
        (("diff", "--rules", "/nowhere"), 2, "needs the arguments"),
        (("diff", "--", "istio-iptables"), 2, "need the rules"),
        (("expect", "--env", "novalue", "--", "istio-iptables"), 2, "NAME=VALUE"),
        (("expect", "--group", "a=b", "--", "istio-iptables"), 2, "number is missing"),
        (("expect", "--istio", "new", "--", "istio-iptables"), 2, "no Istio release"),
    ],
)
def test_bad_usage_is_said(words: tuple[str, ...], code: int, said: str) -> None:
    found = run(*words)
    assert (found.exit_code, said in found.output) == (code, True), found.output


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name in ("broken", "cnimode", "ambient", "nftmode", "variants"):
        with tarfile.open(TRACE / f"{name}.tar.gz") as archive:
            archive.extractall(folder / name, filter="data")
    return folder


def snapshot(recordings: Path, name: str) -> str:
    return str(next(recordings.joinpath(name).rglob("snapshot.json")).parent)


def test_what_ambient_has_on_the_node_is_predicted(recordings: Path) -> None:
    place = snapshot(recordings, "ambient")

    def expect(pod: str, *more: str) -> Result:
        return run("expect", pod, "--node", "--snapshot", place, "-n", "ambient", *more)

    probes = "-p tcp -m owner --socket-exists -m set --match-set istio-inpod-probes-v4 dst"
    assert probes in expect("deploy/web-v1").stdout
    assert "table inet istio-ambient-nat" in expect("deploy/web-v1", "-o", "nft").stdout
    assert "kubelet's probes, on the node" in expect("deploy/web-v1", "-o", "explained").stdout
    sidecar = expect("deploy/withsidecar-v1")
    assert sidecar.exit_code == 2
    assert "only ambient has rules of its own on the node" in sidecar.stderr


@pytest.mark.parametrize("name", ["cnimode", "ambient", "nftmode", "variants"])
def test_every_recorded_pod_is_in_sync(recordings: Path, name: str) -> None:
    found = run("diff", "-A", "--snapshot", snapshot(recordings, name), "-o", "json")
    items = json.loads(found.stdout)["items"]
    assert [item["pod"] for item in items if item["in_sync"] is False] == []
    writers = {item["expected_from"].get("writer") for item in items}
    assert {"cnimode": "istio-cni", "ambient": "ambient"}.get(name, "istio-init") in writers


def test_a_flushed_pod_is_the_worst_of_its_namespace(recordings: Path) -> None:
    found = run("diff", "--all", "--snapshot", snapshot(recordings, "broken"), "-n", "broken")
    assert found.exit_code == 10
    first = next(line for line in found.stdout.splitlines() if line.startswith("✗"))
    assert "flushed" in first


def test_dump_of_every_recorded_pod_understands_every_rule(recordings: Path) -> None:
    for name in ("broken", "cnimode", "ambient", "nftmode", "variants"):
        place = snapshot(recordings, name)
        pods = json.loads(Path(place, "resources", "pods.json").read_text())["items"]
        for pod in pods:
            meta = pod["metadata"]
            found = run("dump", meta["name"], "-n", meta["namespace"], "--snapshot", place, "-o", "json")
            assert found.exit_code == 0, found.output
            document = json.loads(found.stdout)
            assert document["summary"]["not_understood"] == 0
            if not pod["spec"].get("hostNetwork"):
                assert document["summary"]["foreign"] == 0


def test_raw_is_byte_for_byte(recordings: Path) -> None:
    place = snapshot(recordings, "broken")
    pod = next(Path(place, "pods", "broken").glob("client-*"))
    found = run("dump", pod.name, "-n", "broken", "--snapshot", place, "--raw")
    assert found.stdout_bytes == (pod / "netns" / "iptables-save.txt").read_bytes()
