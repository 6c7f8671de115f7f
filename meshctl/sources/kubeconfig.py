"""Which kubeconfig to read, and what is wrong with it: said before the client library trips over it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshctl import yaml_text
from meshctl.errors import BadInput, NoAccess
from meshctl.frozen import dataclass

_OFFLINE = "or work offline: --snapshot PATH, --demo"


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The files to read (later ones fill what earlier ones lack) and the context that is meant."""

    files: tuple[str, ...]
    context: str
    namespace: str
    server: str
    has_exec_plugin: bool


def kubeconfig_files(explicit: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The files by kubectl's rules: --kubeconfig, else KUBECONFIG (a list), else ~/.kube/config; only those there."""
    if explicit:
        if not Path(explicit).expanduser().is_file():
            raise BadInput(f"there is no kubeconfig at {explicit}", hint=f"check --kubeconfig, {_OFFLINE}")
        return (str(Path(explicit).expanduser()),)
    named = [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    if named:
        there = tuple(path for path in named if Path(path).expanduser().is_file())
        if not there:
            raise BadInput(
                f"KUBECONFIG names {os.pathsep.join(named)}, where no file is", hint=f"correct KUBECONFIG, {_OFFLINE}"
            )
        return there
    default = Path(environment.get("HOME") or "~").expanduser() / ".kube" / "config"
    return (str(default),) if default.is_file() else ()


def read_kubeconfig(files: tuple[str, ...], context: str | None) -> Kubeconfig:
    """Find the context, its cluster and its user; BadInput names the file and what it lacks."""
    documents = [_load(path) for path in files]
    merged: dict[str, dict[str, tuple[Mapping[str, Any], str]]] = {
        section: _named(documents, files, section) for section in ("contexts", "clusters", "users")
    }
    current = next((str(d["current-context"]) for d in documents if d.get("current-context")), "")
    where = " and ".join(files)
    chosen = context or current
    known = ", ".join(sorted(merged["contexts"])) or "none"
    if not chosen:
        raise BadInput(f"{where}: no current-context is set", hint=f"use --context NAME; the contexts are: {known}")
    if chosen not in merged["contexts"]:
        origin = "--context names" if context else "current-context is"
        raise BadInput(
            f"{where}: {origin} '{chosen}', which is not among the contexts", hint=f"the contexts are: {known}"
        )
    about, file = _inner(merged["contexts"][chosen], "context", chosen)
    cluster_name, user_name = str(about.get("cluster") or ""), str(about.get("user") or "")
    if cluster_name not in merged["clusters"]:
        raise BadInput(f"{file}: context '{chosen}' names the cluster '{cluster_name}', which is not there")
    if user_name and user_name not in merged["users"]:
        raise BadInput(f"{file}: context '{chosen}' names the user '{user_name}', which is not there")
    cluster, cluster_file = _inner(merged["clusters"][cluster_name], "cluster", cluster_name)
    user, user_file = _inner(merged["users"][user_name], "user", user_name) if user_name else ({}, file)
    _check_cluster(cluster, cluster_name, cluster_file)
    _check_user(user, user_name, user_file)
    namespace = str(about.get("namespace") or "default")
    return Kubeconfig(files, chosen, namespace, str(cluster["server"]), isinstance(user.get("exec"), dict))


def _load(path: str) -> Mapping[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: no kubeconfig: byte {error.start} is no UTF-8") from error
    except PermissionError as error:
        raise NoAccess(f"{path}: the kubeconfig may not be read", hint=f"ls -l {path}") from error
    except OSError as error:
        raise BadInput(f"{path}: the kubeconfig cannot be read: {error.strerror}") from error
    found = yaml_text.documents(text, path)
    document = found[0] if found else None
    if not isinstance(document, dict):
        raise BadInput(f"{path}: no kubeconfig: it is {'empty' if document is None else 'no mapping'}")
    return document


def _named(
    documents: list[Mapping[str, Any]], files: tuple[str, ...], section: str
) -> dict[str, tuple[Mapping[str, Any], str]]:
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    for document, file in zip(documents, files, strict=True):
        entries = document.get(section) or []
        if not isinstance(entries, list):
            raise BadInput(f"{file}: {section} is no list")
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not entry.get("name"):
                raise BadInput(f"{file}: {section}[{number}] has no name")
            found.setdefault(str(entry["name"]), (entry, file))
    return found


def _inner(entry: tuple[Mapping[str, Any], str], key: str, name: str) -> tuple[Mapping[str, Any], str]:
    about, file = entry
    inner = about.get(key)
    if not isinstance(inner, dict):
        raise BadInput(f"{file}: the {key} '{name}' has no `{key}:` mapping")
    return inner, file


def _check_cluster(cluster: Mapping[str, Any], name: str, file: str) -> None:
    server = str(cluster.get("server") or "")
    if not server.startswith(("http://", "https://")):
        said = f"'{server}' is no URL" if server else "it has no server"
        raise BadInput(f"{file}: cluster '{name}': {said}", hint="server: https://HOST:PORT")
    _check_file(cluster, "certificate-authority", f"{file}: cluster '{name}'", file)
    _check_base64(cluster, "certificate-authority-data", f"{file}: cluster '{name}'")


def _check_user(user: Mapping[str, Any], name: str, file: str) -> None:
    where = f"{file}: user '{name}'"
    for key in ("client-certificate", "client-key", "tokenFile"):
        _check_file(user, key, where, file)
    for key in ("client-certificate-data", "client-key-data"):
        _check_base64(user, key, where)
    plugin = user.get("exec")
    if plugin is not None and (not isinstance(plugin, dict) or not plugin.get("command")):
        raise BadInput(f"{where}: its exec plugin has no command")


def _check_file(about: Mapping[str, Any], key: str, where: str, file: str) -> None:
    named = about.get(key)
    if not named or about.get(f"{key}-data"):
        return
    path = Path(file).parent / str(named)
    if not path.is_file():
        raise BadInput(f"{where}: {key} is {named}, where no file is")
    if not os.access(path, os.R_OK):
        raise NoAccess(f"{where}: {key} {named} may not be read", hint=f"ls -l {path}")


def _check_base64(about: Mapping[str, Any], key: str, where: str) -> None:
    from base64 import b64decode

    if not about.get(key):
        return
    try:
        decoded = b64decode(str(about[key]), validate=True)
    except ValueError as error:
        raise BadInput(f"{where}: {key} is no base64: {error}") from None
    if b"-----BEGIN" not in decoded:
        raise BadInput(f"{where}: {key} holds no PEM block")
