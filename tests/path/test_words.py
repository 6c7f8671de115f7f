"""Flags, expectations, lookups, sockets: the parts of a trace that need no recording."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.envoy.model.routes import RetryPolicy
from meshctl.errors import BadInput
from meshctl.istio.mesh import Mesh
from meshctl.istio.mesh import read as read_mesh
from meshctl.istio.mesh_config import MeshConfig
from meshctl.kube import services
from meshctl.path import dns, expect, flags, netns, why
from meshctl.path.model import (
    Aim,
    Branch,
    ClusterShare,
    End,
    EndpointSeen,
    KubeProxy,
    Outcome,
    Request,
    Sender,
    Trace,
    succeeds,
)
from meshctl.path.outcome import (
    Course,
    Limits,
    Spared,
    failing,
    merged,
    retries_on,
    retries_status,
    through_client_http,
    with_retries,
)
from meshctl.path.target import port_of, protocol_of, request_for
from meshctl.path.wire import server_name
from meshctl.refs import parse_target
from meshctl.render import terminal
from meshctl.views import why as why_view

DEFAULT = RetryPolicy(on=("connect-failure", "retriable-status-codes"), attempts=2, host_predicates=("previous_hosts",))
REFUSED = End("nobody", delivered=False, broken="refused", mtls=None)
UNREACHED = End("server-proxy", 503, server_flags="UF", delivered=False, why="nothing listens")
ANSWERED = End("app", delivered=True)


def a_trace(end: End, cluster: str = "outbound|80||a.b.svc.cluster.local") -> Trace:
    outcome = Outcome(end, "default", (ClusterShare(cluster, "", 1),), (Branch(1.0, cluster, end),))
    return Trace(Sender("a", "b"), Aim("a.b", "a", 80), Request(), (), outcome, KubeProxy(False, ""))


class TestOutcome:
    def test_a_refused_connection_is_a_503_with_both_flags_where_the_route_retries(self) -> None:
        assert through_client_http(REFUSED, DEFAULT).flags == "URX,UF"
        assert through_client_http(REFUSED, None).flags == "UF"

    def test_a_cut_connection_is_uc_and_is_not_retried_by_default(self) -> None:
        cut = End("nobody", delivered=False, broken="reset")
        assert through_client_http(cut, DEFAULT).flags == "UC"
        assert not retries_on(DEFAULT, connected=True)

    def test_another_endpoint_is_tried_where_one_refuses(self) -> None:
        courses = [Course(0.5, REFUSED, endpoint="1"), Course(0.5, ANSWERED, endpoint="2")]
        assert [c.end for c in with_retries(courses, DEFAULT)] == [ANSWERED]

    @pytest.mark.parametrize(
        ("on", "grpc", "lost"),
        [
            (("5xx",), False, 0.0),
            (("gateway-error",), False, 0.0),
            (("connect-failure", "unavailable"), False, 0.5),
            (("unavailable",), True, 0.0),
            (("5xx",), True, 0.5),
            (("retriable-status-codes",), False, 0.0),
        ],
    )
    def test_another_endpoint_is_tried_where_a_proxy_answers_503(
        self, on: tuple[str, ...], grpc: bool, lost: float
    ) -> None:
        policy = RetryPolicy(on=on, attempts=2, status_codes=(503,), host_predicates=("previous_hosts",))
        courses = [Course(0.5, UNREACHED, endpoint="1", pod="a/b"), Course(0.5, ANSWERED, endpoint="2")]
        found = with_retries(courses, policy, grpc=grpc)
        assert sum(c.probability for c in found if c.end is UNREACHED) == pytest.approx(lost)
        assert found[-1].spared == ((Spared("1 a/b", 1.0, "nothing listens"),) if not lost else ())

    def test_a_reset_is_tried_again_only_where_the_policy_says_so(self) -> None:
        cut = End("nobody", delivered=False, broken="reset")
        courses = [Course(0.5, cut, endpoint="1"), Course(0.5, ANSWERED, endpoint="2")]
        assert len(with_retries(courses, DEFAULT)) == 2
        assert [
            c.end
            for c in with_retries(
                courses, RetryPolicy(on=("reset",), attempts=1, host_predicates=("x.previous_hosts",))
            )
        ] == [ANSWERED]

    def test_without_avoiding_tried_hosts_each_try_is_left_to_chance(self) -> None:
        courses = [Course(0.5, REFUSED, endpoint="1"), Course(0.5, ANSWERED, endpoint="2")]
        found = with_retries(courses, RetryPolicy(on=("connect-failure",), attempts=2))
        assert [c.probability for c in found] == pytest.approx([0.125, 0.875])

    def test_more_bad_endpoints_than_tries_may_all_be_met(self) -> None:
        courses = [Course(0.25, REFUSED, endpoint=str(i)) for i in range(3)] + [Course(0.25, ANSWERED, endpoint="9")]
        policy = RetryPolicy(on=("connect-failure",), attempts=1, host_predicates=("previous_hosts",))
        found = with_retries(courses, policy)
        assert sum(c.probability for c in found if c.end is REFUSED) == pytest.approx(3 / 4 * 2 / 3)

    def test_a_host_that_is_avoided_may_come_up_in_every_pick_of_a_try(self) -> None:
        courses = [Course(1 / 3, REFUSED, endpoint=str(i)) for i in range(2)] + [Course(1 / 3, ANSWERED, endpoint="9")]
        found = with_retries(courses, replace(DEFAULT, picks=5))
        lost = 2 / 3 * ((1 / 3) ** 6 + (1 - (1 / 3) ** 6) / 2) * (2 / 3) ** 6
        assert sum(c.probability for c in found if c.end is REFUSED) == pytest.approx(lost)
        assert [c.end for c in with_retries(courses, replace(DEFAULT, picks=60))] == [ANSWERED]

    def test_an_endpoint_that_fails_by_chance_may_be_met_by_every_try(self) -> None:
        courses = [Course(0.3, UNREACHED, endpoint="1"), Course(0.7, ANSWERED, endpoint="1")]
        policy = RetryPolicy(on=("5xx",), attempts=1, host_predicates=("previous_hosts",))
        found = with_retries(courses, policy)
        assert found[0].probability == pytest.approx(0.09)
        assert failing(found[0].spared[0]) == "fails 30% of its tries"

    def test_without_retries_half_of_the_requests_fail(self) -> None:
        courses = [Course(0.5, REFUSED, endpoint="1"), Course(0.5, ANSWERED, endpoint="2")]
        assert len(with_retries(courses, None)) == 2

    @pytest.mark.parametrize(
        ("limits", "found"),
        [
            (Limits(), "URX,UF"),
            (Limits(0, None), "URX,UF"),
            (Limits(5, None), ""),
            (Limits(29.9, 10), "UT"),
            (Limits(30.2, 10), ""),
            (Limits(31, 10), "URX,UF"),
        ],
    )
    def test_the_shorter_of_the_timeouts_of_route_and_connections_ends_it(self, limits: Limits, found: str) -> None:
        end = through_client_http(End("nobody", delivered=False, broken="timeout"), DEFAULT, limits=limits)
        assert (end.flags, bool(end.undecided)) == (found, not found)

    def test_there_is_no_other_try_where_the_answer_is_given_up_before_the_connection(self) -> None:
        silent = End("nobody", delivered=False, broken="timeout")
        courses = [Course(0.5, silent, endpoint="1"), Course(0.5, ANSWERED, endpoint="2")]
        assert with_retries(courses, DEFAULT, limits=Limits(5, 10)) == courses
        assert [c.end for c in with_retries(courses, DEFAULT, limits=Limits(15, 10))] == [ANSWERED]

    def test_a_status_is_retried_only_where_the_policy_names_it(self) -> None:
        assert not retries_status(DEFAULT, 503)
        assert retries_status(RetryPolicy(on=("5xx",), attempts=1), 503)

    @given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8))
    @settings(deadline=None, max_examples=50)
    def test_merging_keeps_the_whole_chance(self, shares: list[float]) -> None:
        total = sum(shares)
        ends = (REFUSED, ANSWERED)
        courses = [Course(share / total, ends[i % 2], cluster=f"c{i % 3}") for i, share in enumerate(shares)]
        assert sum(c.probability for c in merged(courses)) == pytest.approx(1.0)

    def test_a_redirect_is_a_success_and_undecided_is_neither(self) -> None:
        assert succeeds(End("client-proxy", 302, delivered=False)) is True
        assert succeeds(End("client-proxy", 399, delivered=False)) is True
        assert succeeds(End("server-proxy", 400, delivered=False)) is False
        assert succeeds(End(None, delivered=None, undecided=("why",))) is None


class TestExpect:
    def test_an_expected_refusal_is_met(self) -> None:
        found = expect.judge("status=403", a_trace(End("server-proxy", 403, delivered=False)))
        assert found.met

    def test_flags_with_a_comma_stay_together(self) -> None:
        end = End("client-proxy", 503, "URX,UF", delivered=False)
        assert expect.judge("status=503,flags=URX,UF", a_trace(end)).met

    @pytest.mark.parametrize("text", ["flags=-", "flags=none", "server_response_flags=-", "route=default,flags=-"])
    def test_a_dash_means_none_as_in_the_access_log(self, text: str) -> None:
        assert expect.judge(text, a_trace(ANSWERED)).met

    def test_a_dash_is_not_met_by_a_flag(self) -> None:
        assert not expect.judge("flags=-", a_trace(End("client-proxy", 503, "UF", delivered=False))).met

    def test_mtls_alone_means_mutual(self) -> None:
        assert not expect.judge("mtls", a_trace(End("app", delivered=True, mtls="none"))).met

    def test_undecided_meets_nothing(self) -> None:
        assert not expect.judge("status=200", a_trace(End(None, delivered=None, undecided=("x",)))).met

    @pytest.mark.parametrize(
        "text",
        ["flags=UF,URX", "flags=URX,UF,", "flags=uf, urx", "flags=U*", "flags=UF,U*", "status=503,,flags=UF,URX"],
    )
    def test_flags_come_in_any_order(self, text: str) -> None:
        assert expect.judge(text, a_trace(End("client-proxy", 503, "URX,UF", delivered=False))).met

    @pytest.mark.parametrize("text", ["flags=UF", "flags=UF,UC", "flags=UF,URX,UC", "flags=-"])
    def test_other_flags_are_not_those(self, text: str) -> None:
        assert not expect.judge(text, a_trace(End("client-proxy", 503, "URX,UF", delivered=False))).met

    @pytest.mark.parametrize(
        ("text", "met"),
        [
            ("pod=cart-*", True),
            ("pod=shop/cart-1", True),
            ("pod=cart-1", True),
            ("pod=other/cart-1", False),
            ("pod=-", False),
        ],
    )
    def test_a_pod_may_stand_without_its_namespace(self, text: str, met: bool) -> None:
        made = a_trace(ANSWERED)
        share = ClusterShare("outbound|80||cart", "", 100, (EndpointSeen("10.0.0.1:80", "shop/cart-1", "healthy"),))
        assert expect.judge(text, replace(made, outcome=replace(made.outcome, clusters=(share,)))).met is met

    @pytest.mark.parametrize("text", ["status=*", "delivered=*", "flags=*"])
    def test_undecided_is_not_anything(self, text: str) -> None:
        assert not expect.judge(text, a_trace(End(None, delivered=None, undecided=("x",)))).met

    @pytest.mark.parametrize(
        "text",
        [
            *("kube_proxy=no", "status=abc", "status=600", "status=9xx", "status=grpc-17", "mtls=yes", "delivered="),
            *("answered_by=server", "flags=XX", "flags=UF,XX", "status=200,404", "delivered=True", "status=x*"),
        ],
    )
    def test_a_value_that_a_field_never_has_is_refused(self, text: str) -> None:
        with pytest.raises(BadInput) as caught:
            expect.judge(text, a_trace(ANSWERED))
        assert caught.value.hint

    @pytest.mark.parametrize("text", ["", ",", "colour=blue", "statuss=1"])
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(BadInput):
            expect.judge(text, a_trace(ANSWERED))


LINE = (
    '[2026-01-01T00:00:00.000Z] "GET /x HTTP/1.1" 503 UF,URX upstream_reset_before_response_started'
    '{remote_connection_failure|delayed_connect_error:_Connection_refused} - "delayed" 0 121 33 - "-" "curl/7" "id" '
    '"a:80" "10.0.0.1:80" outbound|80||a.b.svc.cluster.local - 10.1.0.1:80 10.0.0.2:1 - default'
)

INBOUND = (
    '[2026-01-01T00:00:00.000Z] "POST /a b HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-" 0 19 0 - '
    '"-" "curl/7" "id" "backend" "-" inbound|9080|| - 10.0.0.2:9080 10.0.0.3:1 '
    "outbound_.9081_.v1_.backend.shop.svc.cluster.local default"
)


class TestWhy:
    def test_a_status_and_flags(self) -> None:
        reading = why.read(("503", "UF,URX"))
        assert (reading.status, reading.flags) == (503, ("UF", "URX"))
        assert [m.word for m in reading.meanings] == ["503", "UF", "URX"]
        assert all(cause.command for m in reading.meanings for cause in m.causes)

    def test_causes_of_all_words_stand_in_one_order(self) -> None:
        reading = why.read(("503", "UF,URX"))
        assert len(reading.causes) == 5
        assert "nothing listens" in reading.causes[0].text
        assert not any(cause.told for cause in reading.causes)
        assert why.read(("503", "URX")).causes

    @pytest.mark.parametrize(
        ("failure", "word"),
        [
            ("delayed_connect_error:_Connection_refused", "nothing listens"),
            ("TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end", "plain text"),
            (
                "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end",
                "certificate does not fit",
            ),
            ("delayed_connect_error:_No_route_to_host", "does not answer"),
            ("delayed_connect_error:_111", "nothing listens"),
            ("delayed_connect_error:_113", "does not answer"),
            ("connection_timeout", "does not answer"),
        ],
    )
    def test_what_the_line_says_comes_first(self, failure: str, word: str) -> None:
        line = (
            '[2026-01-01T00:00:00.000Z] "GET /x HTTP/1.1" 503 UF,URX '
            f'upstream_reset_before_response_started{{{failure}}} - "{failure}" 0 91 1 - "-" "curl" "id" '
            '"a:80" "10.0.0.1:80" outbound|80||a.b.svc.cluster.local - 10.1.0.1:80 10.0.0.2:1 - default'
        )
        reading = why.read((line,))
        assert word in reading.causes[0].text
        assert [cause.told for cause in reading.causes].count(True) == 1
        commands = " ".join(cause.command for cause in reading.causes)
        assert "meshctl trace a:80 --path /x" in commands
        assert "--cluster 'outbound|80||a.b.svc.cluster.local'" in commands

    def test_an_inbound_line_has_no_cause_that_is_between_proxies(self) -> None:
        line = (
            '[2026-01-01T00:00:00.000Z] "GET /x HTTP/1.1" 503 UF upstream_reset_before_response_started{x} - "x" 0 9 1 '
            '- "-" "curl" "id" "a:80" "10.0.0.1:80" inbound|80|| - 10.1.0.1:80 10.0.0.2:1 - default'
        )
        found = why.read((line,)).causes
        assert "nothing listens" in found[0].text
        assert {cause.side for cause in found} == {"", "inbound"}

    def test_a_line_that_went_to_the_black_hole_says_so(self) -> None:
        line = (
            '[2026-01-01T00:00:00.000Z] "- - -" 0 UH - - "-" 0 0 0 - "-" "-" "-" "-" "-" BlackHoleCluster - 1.1.1.1:8 '
        )
        found = why.read((f"{line}10.0.0.2:1 - -",)).causes
        assert "BlackHoleCluster" in found[0].text
        assert [cause.told for cause in found].count(True) == 1

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('{"response_code":"503","response_flags":"UC"}', "does not say which cluster"),
            ('{"response_code":"0","response_flags":"NR","upstream_cluster":null}', "no endpoint was chosen"),
            ('{"response_code":"0","response_flags":"UH","upstream_cluster":"BlackHoleCluster"}', "was refused"),
            ('{"response_code":"503","response_flags":"UF","upstream_cluster":"xds-grpc"}', "It went to xds-grpc"),
        ],
    )
    def test_where_it_went_is_only_said_where_the_line_says_so(self, line: str, said: str) -> None:
        assert said in terminal.draw(why_view.page([(why.read((line,)), ())]), width=200)

    def test_of_several_lines_each_failure_is_told(self) -> None:
        passed = LINE.replace("503 UF,URX", "200 -")
        own = "2026-01-01T00:00:00.000000Z\tinfo\tsomething"
        found = why.read_all(("\n".join([LINE, own, INBOUND, passed, LINE.replace("/x", "/y"), passed]),))
        assert [(one.status, one.times) for one in found] == [(503, 2), (403, 1), (200, 2)]
        assert found[0].log is not None
        assert found[0].log.path == "/y"
        text = terminal.draw(why_view.page([(one, ()) for one in found]), width=200)
        assert "2 more lines are of requests that did not fail" in text
        others = why_view.document([(one, ()) for one in found])["others"]
        assert isinstance(others, list)
        assert [other["status"] for other in others] == [403, 200]

    @pytest.mark.parametrize("given", ["503 UF\n", f"{LINE}\n\nsomething else", LINE[:200] + "\n" + LINE[200:]])
    def test_one_line_among_others_is_one(self, given: str) -> None:
        (found,) = why.read_all((given.strip(),))
        assert (found.status, found.flags[0]) == (503, "UF")

    @pytest.mark.parametrize(
        ("details", "words"),
        [
            (
                "ns[shop]-policy[deny-all]-rule[2]",
                "rule 2 (the first is 0) of AuthorizationPolicy deny-all in namespace shop",
            ),
            ("istio-ext-authz-ns[a]-policy[b]-rule[0]", "AuthorizationPolicy b in namespace a"),
            ("none", "no ALLOW policy fits"),
            ("by-hand", "a DENY policy fits: by-hand"),
        ],
    )
    def test_a_refusal_names_the_policy(self, details: str, words: str) -> None:
        (found,) = why.read((f"rbac_access_denied_matched_policy[{details}]",)).meanings
        assert words in found.plain

    def test_a_refused_line_s_command_has_each_option_once(self) -> None:
        reading = why.read((INBOUND,))
        assert reading.causes[0].told
        assert reading.causes[0].command == "meshctl trace backend:9081 --method POST --from POD --path '/a b'"

    @pytest.mark.parametrize(
        ("milliseconds", "first"), [(33, "nothing listens"), (10003, "does not answer"), (30050, "does not answer")]
    )
    def test_as_long_as_a_connect_timeout_means_no_answer(self, milliseconds: int, first: str) -> None:
        line = (
            f'[2026-01-01T00:00:00.000Z] "- - -" 0 UF,URX - - "-" 0 0 {milliseconds} - "-" "-" "-" "-" '
            '"10.9.9.9:3306" PassthroughCluster - 10.9.9.9:3306 10.0.0.2:1 - -'
        )
        reading = why.read((line,))
        assert first in reading.causes[0].text
        assert "tcp://10.9.9.9:3306" in " ".join(cause.command for cause in reading.causes)

    def test_a_pasted_line_is_taken_apart(self) -> None:
        reading = why.read((LINE,))
        assert reading.log is not None
        assert reading.log.cluster == "outbound|80||a.b.svc.cluster.local"
        assert reading.log.route == "default"
        assert any("refused" in m.plain for m in reading.meanings)

    def test_a_json_line(self) -> None:
        reading = why.read(('{"response_code": 403, "response_flags": "-", "method": "GET", "path": "/"}',))
        assert (reading.status, reading.flags) == (403, ())

    def test_lower_case_flags_are_understood(self) -> None:
        assert why.read(("uh",)).flags == ("UH",)

    @given(st.text(max_size=200))
    @settings(deadline=None, max_examples=100)
    def test_no_text_breaks_it(self, text: str) -> None:
        why.read((text,))


SOCKETS = """\
LISTEN 0 64 127.0.0.1:8080 0.0.0.0:* users:(("app",pid=7,fd=3)) uid:1000 ino:1 sk:1
tcp LISTEN 0 64 *:15020 *:* users:(("pilot-agent",pid=1,fd=3)) uid:1337 ino:1 sk:1 v6only:0
udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:*
LISTEN 0 64 [::1]:9000 [::]:*
garbage
"""


class TestNetns:
    def test_sockets_with_and_without_a_protocol_column(self) -> None:
        found = netns.sockets(SOCKETS)
        assert [(s.proto, s.address, s.port, s.uid) for s in found] == [
            ("tcp", "127.0.0.1", 8080, 1000),
            ("tcp", "*", 15020, 1337),
            ("udp", "0.0.0.0", 53, 0),
            ("tcp", "::1", 9000, 0),
        ]

    def test_a_socket_on_localhost_is_not_reached_from_outside(self) -> None:
        found = netns.sockets(SOCKETS)
        assert netns.listens(found, "127.0.0.1", 8080) is not None
        assert netns.listens(found, "10.0.0.1", 8080) is None
        assert netns.listens(found, "10.0.0.1", 15020) is not None
        assert netns.listens(found, "10.0.0.1", 53) is None

    def test_resolv_conf_takes_the_last_search_line(self) -> None:
        found = netns.resolv_conf("search a b\nnameserver 10.0.0.1\nsearch c.d.\noptions ndots:3 edns0\n", "x")
        assert (found.servers, found.search, found.ndots) == (("10.0.0.1",), ("c.d",), 3)

    def test_connections(self) -> None:
        line = "tcp 6 9 NONE src=1.1.1.1 dst=2.2.2.2 sport=1 dport=80 src=3.3.3.3 dst=1.1.1.1 sport=8080 dport=1"
        assert netns.connections(line) == (netns.Connection("1.1.1.1", "2.2.2.2", 80, "3.3.3.3", 8080),)

    @given(st.text(max_size=300))
    @settings(deadline=None, max_examples=100)
    def test_no_text_breaks_the_readers(self, text: str) -> None:
        netns.sockets(text)
        netns.resolv_conf(text, "x")
        netns.connections(text)


def a_service(name: str, namespace: str = "shop", **spec: object) -> dict[str, object]:
    ports = [{"port": 80, "name": "http"}]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.0.0.1", "ports": ports, **spec},
    }


def a_zone(*raw: dict[str, object], mesh: Mesh | None = None, captured: bool = False) -> dns.Zone:
    found = services.read(raw, ())
    resolver = dns.default_resolver("shop")
    return dns.Zone(found, mesh or Mesh(), ("shop", "other"), "shop", resolver, captured)


class TestDns:
    @pytest.mark.parametrize(
        "name", ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local", "cart.shop.svc."]
    )
    def test_all_spellings_of_a_service(self, name: str) -> None:
        zone = a_zone(a_service("cart"))
        found = dns.resolve(name, zone)
        assert found.addresses == ("10.0.0.1",) or name.endswith(".svc.")

    def test_an_unknown_name_fails_with_a_suggestion(self) -> None:
        found = dns.resolve("carts", a_zone(a_service("cart")))
        assert found.fails
        assert found.suggestions == ("cart",)

    def test_a_service_of_another_namespace_is_suggested(self) -> None:
        assert dns.resolve("cart", a_zone(a_service("cart", "other"))).suggestions == ("cart.other",)

    @pytest.mark.parametrize("name", ["www.example.com", "db.corp", "example.club", "acme.systems", "a.b.c.d"])
    def test_a_name_outside_cannot_be_told(self, name: str) -> None:
        found = dns.resolve(name, a_zone())
        assert not found.fails
        assert found.undecided

    @pytest.mark.parametrize("name", ["nosuch.shop", "nosuch.shop.svc", "nosuch.shop.svc.cluster.local", "one"])
    def test_a_name_in_the_cluster_that_is_not_there_fails(self, name: str) -> None:
        assert dns.resolve(name, a_zone()).fails

    def test_headless_gives_the_pods(self) -> None:
        raw = a_service("db", clusterIP="None")
        part = {
            "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
            "ports": [{"name": "http", "port": 80}],
            "endpoints": [
                {"addresses": ["10.1.0.1"], "hostname": "db-0"},
                {"addresses": ["10.1.0.2"], "hostname": "db-1", "conditions": {"ready": False}},
                {"addresses": ["10.1.0.3"], "targetRef": {"kind": "Pod", "name": "db-x", "namespace": "shop"}},
            ],
        }
        zone = dns.Zone(services.read([raw], [part]), Mesh(), ("shop",), "shop", dns.default_resolver("shop"))
        assert dns.resolve("db", zone).addresses == ("10.1.0.1", "10.1.0.3")
        assert dns.resolve("db-0.db", zone).addresses == ("10.1.0.1",)
        assert dns.resolve("db-1.db", zone).fails
        assert dns.resolve("db-x.db", zone).fails
        assert dns.resolve("10-1-0-3.db.shop.svc.cluster.local", zone).addresses == ("10.1.0.3",)

    def test_headless_without_known_endpoints_is_undecided(self) -> None:
        read = services.read([a_service("db", clusterIP="None")], [])
        zone = dns.Zone(read, Mesh(), ("shop",), "shop", dns.default_resolver("shop"))
        assert dns.resolve("db", zone).fails
        unread = replace(zone, endpoints_gap="no slices.json")
        for name in ("db", "db-0.db", "10-1-0-3.db.shop.svc.cluster.local"):
            found = dns.resolve(name, unread)
            assert not found.fails
            assert "no slices.json" in found.undecided

    def test_an_external_name_is_followed(self) -> None:
        raw = a_service("old", type="ExternalName", externalName="cart.other.svc.cluster.local", clusterIP="")
        assert dns.resolve("old", a_zone(raw, a_service("cart", "other"))).addresses == ("10.0.0.1",)

    def test_a_service_entry_needs_dns_capture_to_have_an_address(self) -> None:
        entry = {
            "metadata": {"namespace": "shop", "name": "e"},
            "spec": {"hosts": ["db.corp"], "addresses": ["240.0.0.1"]},
        }
        mesh = read_mesh({"serviceentries": ("x", [entry])}, MeshConfig())
        assert dns.resolve("db.corp", a_zone(mesh=mesh)).undecided
        assert dns.resolve("db.corp", a_zone(mesh=mesh, captured=True)).addresses == ("240.0.0.1",)

    def test_addresses_need_no_lookup(self) -> None:
        assert dns.resolve("127.0.0.1", a_zone()).kind == "loopback"
        assert dns.resolve("::1", a_zone()).kind == "loopback"
        assert dns.resolve("10.9.9.9", a_zone()).addresses == ("10.9.9.9",)


@pytest.mark.parametrize(
    ("text", "declared", "path", "protocol", "tls"),
    [
        ("a:1", "", "/", "http", False),
        ("a:1", "http", "/", "http", False),
        ("a:1", "mysql", "/", "tcp", False),
        ("a:1", "tls", "/", "tcp", True),
        ("a:1", "https", "/", "http", True),
        ("a:1", "grpc", "/", "http2", False),
        ("http://a:1", "tcp", "/", "http", False),
        ("tcp://a:1", "http", "/", "tcp", False),
        ("tls://a:1", "http", "/", "tcp", True),
        ("a:1/", "tcp", "/", "http", False),
        ("a:1/x", "redis", "/", "http", False),
        ("a:1", "tcp", "/x", "http", False),
        ("a:1/x", "http2", "/", "http2", False),
        ("grpc://a:1", "tcp", "/", "http2", False),
    ],
)
def test_the_scheme_decides_the_protocol_then_what_the_port_declares(
    text: str, declared: str, path: str, protocol: str, tls: bool
) -> None:
    request = request_for(parse_target(text), 1, Request(path=path), declared)
    assert (request.protocol, request.tls) == (protocol, tls)


class TestTarget:
    def test_the_only_port_is_taken(self) -> None:
        service = services.service(a_service("cart"))
        assert port_of(parse_target("cart"), service) == 80

    def test_several_ports_are_listed(self) -> None:
        service = services.service(a_service("cart", ports=[{"port": 80}, {"port": 443}]))
        with pytest.raises(BadInput) as caught:
            port_of(parse_target("cart"), service)
        assert "80, 443" in str(caught.value.hint)

    @pytest.mark.parametrize(
        ("port", "protocol"),
        [
            ({"name": "http-web"}, "http"),
            ({"name": "grpc"}, "grpc"),
            ({"name": "x", "appProtocol": "TCP"}, "tcp"),
            ({}, ""),
        ],
    )
    def test_the_protocol_that_a_port_declares(self, port: dict[str, str], protocol: str) -> None:
        service = services.service(a_service("cart", ports=[{"port": 80, **port}]))
        assert protocol_of(service.ports[0]) == protocol

    @pytest.mark.parametrize(
        ("text", "port", "host", "tls"),
        [("http://a/x", 80, "a", False), ("a:8080", 8080, "a:8080", False), ("https://a", 443, "a", True)],
    )
    def test_the_host_header_is_as_curl_writes_it(self, text: str, port: int, host: str, tls: bool) -> None:
        request = request_for(parse_target(text), port, Request(), "")
        assert (request.host, request.tls) == (host, tls)

    @pytest.mark.parametrize(
        ("text", "host", "asked", "sni"),
        [
            ("https://a:9443", "b.com", None, "a"),
            ("https://A.com./x", "", None, "a.com"),
            ("https://10.0.0.1", "b.com", None, ""),
            ("https://[fd00::1]:443", "b.com", None, ""),
            ("https://10.0.0.1", "b.com", "b.com", "b.com"),
            ("https://a", "", "", ""),
            ("tls://a:443", "", "B.com", "b.com"),
            ("http://a", "", None, ""),
        ],
    )
    def test_the_server_name_is_that_of_the_url(self, text: str, host: str, asked: str | None, sni: str) -> None:
        request = request_for(parse_target(text), 443, Request(host=host, sni=asked), "")
        assert server_name(request) == sni

    def test_a_server_name_without_tls_is_refused(self) -> None:
        with pytest.raises(BadInput, match="--sni"):
            request_for(parse_target("http://a"), 80, Request(sni="a"), "")


def test_flags_by_their_long_names() -> None:
    reading = why.read(("NoHealthyUpstream,UpstreamRetryLimitExceeded", "503"))
    assert (reading.status, reading.flags, reading.unknown) == (503, ("UH", "URX"), ())
    assert set(flags.LONG.values()) == set(flags.FLAGS)


@pytest.mark.parametrize("word", ["7", "99", "600", "999", "QQ"])
def test_what_is_no_status_is_not_known(word: str) -> None:
    reading = why.read((word,))
    assert (reading.status, reading.unknown) == (None, (word,))


def test_aliases_that_lead_nowhere() -> None:
    def alias(name: str, to: str) -> dict[str, object]:
        return a_service(name, type="ExternalName", externalName=to)

    listed = [alias("a", "b.shop.svc.cluster.local"), alias("b", "a.shop.svc.cluster.local"), alias("none", "")]
    zone = dns.Zone(services.read(listed, []), Mesh(), ("shop",), "shop", dns.default_resolver("shop"))
    for name in ("a", "b", "none"):
        found = dns.resolve(name, zone)
        assert (found.kind, found.fails) == ("external-name", True)
