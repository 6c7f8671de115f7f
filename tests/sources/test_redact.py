import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.sources.readdress import Readdress
from meshctl.sources.redact import REDACTED, Redactor

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IkRIRmJw.eyJzdWIiOiJhZG1pbiIsImlzcyI6In.c2lnbmF0dXJl-_x"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "hunter2"),
        ("API_KEY", "0123"),
        ("apiKey", "0123"),
        ("AWS_SECRET_ACCESS_KEY", "wJalr"),
        ("GITHUB_TOKEN", "abc"),
        ("PGPASSWORD", "hunter2"),
        ("REDIS_AUTH", "hunter2"),
        ("AUTHORIZATION", "hunter2"),
        ("SENTRY_DSN", "https://x"),
        ("ConnectionString", "Server=x"),
        ("HARMLESS", JWT),
        ("HARMLESS", PEM),
        ("DATABASE_URL", "postgres://user:hunter2@db/x"),
        ("HARMLESS", "ghp_0123456789012345678901234567890123456"),
    ],
)
def test_a_credential_in_an_environment_is_taken_out(name: str, value: str) -> None:
    redactor = Redactor()
    pod = {"spec": {"containers": [{"env": [{"name": name, "value": value}]}]}}
    text = json.dumps(redactor.value(pod))
    assert value not in text
    assert "hunter2" not in text
    assert REDACTED in text
    assert sum(redactor.counts.values()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_POLICY", "third-party-jwt"),
        ("SECRET_TTL", "24h0m0s"),
        ("PROXY_CONFIG", '{"proxyAdminPort":15001}'),
        ("AUTHOR", "me"),
        ("ISTIO_META_MESH_ID", "cluster.local"),
        ("KEYBOARD", "us"),
        ("TOKEN_AUDIENCES", "istio-ca"),
        ("CA", CERTIFICATE),
    ],
)
def test_what_is_no_credential_stays(name: str, value: str) -> None:
    document = {"env": [{"name": name, "value": value}], "envs": [{"key": name, "value": value}]}
    assert Redactor().value(document) == document


def test_every_shape_of_an_environment_and_of_arguments() -> None:
    redactor = Redactor()
    inspected = {
        "info": {
            "config": {"envs": [{"key": "TOKEN", "value": "abc"}]},
            "runtimeSpec": {"process": {"env": ["PATH=/bin", "TOKEN=abc"], "args": ["x", "--password", "abc", "-v"]}},
        },
        "args": ["--token=abc", "--token-file=/etc/abc", "--token", "/path"],
    }
    assert redactor.value(inspected) == {
        "info": {
            "config": {"envs": [{"key": "TOKEN", "value": REDACTED}]},
            "runtimeSpec": {
                "process": {"env": ["PATH=/bin", f"TOKEN={REDACTED}"], "args": ["x", "--password", REDACTED, "-v"]}
            },
        },
        "args": [f"--token={REDACTED}", "--token-file=/etc/abc", "--token", "/path"],
    }


def test_the_copy_in_last_applied_configuration_is_redacted_too() -> None:
    inner = json.dumps({"spec": {"containers": [{"env": [{"name": "PASSWORD", "value": "hunter2"}]}]}})
    raw = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": inner}}}
    assert "hunter2" not in json.dumps(Redactor().value(raw))


def test_keys_of_a_proxy_and_private_members_of_a_web_key() -> None:
    dump: Any = {
        "tls_certificate": {"private_key": {"inline_bytes": "c2VjcmV0"}, "certificate_chain": {"inline_bytes": "cHVi"}},
        "jwks": {"keys": [{"kty": "RSA", "n": "public", "e": "AQAB", "d": "private"}]},
        "request_headers_to_add": [{"header": {"key": "authorization", "value": "s3cret"}}],
    }
    redacted = Redactor().value(dump)
    assert redacted["tls_certificate"] == {
        "private_key": {"inline_bytes": REDACTED},
        "certificate_chain": {"inline_bytes": "cHVi"},
    }
    assert redacted["jwks"]["keys"][0] == {"kty": "RSA", "n": "public", "e": "AQAB", "d": REDACTED}
    assert redacted["request_headers_to_add"][0]["header"]["value"] == REDACTED


