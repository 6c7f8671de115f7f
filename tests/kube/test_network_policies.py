from typing import Any

import pytest

from meshctl.kube import network_policies
from meshctl.kube.pods import Pod

POD = Pod(name="web-1", namespace="shop", labels={"app": "web"})


def policy(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


@pytest.mark.parametrize(
    ("raw", "ingress", "egress"),
    [
        (policy(podSelector={}), True, False),
        (policy(podSelector={}, egress=[{}]), True, True),
        (policy(podSelector={}, policyTypes=["Egress"]), False, True),
        (policy(podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"]), True, False),
        (policy(podSelector={"matchLabels": {"app": "other"}}), False, False),
        (policy("other", podSelector={}), False, False),
        (policy(podSelector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), True, False),
    ],
)
def test_which_policies_are_about_a_pod(raw: dict[str, Any], ingress: bool, egress: bool) -> None:
    assert bool(list(network_policies.about([raw], POD, "Ingress"))) is ingress
    assert bool(list(network_policies.about([raw], POD, "Egress"))) is egress
