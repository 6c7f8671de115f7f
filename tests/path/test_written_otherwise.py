"""A recording that says the same in another way: what is predicted of it is the same."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.sources.snapshot import Files, Snapshot
from tests.path.recordings import DUMPS, NAMES, Without, truths, world

Items = list[dict[str, Any]]


class Written:
    """The files of a recording, each as `write` puts it."""

    def __init__(self, files: Files, write: Callable[[str, bytes], bytes]) -> None:
        self.files, self.write = files, write
        self.contents: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        if name not in self.contents:
            content = self.files.read(name)
            self.contents[name] = None if content is None else self.write(name, content)
        return self.contents[name]

    def names(self, folder: str) -> tuple[str, ...]:
        return self.files.names(folder)


def resources(files: Files, **change: Callable[[Items], object]) -> Files:
    def write(name: str, content: bytes) -> bytes:
        folder, _, file = name.partition("/")
        changed = change.get(file.partition(".")[0]) if folder == "resources" else None
        if changed is None:
            return content
        document = json.loads(content)
        changed(document["items"])
        return json.dumps(document).encode()

    return Written(files, write)


def items(files: Files, plural: str) -> Items:
    found: Items = json.loads(files.read(f"resources/{plural}.json") or b'{"items": []}')["items"]
    return found


def texts(files: Files, ending: str, pattern: bytes) -> Files:
    """Files of an ending without what a pattern finds."""
    found = re.compile(pattern)
    return Written(files, lambda name, text: found.sub(b"", text) if name.endswith(ending) else text)


def a_slice_for_each_endpoint(files: Files) -> Files:
    def split(slices: Items) -> None:
        for one in list(slices):
            first, *others = one.get("endpoints") or [None]
            for number, endpoint in enumerate(others):
                alone = copy.deepcopy(one) | {"endpoints": [endpoint]}
                alone["metadata"]["name"] += f"-{number}"
                slices.append(alone)
            if others:
                one["endpoints"] = [first]

    return resources(files, endpointslices=split)


def numbered(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The ports of a Service that have a number for a target."""
    for port in service["spec"].get("ports", []) if service["spec"].get("selector") else ():
        if isinstance(port.get("targetPort", port["port"]), int):
            yield port


def named_target_ports(files: Files) -> Files:
    services = items(files, "services")

    def name_targets(found: Items) -> None:
        for service in found:
            for port in numbered(service):
                port["targetPort"] = f"p-{port.get('targetPort', port['port'])}"

    def name_ports(pods: Items) -> None:
        for pod in pods:
            meta, containers = pod["metadata"], pod["spec"]["containers"]
            mine = [s for s in services if s["metadata"]["namespace"] == meta["namespace"]]
            labels = (meta.get("labels") or {}).items()
            wanted = {
                (port.get("targetPort", port["port"]), port.get("protocol", "TCP"))
                for service in mine
                for port in numbered(service)
                if service["spec"]["selector"].items() <= labels
            }
            own = next((c for c in containers if c["name"] != "istio-proxy"), containers[0])
            kept = [p for p in own.get("ports", []) if (p["containerPort"], p.get("protocol", "TCP")) not in wanted]
            named = [{"name": f"p-{port}", "containerPort": port, "protocol": proto} for port, proto in sorted(wanted)]
            own["ports"] = kept + named

    return resources(files, services=name_targets, pods=name_ports)


