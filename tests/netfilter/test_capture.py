import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.errors import BadInput
from meshctl.netfilter.capture import split
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_cni import of_annotations
from meshctl.netfilter.capture_flags import FLAGS, of_arguments, words
from meshctl.netfilter.release import Release

NEW, OLD = Release(1, 30, 3), Release(1, 12, 1)
INJECTED = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x"]


def read(*args: str, release: Release = NEW, **env: str):
    return of_arguments(args, env, release)


def test_reads_what_the_injector_writes() -> None:
    capture = read(*INJECTED, "", "-b", "*", "-d", "15090,15021,15020")
    assert (capture.outbound_port, capture.inbound_port, capture.mode) == ("15001", "15006", "REDIRECT")
    assert (capture.include_outbound_ranges, capture.exclude_outbound_ranges) == ("*", "")
    assert split(capture.exclude_inbound_ports) == ("15090", "15021", "15020")
    assert capture.proxy_gids == capture.proxy_uids == "1337"
    assert capture.notes == ()


@pytest.mark.parametrize(
    "args",
    [
        ("-p", "1500"),
        ("-p1500",),
        ("-p=1500",),
        ("--envoy-port", "1500"),
        ("--envoy-port=1500",),
        ("-p", "9", "-p", "1500"),
        ("-n=false", "-p", "1500"),
    ],
)
def test_every_spelling_of_a_flag_means_the_same(args: tuple[str, ...]) -> None:
    assert read("istio-iptables", *args).outbound_port == "1500"


def test_short_booleans_share_a_dash_with_the_flag_after_them() -> None:
    capture = read("-np", "1500")
    assert (capture.outbound_port, capture.writes_rules) == ("1500", False)


def test_a_lost_empty_value_swallows_the_next_flag_and_that_is_said() -> None:
    capture = read(*INJECTED, "-b", "*")
    assert (capture.exclude_outbound_ranges, capture.include_inbound_ports) == ("-b", "")
    assert any("-x takes '-b'" in note for note in capture.notes)
    assert any("'*' is no flag" in note for note in capture.notes)


def test_nothing_is_a_flag_after_two_dashes() -> None:
    assert read("-p", "1", "--", "-p", "2").outbound_port == "1"


@pytest.mark.parametrize(
    ("args", "release", "said"),
    [
        (["--no-such"], NEW, "unknown flag: --no-such"),
        (["-y"], NEW, "unknown shorthand flag: 'y'"),
        (["-c", "eth1"], Release(1, 14), "unknown shorthand flag: 'c'"),
        (["--native-nftables"], Release(1, 26), "unknown flag"),
        (["-f"], NEW, "unknown shorthand flag: 'f'"),
        (["-p"], NEW, "flag needs an argument: 'p'"),
        (["--proxy-uid"], NEW, "flag needs an argument: --proxy-uid"),
        (["---p"], NEW, "bad flag syntax"),
        (["--=x"], NEW, "bad flag syntax"),
        (["--dual-stack=maybe"], NEW, "invalid argument 'maybe'"),
        (["-x", "*"], NEW, "-x does not take '*'"),
    ],
)
def test_fails_where_istio_iptables_fails(args: list[str], release: Release, said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("*", r"\*")):
        of_arguments(args, {}, release)


def test_arguments_win_over_the_environment_even_when_empty() -> None:
    assert read("-b", "", ISTIO_INBOUND_PORTS="*").include_inbound_ports == ""
    assert read(ISTIO_INBOUND_PORTS="*").include_inbound_ports == "*"


def test_the_outbound_port_lost_its_variable() -> None:
    assert read(ENVOY_PORT="9").outbound_port == "15001"
    assert read(ENVOY_PORT="9", release=OLD).outbound_port == "9"


def test_the_second_name_of_a_variable_wins_since_it_sets_the_flag() -> None:
    env = {"REDIRECT_DNS": "false", "ISTIO_META_DNS_CAPTURE": "true"}
    assert read(**env).dns is True
    assert read(release=OLD, **env).dns is False


