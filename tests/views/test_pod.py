import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from meshctl.blocks import Graph, Heading, Note, Page, Timeline
from meshctl.checks import registry
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection import state as states
from meshctl.kube import namespaces
from meshctl.render import terminal
from meshctl.render.plain import plain
from meshctl.views import article, pod, pod_document, pods
from tests.injection import build
from tests.netfilter.rulings import case

SCHEMAS = Path(__file__).parents[2] / "meshctl" / "schemas"
RECORDED = [
    "classic-sidecar",
    "native-exclude",
    "native-probes",
    "tproxy",
    "mode-none",
    "dns",
    "hold",
    "host-network",
    "opted-out",
    "cni",
    "nftables",
    "ambient",
    "waypoint",
    "ztunnel",
    "ingress-gateway",
    "sidecar-in-ambient",
]


def validate(document: Any, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(document)))


def evidence(name: str = "classic-sidecar", **more: Any) -> Evidence:
    clues = {"clues": build.clues()} if name == "classic-sidecar" else {}
    return Evidence(description=build.described(build.recorded(name), **clues), **more)


@pytest.mark.parametrize("name", RECORDED)
def test_documents_fulfil_their_contract(name: str) -> None:
    it = evidence(name)
    validate(pod_document.document(it, registry.run(it)), "describe-pod")


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("width", [80, 200])
def test_pages_can_be_drawn(name: str, width: int) -> None:
    it = evidence(name)
    for page in (pod.page(it, registry.run(it), wide=True), article.page(it, registry.run(it))):
        text = terminal.draw(page, width=width, color=False)
        assert it.pod.name in text
        assert "not known to meshctl" not in text


def test_the_contracts_main_values_of_a_classic_pod() -> None:
    found = pod_document.document(evidence(), ())
    assert found["schema"] == "meshctl.describe-pod/v1"
    assert found["injection"]["mode"] == "sidecar"
    assert found["injection"]["istio_version"] == "1.30.3"
    assert found["injection"]["added"]["init_containers"] == ["istio-init"]
    assert found["injection"]["added"]["containers"] == ["istio-proxy"]
    assert "sidecar.istio.io/status" in found["injection"]["added"]["annotations"]
    assert "sidecar.istio.io/nativeSidecar" not in found["injection"]["added"]["annotations"]
    assert [(c["name"], c["kind"], c["added_by_mesh"]) for c in found["containers"]] == [
        ("istio-init", "init", True), ("reviews", "app", False), ("istio-proxy", "sidecar", True),
    ]  # fmt: skip
    capture = found["capture"]
    assert (capture["mode"], capture["outbound_port"], capture["proxy_uids"]) == ("REDIRECT", 15001, [1337])
    assert capture["exclude_inbound_ports"] == "15090,15021,15020"
    assert found["start_order"][0]["container"] == "pause"
    moments = [m["at"] for m in found["timeline"]]
    assert moments == sorted(moments)
    arguments = {a["flag"]: a["value"] for a in found["containers"][0]["arguments"]}
    assert arguments["-x"] == ""
    assert arguments["-b"] == "*"


@pytest.mark.parametrize("name", ["mode-none", "ambient", "ingress-gateway", "host-network"])
def test_nothing_is_captured_without_an_init_container(name: str) -> None:
    assert pod_document.document(evidence(name), ())["capture"] is None


