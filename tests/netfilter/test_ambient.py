import pytest

from meshctl.errors import BadInput
from meshctl.injection.mode import recognise
from meshctl.kube.pods import Pod
from meshctl.kube.pods import pod as pod_of
from meshctl.netfilter import fingerprint, iptables_save
from meshctl.netfilter.capture import Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.drift import compare
from meshctl.netfilter.expected import Expected, predict, predict_node
from meshctl.netfilter.explain import explain
from meshctl.netfilter.release import Release
from meshctl.netfilter.wanted import of_pod

OLD, BOTH, NEW = Release(1, 22, 0), Release(1, 24), Release(1, 30, 3)
BYPASS = {"ambient.istio.io/bypass-inbound-capture": "true"}
REROUTE = {"istio.io/reroute-virtual-interfaces": "virt0, virt1"}
NOWHERE = Network()
VARIANTS = [
    (release, annotations, native, dns)
    for release, kinds in ((OLD, (False,)), (BOTH, (False,)), (NEW, (False, True)))
    for annotations in ({}, BYPASS, REROUTE, BYPASS | REROUTE)
    for native in kinds
    for dns in ("true", "false")
]


def ambient(
    release: Release, annotations: dict[str, str] | None = None, *, native: bool = False, **env: str
) -> Expected:
    tproxy = env.pop("tproxy", "") == "true"
    capture = of_ambient(annotations or {}, release, env, tproxy=tproxy, native_nftables=native)
    return predict(capture, release, NOWHERE)


def chain(expected: Expected, table: str, name: str, file: str = "iptables-save.txt") -> list[str]:
    there = expected.text(file).partition(f"*{table}\n")[2].partition("COMMIT")[0]
    return [line.removeprefix(f"-A {name} ") for line in there.splitlines() if line.startswith(f"-A {name} ")]


def test_inbound_traffic_was_taken_with_tproxy_up_to_1_23() -> None:
    assert chain(ambient(OLD), "mangle", "ISTIO_PRERT") == [
        "-m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
        "-s 169.254.7.127/32 -p tcp -m tcp -j ACCEPT",
        "! -d 127.0.0.1/32 -i lo -p tcp -j ACCEPT",
        "-p tcp -m tcp --dport 15008 -m mark ! --mark 0x539/0xfff"
        " -j TPROXY --on-port 15008 --on-ip 0.0.0.0 --tproxy-mark 0x111/0xfff",
        "-p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff"
        " -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x111/0xfff",
    ]
    assert chain(ambient(OLD), "nat", "ISTIO_PRERT") == []


def test_it_is_taken_with_redirect_since() -> None:
    for release in (BOTH, Release(1, 25), NEW):
        assert chain(ambient(release), "nat", "ISTIO_PRERT") == [
            "-s 169.254.7.127/32 -p tcp -m tcp -j ACCEPT",
            "! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006",
        ]


def test_1_24_can_be_told_to_go_on_with_tproxy() -> None:
    told = ambient(BOTH, AMBIENT_TPROXY_REDIRECTION="true")
    assert len(chain(told, "mangle", "ISTIO_PRERT")) == 6
    assert len(chain(ambient(NEW, AMBIENT_TPROXY_REDIRECTION="true"), "mangle", "ISTIO_PRERT")) == 1
    capture = of_ambient(BYPASS, BOTH, {"AMBIENT_TPROXY_REDIRECTION": "true"})
    assert not capture.bypass_inbound
    assert any("no effect" in note for note in capture.notes)


def test_dns_capture_came_to_tcp_and_to_zones_with_1_24() -> None:
    old = ambient(OLD, AMBIENT_DNS_CAPTURE="true")
    assert chain(old, "nat", "ISTIO_OUTPUT")[1] == "! -o lo -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"
    assert "*raw" not in old.text("iptables-save.txt")
    new = ambient(BOTH, AMBIENT_DNS_CAPTURE="true")
    assert chain(new, "raw", "ISTIO_PRERT") == ["-p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1"]
    assert "--dport 53" in chain(new, "nat", "ISTIO_OUTPUT")[2]


def test_dns_capture_is_on_by_default_from_1_25() -> None:
    assert [of_ambient({}, Release(1, minor)).dns for minor in (22, 24, 25, 30)] == [False, False, True, True]
    assert not of_ambient({"ambient.istio.io/dns-capture": "false"}, NEW, {"AMBIENT_DNS_CAPTURE": "true"}).dns
    assert of_ambient({"ambient.istio.io/dns-capture": "false"}, BOTH, {"AMBIENT_DNS_CAPTURE": "true"}).dns


def test_a_bypassed_pod_keeps_ztunnels_mark_since_1_29() -> None:
    assert chain(ambient(Release(1, 28), BYPASS), "mangle", "ISTIO_PRERT") == []
    assert len(chain(ambient(Release(1, 29), BYPASS), "mangle", "ISTIO_PRERT")) == 1
    assert chain(ambient(NEW, BYPASS), "nat", "ISTIO_PRERT") == []


def test_annotations_without_effect_in_a_release_are_said() -> None:
    notes = of_ambient(REROUTE | BYPASS, OLD).notes
    assert [note for note in notes if "1.25" in note]
    assert [note for note in notes if "1.24" in note]


def test_rerouted_interfaces_come_first() -> None:
    assert chain(ambient(NEW, REROUTE), "nat", "ISTIO_PRERT")[:4] == [
        f"-i {name} -p tcp -j {target}"
        for name in ("virt0", "virt1")
        for target in ("REDIRECT --to-ports 15001", "RETURN")
    ]


