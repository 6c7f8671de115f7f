"""The recordings with IPv6 in the place of IPv4, or beside it: requests end as they did."""

import json
import re
from dataclasses import replace
from itertools import groupby, product
from typing import Any

import pytest

from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.path.model import Outcome
from meshctl.sources.snapshot import Files, Snapshot
from tests.path.recordings import DUMPS, NAMES, Case, Without, truths, world

ADDRESS = re.compile(r"(?<![\w.\-])(\d{1,3}(?:\.\d{1,3}){3})(?![\w.]*[a-zA-Z_])(?!\.\d)(/\d+|:\d+|:\*)?")
OWN = {"0.0.0.0": "::", "127.0.0.0": "::1", "127.0.0.1": "::1", "127.0.0.6": "::6"}
RANGE = re.compile(r'("address_prefix":\s*"(?!0\.0\.0\.0)[\d.]+",\s*"prefix_len":\s*)(\d+)')
FAMILIES = {"ip6tables-save.txt": "iptables-save.txt", "ip6tables-legacy-save.txt": "iptables-legacy-save.txt"}
SWAPPED = FAMILIES | {four: six for six, four in FAMILIES.items()}
OUTSIDE = ("10.99.99.99", "240.0.0.10")
"""Addresses of nobody: outside of the Services' range, but within IPv6's private one."""


def six(found: re.Match[str]) -> str:
    """An IPv4 address within fd00::/96, with its prefix or port."""
    old, tail = found[1], found[2] or ""
    numbers = [int(part) for part in old.split(".")]
    if max(numbers) > 255:
        return found[0]
    new = OWN.get(old) or f"fd00::{numbers[0] * 256 + numbers[1]:x}:{numbers[2] * 256 + numbers[3]:x}"
    if tail.startswith(":"):
        return f"[{new}]{tail}"
    if tail and new in ("::", "::1"):
        return f"{new}/{0 if new == '::' else 128}"
    return f"{new}/{96 + int(tail[1:])}" if tail else new


def converted(name: str, text: str) -> str:
    """A file's text, its ranges in the lengths of IPv6."""
    text = RANGE.sub(lambda found: f"{found[1]}{96 + int(found[2])}", text)
    if name.endswith("ip-address.json"):
        links = json.loads(text)
        for link in links:
            for one in link["addr_info"]:
                own = 128 if one["local"].startswith("127.") else 96 + one["prefixlen"]
                one.update({"family": "inet6", "prefixlen": own} if one["family"] == "inet" else {})
        text = json.dumps(links)
    text = ADDRESS.sub(six, text).replace('"IPv4"', '"IPv6"')
    return text.replace("icmp-port-unreachable", "icmp6-port-unreachable")


class WithIPv6:
    """A recording's files; the rules of one family are those of the other."""

    def __init__(self, files: Files) -> None:
        self.files, self.contents = files, dict[str, bytes | None]()

    def read(self, name: str) -> bytes | None:
        if name not in self.contents:
            folder, _, file = name.rpartition("/")
            content = self.files.read(f"{folder}/{SWAPPED.get(file, file)}" if folder else file)
            if content is None and folder.startswith("nodes/") and file == "iptables-save.txt":
                content = b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
            if content is not None:
                text = content.decode("utf-8", "surrogateescape")
                content = converted(name, text).encode("utf-8", "surrogateescape")
            self.contents[name] = content
        return self.contents[name]

    def names(self, folder: str) -> tuple[str, ...]:
        return tuple(SWAPPED.get(name, name) for name in self.files.names(folder))


def without_native(files: Files, gone: tuple[str, ...]) -> Files:
    """Files without native tables (their family is in each match) and without some more."""
    return Without(files, ("nft.json", *gone))


def ends(outcome: Outcome) -> list[Any]:
    """What every branch comes to, in an order of its own."""
    fields = ("delivered", "status", "flags", "broken", "through_client", "through_server", "mtls", "answered_by")
    told = (
        (
            round(each.probability, 4),
            ADDRESS.sub(six, each.cluster or ""),
            bool(each.end.undecided),
            *(getattr(each.end, field) for field in fields),
        )
        for each in outcome.branches
    )
    return sorted(told, key=repr)


def outcome(files: Files, about: Any, case: Case, target: str) -> list[Any]:
    namespace, sender = case.raw["from_pod"].split("/")
    asked = Asked(target=target, sender=sender)
    return ends(predict(Snapshot("it", files, about), asked, Scope(namespace=namespace))[1].outcome)