def test_a_plan_has_no_state_and_no_times() -> None:
    it = Evidence(description=build.described(build.injected()))
    found = pod_document.document(it, ())
    assert (found["state"], found["timeline"], found["pod"]["phase"]) == (None, [], None)
    validate(found, "describe-pod")
    assert "Would it be injected?" in terminal.draw(
        pod.page(Evidence(description=build.described(build.plain())), ()), width=100, color=False
    )


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"kind": "Pod", "metadata": 5, "spec": "x", "status": []},
        {"spec": {"containers": [{}]}},
        build.injected(
            {"sidecar.istio.io/status": "[1", "proxy.istio.io/config": "{", "proxy.istio.io/overrides": "x"}
        ),
        build.injected(init_args=[]),
        build.injected(init_args=["istio-iptables", "-p"]),
        build.injected(proxy={"env": [{"name": "ISTIO_KUBE_APP_PROBERS", "value": "[3]"}]}),
        build.injected(proxy={"env": [{"name": "PROXY_CONFIG", "value": "nonsense"}, {"value": 3}]}),
        {**build.injected(), "status": {"containerStatuses": [{"name": "app", "state": {"running": 3}}]}},
    ],
)
def test_bad_input_is_told_and_the_rest_explained(raw: dict[str, Any]) -> None:
    it = Evidence(description=build.described(raw))
    validate(pod_document.document(it, registry.run(it)), "describe-pod")
    assert terminal.draw(pod.page(it, registry.run(it), wide=True), width=100, color=False)


def test_what_cannot_be_read_is_named() -> None:
    it = Evidence(description=build.described(build.injected({"sidecar.istio.io/status": "{"})))
    problems = pod_document.document(it, ())["injection"]["problems"]
    assert len(problems) == 1
    assert "not valid JSON" in problems[0]


def test_several_pods_tell_what_differs() -> None:
    many = [(evidence(name), ()) for name in ("classic-sidecar", "native-exclude")]
    found = pods.document(many)
    validate(found, "describe-pods")
    differing = {d["what"] for d in found["differences"]}
    assert {"mesh", "not incoming", "not to ports"} <= differing
    assert "What differs" in terminal.draw(pods.page(many), width=100, color=False)
    alike = [(evidence("dns"), ()), (evidence("dns"), ())]
    assert pods.document(alike)["differences"] == []


def test_one_pod_is_a_document_of_its_own() -> None:
    assert pods.document_of([(evidence(), ())])["schema"] == "meshctl.describe-pod/v1"
    assert pods.document_of([(evidence(), ()), (evidence("dns"), ())])["schema"] == "meshctl.describe-pods/v1"


def blocks(page: Page, kind: type) -> list[Any]:
    return [b for b in page.blocks if isinstance(b, kind)]


def test_the_article_tells_the_story_in_order() -> None:
    page = article.page(evidence(), ())
    assert len([h for h in blocks(page, Heading) if h.level == 1]) == 1
    titles = [h.text for h in blocks(page, Heading) if h.level == 2 and isinstance(h.text, str)]
    numbered = [t[:2] for t in titles if t[0].isdigit()]
    assert numbered == sorted(numbered)
    assert titles[0].startswith("1. Injection")
    assert {g.title for g in blocks(page, Graph)} >= {"Incoming", "Outgoing"}
    assert blocks(page, Timeline)
    text = terminal.draw(page, width=120, color=False)
    assert "172.17.0.138:9080" in text
    assert "pilot-agent" in text


def test_the_state_of_a_running_pod() -> None:
    sockets = (build.FIXTURES / "classic-sidecar.runtime" / "sockets.txt").read_bytes()
    certs = {
        "certificates": [
            {
                "cert_chain": [
                    {
                        "subject_alt_names": [{"uri": "spiffe://c/ns/n/sa/s"}],
                        "valid_from": "2026-01-01T00:00:00Z",
                        "expiration_time": "2026-01-02T00:00:00Z",
                    }
                ]
            }
        ]
    }
    dump = {"configs": [{"dynamic_listeners": [{"name": "l", "error_state": {"details": "no such filter"}}]}]}
    parts = {
        "netns/sockets.txt": sockets,
        "envoy/certs.json": json.dumps(certs).encode(),
        "envoy/config_dump.json": json.dumps(dump).encode(),
        "envoy/server_info.json": b'{"state": "LIVE"}',
    }
    state = states.parse(parts)
    assert state.listeners is not None
    ports = {o.port: o for o in state.listeners}
    assert ports[15006].program == "envoy"
    assert ports[9080].user == 1000
    assert ports[15000].local_only
    found = pod_document.document(evidence(state=state), ())["state"]
    assert found["proxy_state"] == "LIVE"
    assert found["certificates"][0]["identity"] == "spiffe://c/ns/n/sa/s"
    assert found["refused"] == [{"kind": "listener", "name": "l", "reason": "no such filter"}]
    text = terminal.draw(pod.page(evidence(state=state), ()), width=120, color=False)
    assert "Who listens" in text
    assert "1 pieces of configuration" in text or "refused" in text