def test_the_agents_probe_addresses_and_ipv6_can_be_told() -> None:
    told = ambient(NEW, HOST_PROBE_SNAT_IP="192.0.2.9", AMBIENT_IPV6="false")
    assert "-s 192.0.2.9/32" in told.text("iptables-save.txt")
    assert told.text("ip6tables-save.txt") == ""
    with pytest.raises(BadInput, match="HOST_PROBE_SNAT_IP=here"):
        of_ambient({}, NEW, {"HOST_PROBE_SNAT_IP": "here"})


def test_ambient_came_with_1_21_and_its_nftables_with_1_28() -> None:
    with pytest.raises(BadInput, match=r"came with 1\.21"):
        ambient(Release(1, 20))
    with pytest.raises(BadInput, match=r"came with 1\.28"):
        ambient(Release(1, 27), native=True)


def test_what_was_compared_is_verified_and_the_rest_names_it() -> None:
    assert ambient(NEW).verified
    assert ambient(OLD).verified
    assert not ambient(BOTH).verified
    assert "nearest verified: 1.22.0" in ambient(BOTH).notes[0]


@pytest.mark.parametrize(("release", "annotations", "native", "dns"), VARIANTS)
def test_every_rule_is_explained_and_told_from_its_release(
    release: Release, annotations: dict[str, str], native: bool, dns: str
) -> None:
    expected = ambient(release, annotations, native=native, AMBIENT_DNS_CAPTURE=dns)
    for ruleset in expected.rulesets:
        for found in explain(ruleset):
            assert found.told.role.startswith("ambient-"), found.rule.text
    told = fingerprint.release(expected.rulesets)
    assert told is not None
    assert (told[0] == OLD) == (release == OLD)


@pytest.mark.parametrize(("release", "annotations", "native", "dns"), VARIANTS)
def test_found_as_predicted_is_in_sync_and_each_lost_rule_is_not(
    release: Release, annotations: dict[str, str], native: bool, dns: str
) -> None:
    expected = ambient(release, annotations, native=native, AMBIENT_DNS_CAPTURE=dns)
    assert compare(expected, expected.rulesets).in_sync
    if native:
        return
    lines = expected.text("iptables-save.txt").splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.startswith("-A"):
            cut = "".join(lines[:at] + lines[at + 1 :])
            there = (iptables_save.parse(cut, family="ipv4"), *expected.rulesets[1:])
            assert not compare(expected, there).in_sync, line


def test_the_node_gives_probes_their_address() -> None:
    capture = of_ambient({}, NEW)
    four, six = predict_node(capture, NEW).rulesets
    assert [rule.text for _, _, _, rule in four.rules] == [
        "-A POSTROUTING -j ISTIO_POSTRT",
        "-A ISTIO_POSTRT -p tcp -m owner --socket-exists -m set --match-set istio-inpod-probes-v4 dst"
        " -j SNAT --to-source 169.254.7.127",
    ]
    assert [found.told.role for found in explain(six)] == ["ambient-node-jump", "ambient-node-probe"]
    native = of_ambient({}, NEW, native_nftables=True)
    assert {f.told.role for r in predict_node(native, NEW).rulesets for f in explain(r)} == {"ambient-node-probe"}


def pod(annotations: dict[str, str] | None = None) -> Pod:
    said = {"ambient.istio.io/redirection": "enabled", **(annotations or {})}
    raw = {
        "metadata": {"name": "a", "namespace": "n", "annotations": said},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }
    return pod_of(raw)


def test_a_pods_rules_tell_how_its_nodes_agent_is_set() -> None:
    assert recognise(pod()).mode == "ambient"
    found = ambient(NEW, HOST_PROBE_SNAT_IP="192.0.2.9", AMBIENT_DNS_CAPTURE="false").rulesets
    wanted = of_pod(pod(), found)
    assert wanted.expected is not None
    assert compare(wanted.expected, found).in_sync
    assert any("192.0.2.9" in note for note in wanted.notes)
    assert any("DNS" in note for note in wanted.notes)


def test_old_rules_are_compared_with_their_own_release() -> None:
    for dns in ("false", "true"):
        found = ambient(OLD, AMBIENT_DNS_CAPTURE=dns).rulesets
        wanted = of_pod(pod(), found)
        assert wanted.told.release == OLD
        assert wanted.expected is not None
        assert compare(wanted.expected, found).in_sync
    found = ambient(BOTH, AMBIENT_TPROXY_REDIRECTION="true", AMBIENT_DNS_CAPTURE="true").rulesets
    wanted = of_pod(pod(), found)
    assert wanted.told.release == BOTH
    assert wanted.expected is not None
    assert compare(wanted.expected, found).in_sync


def test_tproxy_rules_beside_redirect_are_leftovers() -> None:
    old, new = ambient(OLD).text("iptables-save.txt"), ambient(NEW).text("iptables-save.txt")
    extra = [line for line in old.splitlines() if "TPROXY" in line or "ctstate" in line]
    text = new.replace("COMMIT\n*nat", "\n".join([*extra, "COMMIT\n*nat"]))
    found = (iptables_save.parse(text, family="ipv4"), *ambient(NEW).rulesets[1:])
    wanted = of_pod(pod(), found)
    assert wanted.told.release == NEW
    assert wanted.expected is not None
    items = compare(wanted.expected, found).items
    assert [item.kind for item in items] == ["extra"] * len(extra)