@pytest.mark.parametrize(("value", "on"), [("true", True), ("1", True), ("T", True), ("yes", False), ("", False)])
def test_booleans_of_the_environment_are_gos(value: str, on: bool) -> None:
    assert read(INVALID_DROP=value).drop_invalid is on


def test_a_variable_that_the_release_does_not_read_is_named() -> None:
    capture = read(release=OLD, INVALID_DROP="true", ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE="5")
    assert (capture.drop_invalid, capture.owner_groups_exclude) == (False, "")
    assert any("INVALID_DROP has no effect in Istio 1.12.1" in note for note in capture.notes)


def test_says_where_each_value_is_from() -> None:
    capture = read("-u", "1337", ISTIO_META_DNS_CAPTURE="true", ISTIO_OUTBOUND_OWNER_GROUPS="5,6")
    assert capture.settings["proxy_uids"].source == "argument -u"
    assert capture.settings["dns"].source == "environment variable ISTIO_META_DNS_CAPTURE"
    assert capture.settings["owner_groups"].flag == "ISTIO_OUTBOUND_OWNER_GROUPS"
    assert capture.setting("inbound_port") is None


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "127.0.0.1", "127.0.0.0/7", "nonsense", "::1/128"])
def test_refuses_a_loopback_range_that_istio_refuses(cidr: str) -> None:
    with pytest.raises(BadInput, match="LOOPBACK_CIDR"):
        read(ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=cidr)


def test_the_command_may_stand_in_front() -> None:
    assert words(["/usr/local/bin/pilot-agent", "istio-iptables", "-p", "1"]) == ("-p", "1")


def test_the_cni_plugin_adds_its_ports_and_takes_every_resolver() -> None:
    annotations = {
        "traffic.sidecar.istio.io/excludeInboundPorts": "9,15021",
        "traffic.sidecar.istio.io/kubevirtInterfaces": "old0",
        "istio.io/reroute-virtual-interfaces": "new0",
    }
    capture = of_annotations(annotations, {"ISTIO_META_DNS_CAPTURE": "true"}, NEW, uid=0, gid=2000)
    assert capture.exclude_inbound_ports == "9,15021,15020,15090"
    assert capture.exclude_outbound_ports == "15020"
    assert capture.reroute_interfaces == "new0"
    assert (capture.proxy_uids, capture.proxy_gids) == ("1337", "2000")
    assert capture.dns
    assert capture.capture_all_dns
    assert "annotation" in capture.settings["exclude_inbound_ports"].source


def test_ambient_reads_annotations_alone() -> None:
    capture = of_ambient({"ambient.istio.io/dns-capture": "false", "ambient.istio.io/bypass-inbound-capture": "true"})
    assert (capture.dns, capture.bypass_inbound, capture.writer) == (False, True, "ambient")


ARGUMENT = st.one_of(
    st.sampled_from([f"-{flag.short}" for flag in FLAGS if flag.short] + [f"--{flag.name}" for flag in FLAGS]),
    st.sampled_from(["", "*", "--", "-", "15001", "a=b", "-x=", "--proxy-uid=", "-p=1"]),
    st.text(max_size=8),
)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(ARGUMENT, max_size=12),
    st.dictionaries(st.sampled_from(["INVALID_DROP", "PROXY_UID", "ISTIO_SERVICE_CIDR"]), st.text(max_size=6)),
    st.integers(12, 30),
)
def test_any_words_give_a_capture_or_one_error(args: list[str], env: dict[str, str], minor: int) -> None:
    release = Release(1, minor)
    try:
        capture = of_arguments(args, env, release)
    except BadInput as error:
        assert "istio-iptables" in str(error)  # noqa: PT017
        return
    assert of_arguments(args, env, release) == capture
    assert capture.proxy_uids
    assert hash(capture) == hash(of_arguments(args, env, release))