def test_the_proxys_ports_are_those_of_its_own_capture_and_its_user_is_its_own() -> None:
    moved = [{"15001": "25001", "15006": "25006"}.get(word, word) for word in build.INIT_ARGS]
    raw = build.injected(init_args=moved, proxy={"securityContext": {"runAsUser": 1000700001}})
    line = "LISTEN 0 4096 0.0.0.0:{} 0.0.0.0:* uid:1000700001\n"
    text = "".join(map(line.format, (25001, 25006, 9999)))
    state = states.parse({"netns/sockets.txt": text.encode()})
    it = Evidence(description=build.described(raw), state=state)
    shown = terminal.draw(pod.page(it, ()), width=160, color=False)
    assert "the proxy takes outgoing connections here" in shown
    assert "the proxy takes incoming connections here" in shown
    assert "MC208" not in [finding.id for finding in registry.run(it)]


def test_a_broken_source_costs_only_its_own_part() -> None:
    state = states.parse({"envoy/certs.json": b"{", "envoy/server_info.json": b'{"state": "LIVE"}'})
    assert state.certificates is None
    assert state.server_state == "LIVE"
    assert "not valid JSON" in state.problems[0]


def shown(raw: Any) -> tuple[dict[str, Any], str]:
    it = Evidence(description=build.described(raw))
    found = pod_document.document(it, registry.run(it))
    jsonschema.validate(found, json.loads((SCHEMAS / "describe-pod.json").read_text()))
    return found, terminal.draw(pod.page(it, ()), width=200, color=False)


@pytest.mark.parametrize(
    "init",
    [
        {"args": ["my", "custom", "args"], "image": "mine"},
        {"command": ["/bin/sh", "-c"], "args": ["-p 15001"]},
        {"args": []},
    ],
)
def test_settings_of_another_program_are_not_claimed(init: dict[str, Any]) -> None:
    found, text = shown(build.injected(init=init))
    capture = found["capture"]
    assert capture["unread"] == [*init.get("command", []), *init["args"]]
    assert "cannot be told" in capture["notes"][0]
    assert {v for k, v in capture.items() if k not in ("notes", "unread")} == {None}
    assert "cannot be told" in text
    assert "-> port 15006" not in text


def test_settings_beside_an_unknown_argument_are_those_that_are_known() -> None:
    found, text = shown(build.injected(init_args=[*build.INIT_ARGS, "--no-such-flag"]))
    assert found["capture"]["inbound_port"] == 15006
    assert found["capture"]["unread"] == ["--no-such-flag"]
    assert "istio-init would fail" in text


def test_no_capture_without_an_init_container() -> None:
    assert shown(build.plain())[0]["capture"] is None


def words(name: str, wide: bool = False, **more: Any) -> str:
    return " ".join(terminal.draw(pod.page(evidence(name, **more), (), wide=wide), width=400, color=False).split())


def test_what_ztunnel_runs_is_not_called_envoy() -> None:
    listening = [states.Listener("127.0.0.1", 15000, "ztunnel", 7), states.Listener("0.0.0.0", 15021, "ztunnel", 7)]
    text = words("ztunnel", state=states.State(listeners=tuple(listening)))
    assert "ztunnel's administration" in text
    assert "ztunnel's readiness check" in text
    assert "ztunnel's metrics for Prometheus" in text
    assert "Envoy" not in text
    assert "proxy run the proxy the pod's own manifest" in text


