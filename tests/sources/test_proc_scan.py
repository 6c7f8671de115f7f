import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.sources import proc_scan
from meshctl.sources.proc_scan import CgroupOwner, cgroup_owner

UID = "a658d549-e7fe-4c72-8c36-c454d17a3e22"
UNDER = UID.replace("-", "_")
CID = "402f694776e962a84f02b26e84d354e4e74cc8902fbf0b81e8bc2e4fc3e3156f"
NODE = "9" * 64

_SLICE = "/kubepods.slice/kubepods-{0}.slice/kubepods-{0}-pod" + UNDER + ".slice/"
SHAPES = {
    "cgroupfs": f"/kubepods/burstable/pod{UID}/{CID}",
    "cgroupfs guaranteed": f"/kubepods/pod{UID}/{CID}",
    "systemd containerd": _SLICE.format("burstable") + f"cri-containerd-{CID}.scope",
    "systemd docker": _SLICE.format("besteffort") + f"docker-{CID}.scope",
    "systemd cri-o": f"/kubepods.slice/kubepods-pod{UNDER}.slice/crio-{CID}.scope",
    "systemd cri-o, container's own child": f"/kubepods.slice/kubepods-pod{UNDER}.slice/crio-{CID}.scope/container",
    "colon form": f"/kubepods-burstable-pod{UNDER}.slice:cri-containerd:{CID}",
    "kind": f"/docker/{NODE}/kubelet/kubepods/burstable/pod{UID}/{CID}",
    "minikube on systemd": f"/system.slice/docker-{NODE}.scope/kubelet.slice/kubelet-kubepods.slice/"
    f"kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UNDER}.slice/cri-containerd-{CID}.scope",
    "from inside a cgroup namespace": f"/../../pod{UID}/{CID}",
    "from inside, systemd": f"/../../kubepods-burstable-pod{UNDER}.slice/cri-containerd-{CID}.scope",
}


@pytest.mark.parametrize("path", SHAPES.values(), ids=SHAPES.keys())
def test_each_shape_names_pod_and_container(path: str) -> None:
    assert cgroup_owner(f"0::{path}\n") == CgroupOwner(UID, CID)
    v1 = "".join(f"{number}:{name}:{path}\n" for number, name in ((9, "name=systemd"), (8, "pids"), (1, "cpu")))
    assert cgroup_owner(v1 + "0::/\n") == CgroupOwner(UID, CID)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("0::/\n", None),
        ("", None),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
        (f"0::/docker/{CID}\n", CgroupOwner("", CID)),
        (f"0::/system.slice/docker-{CID}.scope\n", CgroupOwner("", CID)),
        (f"0::/../crio-{CID}.scope\n", CgroupOwner("", CID)),
        (f"0::/machine.slice/libpod-{CID}.scope/container\n", CgroupOwner("", CID)),
        (f"0::/kubepods/burstable/pod{UID}\n", CgroupOwner(UID, "")),
        (
            f"0::/kubepods/podabcdef0123456789abcdef0123456789/{CID}\n",
            CgroupOwner("abcdef0123456789abcdef0123456789", CID),
        ),
        (f"2:cpu:/kubepods/pod{UID}/{CID}\n1:pids:/kubepods/pod{UID}/{NODE}\n", None),
    ],
)
def test_what_is_no_pod_or_contradicts_itself(text: str, owner: CgroupOwner | None) -> None:
    assert cgroup_owner(text) == owner


_uids = st.uuids().map(str)
_ids = st.text("0123456789abcdef", min_size=64, max_size=64)
_prefixes = st.sampled_from(["", "/docker/" + NODE, f"/system.slice/docker-{NODE}.scope/kubelet.slice"])


@settings(deadline=None, max_examples=80)
@given(_uids, _ids, _prefixes, st.sampled_from(["", "burstable", "besteffort"]), st.booleans())
def test_any_uid_and_id_survive_any_driver_and_nesting(
    uid: str, cid: str, prefix: str, qos: str, systemd: bool
) -> None:
    if systemd:
        middle = f"/kubepods.slice/kubepods-{qos or 'x'}-pod{uid.replace('-', '_')}.slice/cri-containerd-{cid}.scope"
    else:
        middle = f"/kubepods/{qos + '/' if qos else ''}pod{uid}/{cid}"
    assert cgroup_owner(f"0::{prefix}{middle}\n") == CgroupOwner(uid, cid)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    owner = cgroup_owner(text)
    assert owner is None or owner.pod_uid or owner.container_id


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=15), st.integers(0, 2**40))
def test_start_time_is_counted_from_the_end_of_the_name(name: str, ticks: int) -> None:
    fields = " ".join(["S", *["0"] * 18, str(ticks), *["0"] * 30])
    assert proc_scan.started_ticks(f"12 ({name}) {fields}") == ticks


def test_own_process_is_found_in_own_namespace() -> None:
    own = proc_scan.namespace_of("self")
    assert os.getpid() in {process.pid for process in proc_scan.processes_in(own)}
    assert own in proc_scan.host_namespaces()


def test_a_link_inside_the_container_is_not_followed(tmp_path: Path) -> None:
    etc = tmp_path / "7" / "root" / "etc"
    etc.mkdir(parents=True)
    (etc / "resolv.conf").symlink_to("/etc/hostname")
    assert proc_scan.read_inside(7, ("etc", "resolv.conf"), tmp_path) is None
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").write_text("nameserver 10.96.0.10\n")
    assert proc_scan.read_inside(7, ("etc", "resolv.conf"), tmp_path) == b"nameserver 10.96.0.10\n"
