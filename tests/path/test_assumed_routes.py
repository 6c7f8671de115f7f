"""What a sidecar does with routes where its configuration was not recorded: each case is what istiod makes of them."""

from typing import Any

import pytest

from meshctl.path import policies
from meshctl.path.decision import Decision
from meshctl.path.model import Request
from meshctl.path.wire import Connection
from tests.path.test_assumed import a, ask, clusters, pod, route, scene

GRPC = {"headers": (("content-type", "application/grpc"),)}


def virtual(*http: Any, **spec: Any) -> dict[str, Any]:
    return a("VirtualService", "web", {"hosts": ["web"], "http": list(http), **spec})


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "shares"),
        [
            ({"abort": {"httpStatus": 503}}, []),
            ({"abort": {"httpStatus": 503, "percentage": {}}}, []),
            ({"abort": {"httpStatus": 503, "percent": 50}}, []),  # was never read
            ({"abort": {"httpStatus": 503, "percentage": {"value": 12.5}}}, [0.125]),
            ({"delay": {"fixedDelay": "5s"}}, []),
            ({"delay": {"fixedDelay": "5s", "percentage": {}}}, []),
            ({"delay": {"fixedDelay": "5s", "percentage": {}, "percent": 50}}, []),
            ({"delay": {"fixedDelay": "5s", "percent": 50}}, [0.5]),
        ],
    )
    def test_without_a_percentage_nothing_is_injected(self, fault: Any, shares: list[float]) -> None:
        found = ask(scene(virtual(route("web", fault=fault))), "10.96.0.1", 80, "web")
        assert [one.share for one in found.injected] == shares

    @pytest.mark.parametrize(
        ("abort", "request_", "told"),
        [
            ({"grpcStatus": "UNAVAILABLE"}, GRPC, (200, 14)),
            ({"grpcStatus": "UNAVAILABLE"}, {}, (200, None)),
            ({"httpStatus": 418}, GRPC, (418, None)),
        ],
    )
    def test_a_grpc_status(self, abort: Any, request_: Any, told: tuple[int, int | None]) -> None:
        fault = {"abort": {**abort, "percentage": {"value": 100}}}
        found = ask(scene(virtual(route("web", fault=fault))), "10.96.0.1", 80, "web", **request_)
        assert [(one.status, one.grpc_status, one.flags) for one in found.injected] == [(*told, "FI")]


def changes(**request: Any) -> dict[str, Any]:
    return {"headers": {"request": request}}


class TestHeaders:
    """A policy of the callee that looks at a header sees what the caller's proxy made of it."""

    def sent(self, *http: Any, **spec: Any) -> Request:
        found = ask(scene(virtual(*http, **spec)), "10.96.0.1", 80, "web", headers=(("X-A", "1"), ("x-b", "2")))
        assert found.forwarded is not None
        return found.forwarded

    def judged(self, request: Request) -> Decision:
        rule = {"when": [{"key": "request.headers[x-a]", "values": ["1"]}]}
        place = scene(a("AuthorizationPolicy", "p", {"rules": [rule]}), pods=(pod("web", "10.0.0.11"),))
        conn = Connection(source="10.0.0.5", sender=None, layer="plaintext", request=request)
        return policies.inbound(place, place.station(place.pods[1]), 80, conn)

    @pytest.mark.parametrize(
        ("said", "values"),
        [
            (changes(remove=["x-a"]), []),
            (changes(set={"X-a": "3"}), ["3"]),
            (changes(add={"x-a": "3"}), ["1", "3"]),
            (changes(remove=["x-a"], add={"x-a": "100%%"}), ["100%"]),
            (changes(set={"x-a": "3"}, add={"x-a": "4"}), ["3", "4"]),
            (changes(remove=[":path"], set={":path": "/z"}), ["1"]),
        ],
    )
    def test_of_a_rule_and_of_its_only_destination(self, said: Any, values: list[str]) -> None:
        to = route("web")
        for one in ({**to, **said}, {"route": [{**to["route"][0], **said}]}):
            sent = self.sent(one)
            assert [value for name, value in sent.headers if name.lower() == "x-a"] == values
            assert ("x-b", "2") in sent.headers
            assert not sent.unsure
            refused = self.judged(sent).refusal
            assert (refused is None) is (values == ["1"])

    def test_the_host(self) -> None:
        assert self.sent({**route("web"), **changes(set={"Host": "a.example.com"})}).host == "a.example.com"
        both = {**changes(set={":authority": "a.example.com"}), "rewrite": {"authority": "b.example.com"}}
        assert self.sent({**route("web"), **both}).host == "b.example.com"

    @pytest.mark.parametrize(
        "http",
        [
            {**route("web"), **changes(set={"x-a": "%DOWNSTREAM_REMOTE_ADDRESS%"})},
            {"route": [{**route(host)["route"][0], "weight": 50, **changes(set={"x-a": host})} for host in "ab"]},
        ],
    )
    def test_what_cannot_be_told_decides_nothing(self, http: Any) -> None:
        sent = self.sent(http)
        assert sent.unsure == ("x-a",)
        assert self.judged(sent).undecided

    def test_a_rule_comes_after_one_of_several_destinations(self) -> None:
        several = [{**route(host)["route"][0], "weight": 50, **changes(add={"x-a": host})} for host in "ab"]
        sent = self.sent({"route": several, **changes(set={"x-a": "3"})})
        assert (sent.headers, sent.unsure) == ((("x-b", "2"), ("x-a", "3")), ())

    def test_a_delegate_has_those_of_its_root_where_it_says_none(self) -> None:
        root = {"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "part"}, **changes(set={"x-a": "root"})}
        for more, value in (({}, "root"), (changes(set={"x-a": "own"}), "own"), ({"headers": {}}, "1")):
            part = a("VirtualService", "part", {"http": [{**route("web"), **more}]})
            found = ask(scene(virtual(root), part), "10.96.0.1", 80, "web", headers=(("x-a", "1"),))
            assert found.forwarded is not None
            assert found.forwarded.headers == (("x-a", value),)
            assert clusters(found) == ["outbound|80||web.shop"]