def test_a_container_waits_for_what_is_there_to_wait_for() -> None:
    assert "there is no init container to wait for" in words("opted-out")
    assert "starts when all init containers are done; containers" in words("classic-sidecar")
    assert "those that keep running are up" in words("native-probes")
    assert "before the others?" in words("opted-out")
    assert "before the init containers?" in words("classic-sidecar")


def test_a_pod_that_its_label_keeps_out_of_ambient_says_so() -> None:
    raw = {**build.plain(labels={"istio.io/dataplane-mode": "none"}), "status": {"phase": "Running"}}
    space = namespaces.namespace({"metadata": {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}})
    it = Evidence(description=build.described(raw, namespace=space))
    assert it.description.injection.mode == "none"
    text = terminal.draw(pod.page(it, ()), width=200, color=False)
    assert (
        "The namespace asks for ambient mode, but the pod's label istio.io/dataplane-mode: none keeps it out." in text
    )


def test_a_proxy_that_refused_something_is_not_said_to_have_its_configuration() -> None:
    fine = states.State(server_state="LIVE", refused=())
    refusing = states.State(server_state="LIVE", refused=(states.Refused("listener", "x", "no"),))
    assert "it has its configuration and works" in words("classic-sidecar", state=fine)
    assert "it runs, but without what it refused" in words("classic-sidecar", state=refusing)


