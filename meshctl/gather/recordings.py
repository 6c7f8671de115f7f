"""What a recording holds, and how two of them differ."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.reports import Change, Changes, Contents, RecordedPod
from meshctl.sources.snapshot import Snapshot
from meshctl.sources.world import World

Raw = Mapping[str, Any]
_RULES = (
    "iptables-save.txt",
    "ip6tables-save.txt",
    "iptables-legacy-save.txt",
    "ip6tables-legacy-save.txt",
    "nft.json",
)
_MOST = 12
_ALWAYS_NEW = frozenset({"resourceVersion", "managedFields", "generation", "observedGeneration", "lastUpdateTime"})
_NEVER_COMPARED = ("events", "endpointslices.discovery.k8s.io")


def snapshot_of(world: World) -> Snapshot:
    """The world as a recording. Raises BadInput where it is a live one."""
    if not isinstance(world, Snapshot):
        raise BadInput("that is no recording", hint="name one: PATH, or --demo")
    return world


def contents(snapshot: Snapshot) -> Contents:
    """What is in a recording."""
    about, files = snapshot.about, snapshot.files
    resources, broken = [], []
    for name in files.names("resources"):
        try:
            document = json_text.read(files.read(f"resources/{name}") or b"", f"{snapshot.name}/resources/{name}")
        except BadInput as error:
            broken.append((str(error), 1))
            continue
        items = document.get("items") if isinstance(document, dict) else None
        resources.append((name.removesuffix(".json"), len(items) if isinstance(items, list) else 1))
    return Contents(
        name=snapshot.name,
        captured_at=str(about.get("captured_at", "")),
        namespaces=snapshot.namespaces(),
        versions=_pairs(about.get("versions")),
        resources=tuple(resources),
        pods=tuple(_pods(snapshot)),
        nodes=files.names("nodes"),
        redactions=_redactions(about.get("redactions")),
        left_out=(*_left_out(about.get("left_out")), *broken),
    )


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(k), str(v)) for k, v in value.items()) if isinstance(value, Mapping) else ()


def _redactions(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping) and isinstance(value.get("found"), Mapping):
        return (*_pairs(value["found"]), ("addresses replaced", "yes" if value.get("addresses") else "no"))
    if isinstance(value, list):
        return tuple((str(entry), "") for entry in value)
    return _pairs(value)


def _left_out(value: Any) -> Iterator[tuple[str, int]]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, Mapping):
            yield str(entry.get("why", "")), int(entry.get("count") or 1)


def _pods(snapshot: Snapshot) -> Iterator[RecordedPod]:
    files = snapshot.files
    for namespace in files.names("pods"):
        for name in files.names(f"pods/{namespace}"):
            folder = f"pods/{namespace}/{name}"
            parts = tuple((part, len(files.names(f"{folder}/{part}"))) for part in files.names(folder))
            yield RecordedPod(namespace, name, parts)


def compare(before: Snapshot, after: Snapshot) -> Changes:
    """What changed from one recording to another: pods, their rules and proxies, mesh and other resources."""
    gaps: list[str] = []
    changes = [*_resources(before, after, gaps), *_pod_parts(before, after, gaps)]
    order = ("pods", "rules", "proxy", "mesh", "resources")
    ranked = sorted(changes, key=lambda change: (order.index(change.area), change.subject))
    return Changes(before.name, after.name, tuple(ranked), tuple(dict.fromkeys(gaps)))


def _resources(before: Snapshot, after: Snapshot, gaps: list[str]) -> Iterator[Change]:
    names = dict.fromkeys([*before.files.names("resources"), *after.files.names("resources")])
    for name in names:
        stem = name.removesuffix(".json")
        if stem in _NEVER_COMPARED:
            continue
        old, new = (_objects(side, name) for side in (before, after))
        if old is None or new is None:
            gaps.append(f"{name} is only in {before.name if new is None else after.name}")
            continue
        area = (
            "pods"
            if stem == "pods"
            else "mesh"
            if ".istio.io" in stem or stem.startswith("configmap.")
            else "resources"
        )
        yield from _differences(area, stem.partition(".")[0], old, new)


def _objects(snapshot: Snapshot, name: str) -> dict[str, Raw] | None:
    content = snapshot.files.read(f"resources/{name}")
    if content is None:
        return None
    document = json_text.read(content, f"{snapshot.name}/resources/{name}")
    items = document.get("items", [document]) if isinstance(document, dict) else []
    found = {}
    for item in items:
        metadata = item.get("metadata") or {}
        found["/".join(filter(None, (metadata.get("namespace"), str(metadata.get("name")))))] = item
    return found


def _differences(area: str, plural: str, old: Mapping[str, Raw], new: Mapping[str, Raw]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        subject = f"{plural}/{name}"
        if name not in new:
            yield Change(area, subject, "removed")
        elif name not in old:
            yield Change(area, subject, "added")
        elif details := _details(old[name], new[name]):
            yield Change(area, subject, "changed", details)


def _details(old: Any, new: Any) -> tuple[str, ...]:
    found = list(paths(old, new))
    return (*found[:_MOST], f"and {len(found) - _MOST} more") if len(found) > _MOST else tuple(found)


def paths(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Where two JSON values differ: ``spec.replicas: 1 -> 2``; lists of named things are compared by name."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if key not in _ALWAYS_NEW:
                yield from paths(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _lists(old, new, at)
    elif old != new:
        yield f"{at}: {_shown(old)} -> {_shown(new)}"


def _lists(old: list[Any], new: list[Any], at: str) -> Iterator[str]:
    names = [[item.get("name") if isinstance(item, Mapping) else None for item in side] for side in (old, new)]
    if all(name is not None and side.count(name) == 1 for side in names for name in side):
        left, right = ({item["name"]: item for item in side} for side in (old, new))
        for name in dict.fromkeys([*left, *right]):
            yield from paths(left.get(name), right.get(name), f"{at}[{name}]")
        return
    for number in range(max(len(old), len(new))):
        left_item = old[number] if number < len(old) else None
        right_item = new[number] if number < len(new) else None
        yield from paths(left_item, right_item, f"{at}[{number}]")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pod_parts(before: Snapshot, after: Snapshot, gaps: list[str]) -> Iterator[Change]:
    common = {(p.namespace, p.name) for p in _pods(before)} & {(p.namespace, p.name) for p in _pods(after)}
    for namespace, name in sorted(common):
        for part in _RULES:
            texts = [side.part(namespace, name, f"netns/{part}").content for side in (before, after)]
            yield from _rules(f"{namespace}/{name} {part}", texts, gaps)
        dumps = [side.part(namespace, name, "envoy/config_dump.json").content for side in (before, after)]
        if None not in dumps:
            named = [_proxy(json_text.read(content or b"", f"{namespace}/{name}")) for content in dumps]
            for change in _differences("proxy", f"{namespace}/{name}", named[0], named[1]):
                yield Change(
                    "proxy", change.subject.replace("/", " ", 2).replace(" ", "/", 1), change.kind, change.details
                )


def _rules(subject: str, texts: list[bytes | None], gaps: list[str]) -> Iterator[Change]:
    old, new = texts
    if old is None and new is None:
        return
    if old is None or new is None:
        gaps.append(f"{subject} is in one of them only")
        return
    clean = _nft_lines if subject.endswith(".json") else _save_lines
    left, right = clean(old), clean(new)
    if left != right:
        lost = [f"- {line}" for line in left if line not in right]
        gained = [f"+ {line}" for line in right if line not in left]
        details = (*lost, *gained) or ("the same rules in another order",)
        yield Change("rules", subject, "changed", (*details[:_MOST], *_more(len(details))))


def _more(count: int) -> tuple[str, ...]:
    return (f"and {count - _MOST} more",) if count > _MOST else ()


def _save_lines(content: bytes) -> list[str]:
    """Rules and chains with their table, without counters and comments."""
    table, lines = "", []
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line and not line.startswith("#") and line != "COMMIT":
            rule = re.sub(r"^\[\d+:\d+\] | \[\d+:\d+\]$", "", line)
            lines.append(f"{table}: {rule}")
    return lines


def _nft_lines(content: bytes) -> list[str]:
    try:
        entries = json_text.loads(content).get("nftables") or []
    except (ValueError, AttributeError):
        return [content.decode("utf-8", "replace")]
    return [json.dumps(_without_counts(entry), sort_keys=True) for entry in entries if "metainfo" not in entry]


def _without_counts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            k: _without_counts(v)
            for k, v in value.items()
            if k not in ("handle", "packets", "bytes", "position", "index")
        }
    return [_without_counts(inner) for inner in value] if isinstance(value, list) else value


def _proxy(dump: Any) -> dict[str, Raw]:
    """A dump's listeners, routes and clusters by name, without what every dump has anew."""
    found: dict[str, Raw] = {}
    for section in dump.get("configs") or () if isinstance(dump, Mapping) else ():
        for key, entries in section.items():
            for entry in entries if isinstance(entries, list) else ():
                body = _body(entry) if isinstance(entry, Mapping) else None
                if body is not None and key.startswith(("static_", "dynamic_")):
                    kind = key.partition("_")[2].removesuffix("s").replace("_", " ")
                    found[f"{kind} {body.get('name') or body.get('cluster_name') or '?'}"] = body
    return found


def _body(entry: Raw) -> Raw | None:
    for key in ("cluster", "route_config", "listener", "endpoint_config"):
        if isinstance(entry.get(key), Mapping):
            inner: Raw = entry[key]
            return inner
    state = entry.get("active_state")
    if isinstance(state, Mapping) and isinstance(state.get("listener"), Mapping):
        listener: Raw = {"name": entry.get("name"), **state["listener"]}
        return listener
    return None