@pytest.mark.parametrize("name", NAMES)
def test_requests_end_as_they_did(name: str) -> None:
    whole = world(name)
    assert isinstance(whole, Snapshot)
    other = WithIPv6(whole.files)
    cases = next(list(found) for key, found in groupby(truths(), key=lambda case: case.name) if key == name)
    for case, gone in product(cases, ((), DUMPS)):
        url = case.raw["url"]
        if any(address in url for address in OUTSIDE):
            continue
        asked = re.sub(r"//(fd00::[0-9a-f:]+)", r"//[\1]", ADDRESS.sub(six, url))
        before = outcome(without_native(whole.files, gone), whole.about, case, url)
        assert outcome(without_native(other, gone), whole.about, case, asked) == before, (case.id, gone)
    rules = [content for file, content in other.contents.items() if file.endswith("ip6tables-save.txt")]
    assert any(b"::6/128" in (content or b"") for content in rules) or name in ("ambient", "nftmode")


class WithBoth:
    """A recording's files with an address of IPv6 beside each of IPv4; the proxies listen for IPv4, as they did."""

    def __init__(self, files: Files, ruled: bool) -> None:
        self.files, self.ruled = files, ruled

    def read(self, name: str) -> bytes | None:
        folder, _, file = name.rpartition("/")
        source = FAMILIES.get(file, file) if self.ruled or folder.startswith("nodes/") else file
        content = self.files.read(f"{folder}/{source}" if folder else file)
        if content is None:
            return None
        if source != file:
            return converted(name, content.decode()).encode()
        document = json.loads(content) if file.endswith(".json") else None
        if folder == "resources" and file.partition(".")[0] in ("pods", "services", "endpointslices"):
            document["items"] = [one for each in document["items"] for one in beside(each)]
        elif file == "ip-address.json":
            for link, other in zip(document, json.loads(converted(name, content.decode())), strict=True):
                link["addr_info"] += [one for one in other["addr_info"] if one not in link["addr_info"]]
        elif file == "ip-route.json":
            document += [route | {"family": "inet6"} for route in json.loads(converted(name, content.decode()))]
        else:
            return content
        return json.dumps(document).encode()

    def names(self, folder: str) -> tuple[str, ...]:
        known = self.files.names(folder)
        rules = [six for six, four in FAMILIES.items() if four in known and folder.startswith("nodes/")]
        return tuple(dict.fromkeys((*known, *rules)))


def beside(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """A resource of both families; of an EndpointSlice the one of the other family beside it."""
    if "addressType" in raw:
        return [raw, json.loads(converted("", json.dumps(raw)))]
    if raw.get("status", {}).get("podIP") and not raw["spec"].get("hostNetwork"):
        raw["status"]["podIPs"] += [{"ip": converted("", one["ip"])} for one in raw["status"]["podIPs"]]
    if raw["spec"].get("clusterIP", "None") != "None":
        raw["spec"]["clusterIPs"] = [raw["spec"]["clusterIP"], converted("", raw["spec"]["clusterIP"])]
    return [raw]


@pytest.mark.parametrize("name", ["bookinfo", "classic", "broken", "cnimode"])
@pytest.mark.parametrize("gone", [(), ("sockets.txt",), DUMPS])
def test_where_the_proxy_takes_one_family_the_client_goes_on_to_its_address(name: str, gone: tuple[str, ...]) -> None:
    whole = world(name)
    assert isinstance(whole, Snapshot)
    other = WithBoth(whole.files, True)
    for case in (case for case in truths() if case.name == name):
        told = (whole.about, case, case.raw["url"])
        assert outcome(without_native(other, gone), *told) == outcome(without_native(whole.files, gone), *told), case.id


def test_an_address_of_the_other_family_that_no_rule_takes_is_left_to_the_client() -> None:
    whole = world("bookinfo")
    assert isinstance(whole, Snapshot)
    case = next(case for case in truths() if case.name == "bookinfo" and "reviews:9080" in case.raw["url"])
    files = without_native(WithBoth(whole.files, False), ())
    asked = Asked(target="kubernetes.default:443", sender=case.raw["from_pod"].split("/")[1])
    end = predict(Snapshot("it", files, whole.about), asked, Scope(namespace="default"))[1].outcome.end
    assert end.through_client is None
    assert "addresses of both families, and which the client tries first is its own choice" in end.undecided[0]
    asked = replace(asked, target=case.raw["url"])
    found = predict(Snapshot("it", files, whole.about), asked, Scope(namespace="default"))[1]
    assert (found.outcome.end.delivered, found.outcome.end.through_client) == (True, True)
    assert any("the client goes on to the next address" in fact for hop in found.hops for fact in hop.facts)