@pytest.mark.parametrize("name", RECORDED)
def test_the_chapters_of_the_article_are_numbered_without_a_gap(name: str) -> None:
    titles = [plain(b.text) for b in article.page(evidence(name), ()).blocks if isinstance(b, Heading) and b.level == 2]
    numbers = [int(title.partition(". ")[0]) for title in titles if title[:1].isdigit()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_article_shows_each_rule_and_the_image_once() -> None:
    recorded = case("1.30.3/default-nft")
    it = evidence("nftables", rulesets=recorded.found)
    text = " ".join(terminal.draw(article.page(it, ()), width=400, color=False).split())
    assert "counter jump istio-output" in text
    assert "packet rules (nftables)" in text
    assert "native nftables" in text
    old = evidence("classic-sidecar", rulesets=case("1.30.3/default").found)
    drawn = terminal.draw(article.page(old, ()), width=400, color=False)
    assert "-p tcp -m tcp --dport 15008 -j RETURN" in drawn
    about = drawn.partition("Everything about istio-proxy")[2]
    assert about.count("docker.io/istio/proxyv2") == 1


def drawn(raw: Any, **subject: Any) -> str:
    """A pod's page as text without line breaks inside its sentences."""
    it = Evidence(description=build.described(raw, **subject))
    return " ".join(terminal.draw(pod.page(it, registry.run(it)), width=400, color=False).split())


ENABLED = {"namespace": build.namespace(istio_injection="enabled"), "webhooks": build.recorded_webhooks()}


def test_what_a_pod_made_now_would_be_is_not_said_of_the_pod_that_runs() -> None:
    running = {**build.plain(labels={"app": "web"}), "status": {"phase": "Running"}}
    text = drawn(running, **ENABLED)
    assert "Why it was not injected" in text
    assert "would be injected now: " in text
    assert "\u2713 injected: " not in text
    injected = {**build.injected(labels={"app": "web"}), "status": {"phase": "Running"}}
    assert "\u2713 injected: " in drawn(injected, **ENABLED)
    assert "would not be injected now: " in drawn(injected, namespace=build.namespace(), webhooks=ENABLED["webhooks"])
    assert "would be injected: " in drawn(build.plain(), **ENABLED)
    bad = build.plain({"traffic.sidecar.istio.io/excludeInboundPorts": "1-2"}, labels={"app": "web"})
    assert "would be rejected: istiod would refuse" in drawn(bad, **ENABLED)


def test_a_pod_of_the_node_is_told_to_stay_out_only_where_something_asks_for_it() -> None:
    raw = build.plain(hostNetwork=True)
    assert "MC102" in drawn(raw, **ENABLED)
    assert "MC102" not in drawn(raw)
    assert "MC102" not in drawn(raw, namespace=build.namespace(), webhooks=ENABLED["webhooks"])


def test_a_manifest_is_told_with_what_becomes_of_it() -> None:
    text = drawn(build.plain(), **ENABLED)
    assert "not in the mesh as written: a pod made from this would be injected with a sidecar" in text
    assert "a pod made from it gets istio-init or istio-validation and istio-proxy as well" in text
    assert "as a native sidecar:" in text
    native = drawn(build.plain({"sidecar.istio.io/nativeSidecar": "true"}), **ENABLED, control_planes=("1.30.3",))
    assert "would be injected with a native sidecar" in native
    assert "the order of the manifest; a pod" not in native
    assert "may be injected" in drawn(build.plain())
    assert "not in the mesh: no proxy" in drawn(build.plain(), namespace=build.namespace(), webhooks=())
    other = build.plain({"inject.istio.io/templates": "gateway"})
    assert "what its templates (gateway) say" in drawn(other, **ENABLED)


def test_a_pod_that_is_being_deleted_is_not_just_running() -> None:
    raw = {**build.injected(), "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert "being deleted" not in drawn(raw)
    raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z"
    assert "Running, ready, being deleted (to be gone by 2026-01-01 00:00:30)" in drawn(raw)
    it = Evidence(description=build.described(raw))
    found = pod_document.document(it, ())
    validate(found, "describe-pod")
    assert found["pod"]["deleted_at"] == "2026-01-01T00:00:30.000000Z"
    other = Evidence(description=build.described(build.injected()))
    assert "being deleted" in terminal.draw(pods.page([(it, ()), (other, ())]), width=200, color=False)


def test_the_page_of_a_pod_of_the_node_claims_no_network_namespace() -> None:
    it = evidence("host-network")
    for page in (pod.page(it, registry.run(it)), article.page(it, registry.run(it))):
        text = " ".join(terminal.draw(page, width=400, color=False).split())
        assert "holds the network namespace" not in text
        assert "all share the network of pause" not in text


def test_rules_without_a_proxy_stand_in_the_first_lines() -> None:
    raw = build.injected()
    raw["spec"]["containers"] = raw["spec"]["containers"][:1]
    assert "there is istio-init, but no proxy" in drawn({**raw, "status": {"phase": "Running"}})


def test_a_part_that_cannot_be_read_stands_under_what_was_not_looked_at() -> None:
    seen = states.parse({"envoy/config_dump.json": b"\x00garbage"})
    assert seen.problems
    it = evidence(state=states.State(problems=seen.problems, gaps=seen.problems))
    text = " ".join(terminal.draw(pod.page(it, ()), width=400, color=False).split())
    assert "Not looked at envoy/config_dump.json: not valid JSON" in text


def test_a_pod_may_have_been_made_while_its_injector_did_not_answer() -> None:
    running = {**build.plain(labels={"app": "web"}), "status": {"phase": "Running"}}
    assert "did not answer then" not in drawn(running, **ENABLED)
    lax = tuple(replace(hook, failure_policy="Ignore") for hook in build.recorded_webhooks())
    assert "did not answer then" in drawn(running, namespace=ENABLED["namespace"], webhooks=lax)


def test_of_many_findings_that_are_alike_the_first_are_shown_and_the_others_counted() -> None:
    def found(id: str, number: int) -> list[Finding]:
        made = (f"no endpoint for {n}" for n in range(number))
        return [Finding(id=id, severity="warning", subject="pod/a/b", text=text, fix="look") for text in made]

    findings = [*found("MC402", 5), *found("MC404", 3)]
    notes = [block for block in pod.findings_blocks(findings) if isinstance(block, Note)]
    assert len(notes) == 3 + 3
    assert "the same of 3 more" in str(notes[2])
    assert len([b for b in pod.findings_blocks(findings, every=True) if isinstance(b, Note)]) == 8
