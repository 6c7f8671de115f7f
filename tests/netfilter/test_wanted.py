from typing import Any

import pytest

from meshctl.kube.pods import Pod, pod
from meshctl.netfilter.wanted import of_pod
from tests.netfilter.rulings import case

ARGS = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*"]
IMAGE = "docker.io/istio/proxyv2:1.30.3"
STATUS = {"sidecar.istio.io/status": '{"initContainers":["istio-init"],"containers":["istio-proxy"],"revision":"x"}'}


def sidecar(
    init: str = "istio-init", args: list[str] | None = None, image: str = IMAGE, env: dict[str, str] | None = None,
    **spec: Any,
) -> Pod:  # fmt: skip
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    return pod(
        {
            "metadata": {"name": "shop-1", "namespace": "shop", "annotations": STATUS},
            "spec": {
                "initContainers": [{"name": init, "image": image, "args": args or ARGS, "env": variables}],
                "containers": [
                    {"name": "app", "image": "shop"},
                    {
                        "name": "istio-proxy", "image": image, "args": ["proxy", "sidecar"], "env": variables,
                        "securityContext": {"runAsUser": 1337, "runAsGroup": 1337},
                    },
                ],
                **spec,
            },
            "status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]},
        }
    )  # fmt: skip


def test_istio_init_writes_what_its_arguments_say() -> None:
    wanted = of_pod(sidecar())
    assert wanted.capture is not None
    assert wanted.capture.writer == "istio-init"
    assert wanted.told.sentence.startswith("Istio 1.30.3 (from the image tag")
    assert wanted.args == tuple(ARGS)
    assert wanted.expected is not None
    assert not wanted.notes


def test_the_cni_plugin_writes_for_a_pod_with_istio_validation() -> None:
    wanted = of_pod(sidecar("istio-validation", [*ARGS, "--run-validation", "--skip-rule-apply"]))
    assert wanted.capture is not None
    assert wanted.capture.writer == "istio-cni"
    assert wanted.expected is not None
    assert "--dport 15020 -j RETURN" in wanted.expected.text("iptables-save.txt")


def test_istios_agent_writes_for_an_ambient_pod() -> None:
    ambient = pod(
        {
            "metadata": {"name": "a", "namespace": "n", "annotations": {"ambient.istio.io/redirection": "enabled"}},
            "spec": {"containers": [{"name": "app"}]},
        }
    )
    wanted = of_pod(ambient)
    assert wanted.capture is not None
    assert wanted.capture.writer == "ambient"


@pytest.mark.parametrize(
    ("spec", "reason"), [({"hostNetwork": True}, "hostNetwork"), ({"initContainers": []}, "nothing captures")]
)
def test_what_is_not_captured_wants_no_rules(spec: dict[str, Any], reason: str) -> None:
    wanted = of_pod(sidecar(**spec))
    assert wanted.capture is None
    assert reason in wanted.reason
    assert wanted.expected is not None
    assert wanted.expected.rulesets == ()


def test_arguments_that_istio_init_refuses_are_its_own_failure() -> None:
    wanted = of_pod(sidecar(args=["istio-iptables", "--no-such"]))
    assert (wanted.capture, wanted.expected) == (None, None)
    assert wanted.reason == "istio-init itself fails"
    assert "unknown flag: --no-such" in wanted.problem


def test_without_a_tag_the_rules_tell_the_release() -> None:
    found = case("1.30.3/default").found
    assert of_pod(sidecar(image="registry/proxy@sha256:00"), found).told.evidence == "rules"
    assert of_pod(sidecar(image="registry/proxy@sha256:00")).told.evidence == "none"


def test_unknown_nameservers_are_taken_from_the_rules_and_that_is_said() -> None:
    dns = {"ISTIO_META_DNS_CAPTURE": "true"}
    found = case("1.30.3/dns").found
    wanted = of_pod(sidecar(env=dns), found)
    assert wanted.network.resolvers == ("10.96.0.10",)
    assert any("those of the found rules are taken: 10.96.0.10" in note for note in wanted.notes)
    assert of_pod(sidecar(env=dns), found, resolvers=["10.0.0.2"]).network.resolvers == ("10.0.0.2",)
