"""Kubeconfigs that are broken, each in its own way: every one gets exit code 2 or 4 and a message with the place."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import BadInput, MeshctlError, NoAccess
from meshctl.sources import kube_client
from meshctl.sources.connection import Connection
from meshctl.sources.kubeconfig import kubeconfig_files, read_kubeconfig
from tests.sources.conftest import kubeconfig


def _good() -> dict[str, Any]:
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }


def _with(change: Callable[[dict[str, Any]], object]) -> str:
    document = _good()
    change(document)
    return json.dumps(document)


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "it is empty"),
    "no YAML": ("a: [", "not valid YAML"),
    "binary": (b"\xff\xfe\x00", "no UTF-8"),
    "a list": ("- 1", "no mapping"),
    "no current-context": (_with(lambda d: d.pop("current-context")), "no current-context"),
    "unknown current-context": (_with(lambda d: d.update({"current-context": "z"})), "not among the contexts"),
    "contexts is no list": (_with(lambda d: d.update({"contexts": {"a": 1}})), "contexts is no list"),
    "context without a name": (_with(lambda d: d["contexts"].insert(0, {"context": {}})), r"contexts\[0\] has no name"),
    "unknown cluster": (_with(lambda d: d["contexts"][0]["context"].update(cluster="x")), "cluster 'x', which is not"),
    "unknown user": (_with(lambda d: d["contexts"][0]["context"].update(user="x")), "user 'x', which is not"),
    "no server": (_with(lambda d: d["clusters"][0]["cluster"].clear()), "has no server"),
    "server is no URL": (_with(lambda d: d["clusters"][0]["cluster"].update(server="host:1")), "is no URL"),
    "missing CA file": (
        _with(lambda d: d["clusters"][0]["cluster"].update({"certificate-authority": "no.crt"})),
        "where no file is",
    ),
    "CA is no base64": (
        _with(lambda d: d["clusters"][0]["cluster"].update({"certificate-authority-data": "%%"})),
        "no base64",
    ),
    "key is no PEM": (
        _with(lambda d: d["users"][0]["user"].update({"client-key-data": base64.b64encode(b"x").decode()})),
        "no PEM block",
    ),
    "exec without a command": (_with(lambda d: d["users"][0].update(user={"exec": {}})), "has no command"),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_each_way_to_break_a_kubeconfig_is_named(text: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput, match=said) as caught:
        kube_client.connect(Connection(kubeconfig=str(path)))
    assert str(path) in str(caught.value)


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no kubeconfig at"):
        kube_client.connect(Connection(kubeconfig=str(tmp_path / "nothing")))


def test_no_kubeconfig_at_all_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInput, match="there is no kubeconfig") as caught:
        kube_client.connect(Connection())
    assert "--snapshot" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho no login >&2\nexit 1\n", "no login|returned 1"),
        ("#!/bin/sh\necho not json\n", "failed to decode"),
        (None, "No such file"),
    ],
)
def test_an_exec_plugin_that_gives_nothing_is_no_access(tmp_path: Path, script: str | None, said: str) -> None:
    plugin = tmp_path / "plugin"
    if script is not None:
        plugin.write_text(script)
        plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []}}
    path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1", **user)
    with pytest.raises(NoAccess, match=said):
        kube_client.connect(Connection(kubeconfig=path))


def test_an_exec_plugins_token_is_sent(tmp_path: Path, scripted: Any) -> None:
    plugin = tmp_path / "plugin"
    status = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-the-plugin"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(status)}'\n")
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": []}}
    scripted.answer = lambda *_: (200, {"gitVersion": "v1"})
    api = kube_client.connect(Connection(kubeconfig=kubeconfig(tmp_path / "config", scripted.url, **user)))
    assert api.get("/version") == {"gitVersion": "v1"}
    assert scripted.headers_seen[0]["authorization"] == "Bearer from-the-plugin"


def test_several_files_are_merged_and_the_context_may_be_chosen(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text(_with(lambda d: d.pop("current-context")))
    second.write_text(json.dumps({"current-context": "a"}))
    files = kubeconfig_files(None, {"KUBECONFIG": f"{first}:{second}:{tmp_path / 'missing'}"})
    assert files == (str(first), str(second))
    assert read_kubeconfig(files, None).server == "https://127.0.0.1:1"
    with pytest.raises(MeshctlError, match="--context names 'b'"):
        read_kubeconfig(files, "b")


def test_impersonation_goes_with_every_request(tmp_path: Path, scripted: Any) -> None:
    scripted.answer = lambda *_: (200, {})
    path = kubeconfig(tmp_path / "config", scripted.url)
    api = kube_client.connect(Connection(kubeconfig=path, as_user="jane", as_groups=("dev", "ops")))
    api.get("/version")
    assert scripted.headers_seen[0]["Impersonate-User"] == "jane"
    assert scripted.headers_seen[0].get_all("Impersonate-Group") in (["dev", "ops"], ["dev, ops"])
