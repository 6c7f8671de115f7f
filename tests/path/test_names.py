"""Whom a pod asks for a name: its own /etc/hosts, the cluster's DNS, another's, or in vain."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.path.made import NAMESPACES, Mesh, endpoints, pod, service
from tests.path.test_inside_the_pod import ISTIO, filtering

SEARCH = "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
CLUSTER = f"nameserver 10.96.0.10\n{SEARCH}"


def asked(
    folder: Path,
    target: str,
    *,
    resolver: str = CLUSTER,
    rules: str = ISTIO,
    sockets: str = "",
    there: Any = NAMESPACES,
    **spec: Any,
) -> Trace:
    """A request of a pod with this resolv.conf, these rules and sockets, and these fields of its specification.

    `there` are the namespaces of the list of them.
    """
    client = pod("client", "10.0.0.5", ips=("fd00::5",))
    client["spec"] |= spec
    dns = service("kube-dns", "10.96.0.10", 53, 53, namespace="kube-system")
    return Mesh(
        pods=[client, pod("web", "10.0.0.6")],
        services=[service("web", "10.96.0.6", 80, 8080), dns],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"], "client": ["0.0.0.0:8080"]},
        rules={"client": rules},
        files={
            "pods/shop/client/netns/resolv.conf": resolver,
            "resources/namespaces.json": json.dumps({"items": [{"metadata": {"name": n}} for n in there]}),
            **({"pods/shop/client/netns/sockets.txt": sockets} if sockets else {}),
        },
    ).trace(folder / "s", target, "client")


def test_the_clusters_dns_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, "web:80").outcome.end.delivered


@pytest.mark.parametrize(
    "rules",
    [
        filtering("OUTPUT -p udp -m udp --dport 53 -j DROP"),
        filtering("OUTPUT -p udp -m udp --dport 53 -j REJECT"),
        filtering("INPUT -p udp -m udp --sport 53 -j DROP"),
        filtering("INPUT -i lo -j ACCEPT", "INPUT -p tcp -j ACCEPT", inbound="DROP"),
    ],
)
def test_a_lookup_needs_its_question_and_its_answer(tmp_path: Path, rules: str) -> None:
    end = asked(tmp_path, "web:80", rules=rules).outcome.end
    assert (end.delivered, end.broken, end.cause) == (False, "dns", "dns")
    assert "udp/53" in end.why


def test_an_address_needs_no_lookup(tmp_path: Path) -> None:
    rules = filtering("OUTPUT -p udp -m udp --dport 53 -j DROP")
    assert asked(tmp_path, "10.0.0.6:8080", rules=rules).outcome.end.delivered


def test_another_server_may_still_answer(tmp_path: Path) -> None:
    rules = filtering("OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j DROP")
    both = f"nameserver 10.96.0.10\nnameserver 10.96.0.6\n{SEARCH}"
    assert asked(tmp_path, "web:80", rules=rules, resolver=both).outcome.end.delivered


@pytest.mark.parametrize(
    ("server", "policy", "delivered"),
    [
        ("8.8.8.8", "None", None),
        ("8.8.8.8", "ClusterFirst", None),
        ("192.168.7.7", "None", None),
        ("192.168.7.7", "ClusterFirst", True),
        ("10.96.0.10", "None", True),
        ("10.96.0.8", "None", None),
        ("10.96.0.8", "ClusterFirst", None),
        ("169.254.20.10", "None", True),
        ("10.96.0.10", "Default", True),
        ("192.168.7.7", "Default", None),
    ],
)
def test_only_the_clusters_dns_knows_the_cluster(
    tmp_path: Path, server: str, policy: str, delivered: bool | None
) -> None:
    resolver = f"nameserver {server}\n{SEARCH}"
    end = asked(tmp_path, "web:80", resolver=resolver, dnsPolicy=policy).outcome.end
    assert end.delivered is delivered


def test_the_way_is_shown_where_a_lookup_may_not_be_answered(tmp_path: Path) -> None:
    found = asked(tmp_path, "web:80", resolver=f"nameserver 10.96.0.8\n{SEARCH}")
    looked_up = next(hop for hop in found.hops if hop.kind == "dns")
    assert looked_up.decision.startswith("web.shop.svc.cluster.local is 10.96.0.6, a Service's cluster IP; not certain")
    assert [hop.kind for hop in found.hops][-1] == "socket"
    assert "no Service has the address of its nameserver (10.96.0.8)" in found.outcome.end.undecided[0]
    for there in ((), ("shop",), ("shop", "istio-system"), (*NAMESPACES, "far")):  # where all were not recorded
        part = asked(tmp_path / f"{len(there)}", "web:80", resolver=f"nameserver 10.96.0.8\n{SEARCH}", there=there)
        assert part.outcome.end.delivered
    nobody = asked(tmp_path / "b", "nosuch:80", resolver=f"nameserver 10.96.0.8\n{SEARCH}").outcome.end
    assert (nobody.delivered, nobody.broken) == (False, "dns")


@pytest.mark.parametrize(
    ("spec", "target", "addresses"),
    [
        ({}, "client:8080", "10.0.0.5, fd00::5"),
        ({"hostname": "Me"}, "me:8080", "10.0.0.5, fd00::5"),
        ({"hostname": "me", "subdomain": "us"}, "me.us.shop.svc.cluster.local:8080", "10.0.0.5, fd00::5"),
        ({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["web", "it"]}]}, "it:8080", "127.0.0.1"),
        ({"hostAliases": [{"ip": "10.96.0.6", "hostnames": ["its.alias"]}]}, "its.alias:80", "10.96.0.6"),
    ],
)
def test_etc_hosts_is_asked_first(tmp_path: Path, spec: dict[str, Any], target: str, addresses: str) -> None:
    found = asked(tmp_path, target, **spec)
    assert (found.aim.kind, found.aim.address, found.outcome.end.delivered) == ("hosts", addresses, True)


def test_an_alias_hides_the_service(tmp_path: Path) -> None:
    found = asked(tmp_path, "web:80", hostAliases=[{"ip": "127.0.0.1", "hostnames": ["web"]}])
    assert (found.outcome.end.broken, found.aim.service) == ("refused", "web")
    assert json.dumps(found.outcome.end.why).count("127.0.0.1:80")


def test_with_the_nodes_network_the_pods_name_is_not_in_the_nodes_file(tmp_path: Path) -> None:
    assert asked(tmp_path, "client:8080", hostNetwork=True).aim.kind != "hosts"


def test_a_search_list_that_does_not_lead_to_the_service_is_the_reason(tmp_path: Path) -> None:
    found = asked(tmp_path, "web:80", resolver="nameserver 10.96.0.10\nsearch example.com\noptions ndots:5\n")
    end = found.outcome.end
    assert (end.broken, end.delivered) == ("dns", False)
    assert "search list" in end.why
    assert "no Service" not in end.why
    assert "web.shop.svc.cluster.local" in found.findings[0].fix


ENVOY = 'LISTEN 0 4096 0.0.0.0:15001 0.0.0.0:* users:(("envoy",pid=9,fd=1)) uid:1337\n'
CACHE = 'udp UNCONN 0 0 127.0.0.1:53 0.0.0.0:* users:(("dnsmasq",pid=3,fd=4))\n'


@pytest.mark.parametrize(
    ("resolver", "sockets", "ends", "said"),
    [
        (SEARCH, f"tcp {ENVOY}", (False, "dns"), "names no nameserver, so that 127.0.0.1 is asked: nothing listens"),
        ("", f"tcp {ENVOY}", (False, "dns"), "names no nameserver"),
        ("# nameserver 10.96.0.10\n", f"tcp {ENVOY}", (False, "dns"), "names no nameserver"),
        (SEARCH, f"tcp {ENVOY}{CACHE}", (True, ""), ""),
        (SEARCH, f"tcp {ENVOY}{CACHE.replace('127.0.0.1', '127.0.0.53')}", (False, "dns"), "nothing listens"),
        (SEARCH, ENVOY, (None, ""), "whether anything listens there on udp/53 is not recorded"),
        (f"nameserver 127.0.0.1\n{SEARCH}", f"tcp {ENVOY}", (False, "dns"), "nothing listens on 127.0.0.1 port 53"),
        (f"nameserver 127.0.0.1\n{SEARCH}", ENVOY, (True, ""), ""),
        (f"nameserver 127.0.0.1\nnameserver 10.96.0.10\n{SEARCH}", f"tcp {ENVOY}", (True, ""), ""),
    ],
)
def test_without_a_nameserver_the_pod_itself_is_asked(
    tmp_path: Path, resolver: str, sockets: str, ends: tuple[bool | None, str], said: str
) -> None:
    end = asked(tmp_path, "web.shop.svc.cluster.local:80", resolver=resolver, sockets=sockets).outcome.end
    assert (end.delivered, end.broken) == ends
    assert said in end.why


def test_captured_lookups_need_no_nameserver(tmp_path: Path) -> None:
    first = "-A OUTPUT -j ISTIO_OUTPUT\n"
    rules = ISTIO.replace(first, f"-A OUTPUT -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053\n{first}")
    assert asked(tmp_path, "web:80", resolver=SEARCH, rules=rules, sockets=f"tcp {ENVOY}").outcome.end.delivered


def test_without_a_nameserver_addresses_and_known_names_are_reached(tmp_path: Path) -> None:
    sockets = f"tcp {ENVOY}"
    assert asked(tmp_path / "a", "10.0.0.6:8080", resolver="", sockets=sockets).outcome.end.delivered
    known = [{"ip": "10.0.0.6", "hostnames": ["web"]}]
    assert asked(tmp_path / "b", "web:8080", resolver="", sockets=sockets, hostAliases=known).outcome.end.delivered


@pytest.mark.parametrize(("target", "delivered", "broken"), [("web:80", None, ""), ("web:8081", False, "")])
def test_what_fails_anyhow_fails_whether_or_not_its_name_is_found(
    tmp_path: Path, target: str, delivered: bool | None, broken: str
) -> None:
    found = asked(tmp_path, target, resolver=SEARCH, sockets=ENVOY)
    end = found.outcome.end
    assert (end.delivered, end.broken, end.answered_by) == (delivered, broken, None)
    assert bool(end.undecided) is (delivered is None)
    assert found.aim.address == "10.96.0.6"
    assert "not certain: whether web resolves" in found.hops[1].decision
    assert asked(tmp_path / "n", "nobody:80", resolver=SEARCH, sockets=ENVOY).outcome.end.broken == "dns"