def test_a_log_keeps_its_lines() -> None:
    log = f"GET / Authorization: Bearer {JWT}\nplain 10.0.0.1\n"
    assert Redactor().content(log.encode(), "logs/x.txt") == (
        f"GET / Authorization: Bearer {REDACTED}\nplain 10.0.0.1\n".encode()
    )


_leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
_json = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@settings(deadline=None, max_examples=60)
@given(_json)
def test_redacting_twice_changes_nothing_more(value: Any) -> None:
    once = Redactor().value(value)
    assert Redactor().value(once) == once


_v4 = st.ip_addresses(v=4)


@settings(deadline=None, max_examples=150)
@given(st.ip_addresses(), st.integers(0, 128), st.binary(min_size=32, max_size=32))
def test_an_address_stays_in_the_network_that_it_was_in(address: Any, length: int, key: bytes) -> None:
    length = min(length, address.max_prefixlen)
    network = ipaddress.ip_network((address, length), strict=False)
    other = Readdress(key)
    new_network = ipaddress.ip_network(f"{other.address(network.network_address, length)}/{length}", strict=False)
    assert other.address(address) in new_network


@pytest.mark.parametrize("network", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"])
def test_a_private_address_stays_private_and_a_mapped_one_stays_the_same(network: str) -> None:
    inside, other = ipaddress.IPv4Network(network), Readdress(b"k")
    moved = other.address(inside[12345])
    assert moved in inside
    assert other.address(ipaddress.IPv6Address(f"::ffff:{inside[12345]}")) == ipaddress.IPv6Address(f"::ffff:{moved}")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.ip_addresses(), min_size=2, max_size=2, unique=True), st.binary(min_size=32, max_size=32))
def test_two_addresses_never_become_one(pair: list[Any], key: bytes) -> None:
    other = Readdress(key)
    first, second = (other.address(address) for address in pair)
    assert first != second


@pytest.mark.parametrize(
    "text", ["127.0.0.6", "0.0.0.0", "::1", "169.254.169.254", "224.0.0.1", "fe80::1", "255.255.255.255"]
)
def test_addresses_with_a_meaning_stay(text: str) -> None:
    assert Readdress(b"k").text(text) == (text, 0)


@pytest.mark.parametrize(
    "text", ["v1.30.3", "00:53:28", "96:28:26:c4:fc:3e", "envoy::type::v3", "[0:0] -A", "1.2.3.4.5"]
)
def test_what_is_no_address_stays(text: str) -> None:
    assert Readdress(b"k").text(text)[0] == text