def sidecars_of_the_other_kind(files: Files) -> Files:
    """Native sidecars in place of ordinary ones, and the other way around; gateways stay as they are."""

    def move(holder: dict[str, Any], old: str, new: str) -> Items:
        moved = [entry for entry in holder.get(old, []) if entry["name"] == "istio-proxy"]
        holder[old] = [entry for entry in holder.get(old, []) if entry not in moved]
        holder[new] = holder.get(new, []) + moved
        return moved

    def swap(pods: Items) -> None:
        for pod in pods:
            ordinary = any(c["name"] == "istio-proxy" for c in pod["spec"]["containers"])
            if ordinary and len(pod["spec"]["containers"]) == 1:
                continue
            places = ("containers", "initContainers") if ordinary else ("initContainers", "containers")
            for container in move(pod["spec"], *places):
                container.pop("lifecycle", None)
                container.pop("restartPolicy", None)
                if ordinary:
                    container["restartPolicy"] = "Always"
            old, new = (f"{place.removesuffix('s')}Statuses" for place in places)
            move(pod["status"], old, new)

    return resources(files, pods=swap)


def rules_of_iptables_alone(files: Files) -> Files:
    """Without counters and without nft.json, where iptables' own form of the rules is there."""
    whole = Written(files, lambda name, text: re.sub(rb"(?m)^\[\d+:\d+\] ", b"", text) if "tables" in name else text)

    class Alone(Written):
        def read(self, name: str) -> bytes | None:
            beside = name.rpartition("/")[0] + "/iptables-save.txt"
            return None if name.endswith("nft.json") and files.read(beside) is not None else whole.read(name)

    return Alone(whole, lambda _, text: text)


def indented(files: Files) -> Files:
    def write(name: str, text: bytes) -> bytes:
        return json.dumps(json.loads(text), indent=3, sort_keys=True).encode() if name.endswith(".json") else text

    return Written(files, write)


def sockets_without_users(files: Files) -> Files:
    return texts(files, "sockets.txt", rb" users:\(\(.*?\)\)")


def sockets_without_containers(files: Files) -> Files:
    return texts(files, "sockets.txt", rb" users:\(\(.*?\)\)|cgroup:\S+")


WAYS = (
    a_slice_for_each_endpoint,
    named_target_ports,
    sidecars_of_the_other_kind,
    rules_of_iptables_alone,
    indented,
    sockets_without_users,
    sockets_without_containers,
)


def requests(name: str) -> list[tuple[str, str, str]]:
    """The requests that were sent, one through the gateway, and one for each port of a Service."""
    sent = [case.raw for case in truths() if case.name == name]
    callers = [tuple(raw["from_pod"].split("/")) for raw in sent] or [("ambient", "deploy/curl")]
    found = [(raw["url"], caller[1], caller[0]) for raw, caller in zip(sent, callers, strict=False)]
    whole = world(name)
    assert isinstance(whole, Snapshot)
    namespace, sender = callers[0]
    gateways = [p for p in items(whole.files, "pods") if p["metadata"]["name"].startswith("istio-ingressgateway")]
    found += [("http://bookinfo.example.com/productpage", "ingress", namespace) for _ in gateways[:1]]
    for service in items(whole.files, "services"):
        host = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
        ports = [p["port"] for p in service["spec"].get("ports", []) if p.get("protocol", "TCP") == "TCP"]
        found += [(f"{host}:{port}", sender, namespace) for port in ports[:2]]
    return found


def verdict(whole: Snapshot, files: Files, asked: tuple[str, str, str]) -> list[tuple[object, ...]]:
    target, sender, namespace = asked
    _, found = predict(
        Snapshot("it", files, whole.about), Asked(target=target, sender=sender), Scope(namespace=namespace)
    )
    ends = [(branch.probability, branch.end) for branch in found.outcome.branches]
    return [
        (share, e.answered_by, e.delivered, e.status, e.flags, e.broken, e.through_client, e.through_server, e.mtls)
        for share, e in ends
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_hangs_on_what_is_said_and_not_how(name: str) -> None:
    whole = world(name)
    assert isinstance(whole, Snapshot)
    others = {way: way(whole.files) for way in WAYS}
    for asked in requests(name):
        for gone in ((), DUMPS):
            before = verdict(whole, Without(whole.files, gone), asked)
            for way, files in others.items():
                assert verdict(whole, Without(files, gone), asked) == before, (way.__name__, asked, gone)