def test_the_same_address_is_the_same_everywhere() -> None:
    redactor = Redactor(Readdress(b"k"))
    listener = redactor.text("10.96.0.1_443")
    assert redactor.text("-d 10.96.0.1/32") == f"-d {listener.removesuffix('_443')}/32"
    assert listener != "10.96.0.1_443"
    assert redactor.text("ip-10-96-0-1.internal") == f"ip-{listener.removesuffix('_443').replace('.', '-')}.internal"
    assert redactor.counts["address"] == 3


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("Server=x;User Id=sa;Password=hunter2;", f"Server=x;User Id=sa;Password={REDACTED};"),
        (
            "AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
            f"AccountName=a;AccountKey={REDACTED};EndpointSuffix=x",
        ),
        ("user:hunter2@tcp(db:3306)/x", f"user:{REDACTED}@tcp(db:3306)/x"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", f"https://hooks.slack.com/services/{REDACTED}"),
        ("https://discord.com/api/webhooks/1/hunter2", f"https://discord.com/api/webhooks/{REDACTED}"),
        ("https://x.webhook.office.com/webhookb2/a@b/hunter2", f"https://x.webhook.office.com/webhookb2/{REDACTED}"),
        ("https://api.telegram.org/bot1:hunter2/send", f"https://api.telegram.org/bot{REDACTED}"),
        ("https://chat/v1?key=hunter2&x=1&token=hunter2", f"https://chat/v1?key={REDACTED}&x=1&token={REDACTED}"),
        ("https://b/o?sv=1&sig=hunter2", f"https://b/o?sv=1&sig={REDACTED}"),
        ("export TOKEN=hunter2; run", f"export TOKEN={REDACTED}; run"),
        ("export DB_PASS='hunter2 x' && run", f"export DB_PASS='{REDACTED}' && run"),
        ('cd x; DB_PASS="hunter2" run --port=1', f'cd x; DB_PASS="{REDACTED}" run --port=1'),
        ("curl -u a:hunter2 http://x", f"curl -u a:{REDACTED} http://x"),
        ("curl --user 'a:hunter2' http://x", f"curl --user 'a:{REDACTED}' http://x"),
        ("run --db-pass hunter2 --port 80", f"run --db-pass {REDACTED} --port 80"),
        (
            "curl -H 'X-Api-Key: hunter2' -H 'PRIVATE-TOKEN: hunter2'",
            f"curl -H 'X-Api-Key: {REDACTED}' -H 'PRIVATE-TOKEN: {REDACTED}'",
        ),
        ("npm_hunter2hunter2hunter2hunter2hunter2", REDACTED),
    ],
)
def test_a_credential_inside_a_text_is_taken_out_and_the_rest_stays(value: str, left: str) -> None:
    assert Redactor().value({"args": ["sh", "-c", value]})["args"][2] == left
    assert Redactor().value({"name": "X", "value": value})["value"] == left
    assert Redactor().text(left) == left


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--db-pass", "hunter2"], ["--db-pass", REDACTED]),
        (["--auth-token", "hunter2"], ["--auth-token", REDACTED]),
        (["--secretKey", "hunter2"], ["--secretKey", REDACTED]),
        (["-u", "a:hunter2"], ["-u", f"a:{REDACTED}"]),
        (["-u", "1337", "-g", "1337"], None),
        (["-u", "1000:1000"], None),
        (["--token-audience", "istio-ca"], None),
        (["--secret-name", "x", "--token-file", "x", "--auth-mode", "jwt", "--token-ttl=1h"], None),
        (["--password", "$(PASSWORD)", "--token=${TOKEN}", "--token", "/var/run/token"], None),
        (["--compass", "north", "--passthrough", "x", "--monkey=1", "--path", "x"], None),
    ],
)
def test_arguments_lose_what_their_flag_calls_a_credential(words: list[str], left: list[str] | None) -> None:
    assert Redactor().value({"args": words})["args"] == (left or words)


def test_annotations_that_are_named_like_secrets() -> None:
    given = {
        "vault.token": "hunter2",
        "example.com/api-key": "hunter2",
        "vault.hashicorp.com/agent-inject-token": "true",
        "vault.hashicorp.com/agent-inject-secret-path": "a/b",
        "sidecar.istio.io/userVolume": "token",
        "kubernetes.io/service-account.token": "x",
        "prometheus.io/path": "/stats",
    }
    redactor = Redactor()
    found = redactor.value({"metadata": {"annotations": given}})["metadata"]["annotations"]
    assert {key for key in given if found[key] == REDACTED} == {"vault.token", "example.com/api-key"}
    assert redactor.counts == {"annotation": 2}


def test_patterns_of_routes_and_references_stay() -> None:
    for text in (
        "^(.*?;)?(session_token=[^;]+)(;.*)?$",
        "token=(a|b)",
        "TOKEN=$TOKEN",
        "token=true",
        "a --token is b"[:9],
    ):
        assert Redactor().value({"regex": text})["regex"] == text


def test_nothing_that_is_nested_too_deep_ends_a_recording() -> None:
    deep = b"[" * 100_000 + b'"--token=hunter2"'
    assert b"hunter2" not in Redactor().content(deep, "envoy/config_dump.json")
    deep = b'{"a":' * 900 + b'"--token=hunter2"' + b"}" * 900
    assert b"hunter2" not in Redactor().content(deep, "envoy/config_dump.json")
