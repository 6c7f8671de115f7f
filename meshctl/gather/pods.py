"""From the name that a user gives to the pod, or pods, that it means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshctl.errors import BadInput, NoAccess, NotFound
from meshctl.gather.scope import Scope
from meshctl.kube import pods as kube_pods
from meshctl.kube.pods import Pod
from meshctl.refs import POD_FORMS, PodRef, near_misses, parse_pod
from meshctl.sources import kinds
from meshctl.sources.world import World

Raw = Mapping[str, Any]


def one(world: World, text: str | None, scope: Scope) -> Pod:
    """The pod that a name means; of a workload's or service's pods the first ready one, by name.

    Raises NotFound with the nearest names, and BadInput naming the candidates where it may mean several.
    """
    return _parsed(world, _one(world, text, scope))


def key(world: World, text: str | None, scope: Scope) -> str:
    """The same pod as ``namespace/name``, for who has read it already."""
    chosen = _one(world, text, scope)
    return f"{_namespace(chosen)}/{_name(chosen)}"


def _one(world: World, text: str | None, scope: Scope) -> Raw:
    found = _found(world, text, scope)
    if len(found) > 1 and (text is None or parse_pod(text).kind in (None, "pod")) and not scope.selector:
        raise _ambiguous(text or "", found)
    return sorted(found, key=lambda raw: (not _ready(raw), _name(raw)))[0]


def many(world: World, text: str | None, scope: Scope) -> tuple[Pod, ...]:
    """Every pod that a name means, or every pod of the scope where there is no name, by namespace and name."""
    if text is None and not scope.selector:
        found: Sequence[Raw] = _listed(world, None if scope.all_namespaces else home(world, scope))
    else:
        found = _found(world, text, scope)
        if text is not None and parse_pod(text).kind in (None, "pod") and len(found) > 1 and not scope.selector:
            raise _ambiguous(text, found)
    return tuple(_parsed(world, raw) for raw in sorted(found, key=lambda raw: (_namespace(raw), _name(raw))))


def home(world: World, scope: Scope) -> str:
    """The namespace of a scope that names none: the world's own choice, else ``default``."""
    return scope.namespace or world.default_namespace() or "default"


def demand_namespaces(world: World, names: Sequence[str]) -> None:
    """Raise NotFound for a namespace that is certainly not there; where they may not be listed, nothing is certain."""
    try:
        listed = world.objects(kinds.NAMESPACES) if names else None
    except NoAccess:
        return
    if listed is None or not listed.recorded:
        return
    there = tuple(sorted({_name(raw) for raw in listed.items} | set(world.namespaces())))
    for name in names:
        if name not in there:
            raise _no_namespace(name, there)


def _no_namespace(name: str, there: Sequence[str]) -> NotFound:
    close = near_misses(name, tuple(there)) or tuple(there)
    return NotFound(f"there is no namespace '{name}' here", hint=f"there are: {', '.join(close)}")


def _found(world: World, text: str | None, scope: Scope) -> Sequence[Raw]:
    if text is None:
        found = _selected(_listed(world, None if scope.all_namespaces else home(world, scope)), scope.selector)
        if not found:
            where = "in any namespace" if scope.all_namespaces else f"in namespace {home(world, scope)}"
            raise NotFound(f"no pod {where} has the labels {scope.selector}")
        return found
    ref = parse_pod(text)
    for name, namespace in ref.readings():
        if (direct := _by_full_name(world, ref, name, namespace or scope.namespace)) is not None:
            return [direct]
        found = _search(world, ref, name, namespace, scope)
        if found:
            return found
    raise _missing(world, ref, scope)


def _by_full_name(world: World, ref: PodRef, name: str, namespace: str | None) -> Raw | None:
    """On a live cluster a full name in a known namespace costs one request, not a list."""
    place = namespace or world.default_namespace()
    if not world.live or ref.kind not in (None, "pod") or not place:
        return None
    return world.one(kinds.PODS, place, name)


def _search(world: World, ref: PodRef, name: str, namespace: str | None, scope: Scope) -> Sequence[Raw]:
    if namespace or scope.namespace or not _candidates(world):
        if namespace and scope.namespace and namespace != scope.namespace:
            return []
        return _matching(world, ref, name, namespace or home(world, scope), scope.selector)
    hits = {place: _matching(world, ref, name, place, scope.selector) for place in _candidates(world)}
    hits = {place: found for place, found in hits.items() if found}
    if len(hits) == 1:
        return next(iter(hits.values()))
    if "default" in hits or not hits:
        return hits.get("default", [])
    raise BadInput(
        f"'{ref.text}' is in several namespaces: {', '.join(sorted(hits))}", hint="choose one with -n NAMESPACE"
    )


def _candidates(world: World) -> tuple[str, ...]:
    """The namespaces of a recording in which a name without one is looked for."""
    if world.default_namespace():
        return (world.default_namespace(),)
    control_plane = world.root_namespace()
    return tuple(n for n in world.namespaces() if n != control_plane)


def _matching(world: World, ref: PodRef, name: str, namespace: str, selector: str) -> Sequence[Raw]:
    listed = _selected(_listed(world, namespace), selector)
    match ref.kind:
        case None | "pod":
            exact = [raw for raw in listed if _name(raw) == name]
            return exact or [raw for raw in listed if name and _name(raw).startswith(name)]
        case "service":
            return _of_service(world, listed, namespace, name)
        case _:
            return [raw for raw in listed if _owned_by(raw, ref.kind, name)]


def _of_service(world: World, listed: Sequence[Raw], namespace: str, name: str) -> Sequence[Raw]:
    service = world.one(kinds.SERVICES, namespace, name)
    wanted = (service or {}).get("spec", {}).get("selector") or {}
    if not isinstance(wanted, dict) or not wanted:
        return []
    return [raw for raw in listed if all(_labels(raw).get(k) == v for k, v in wanted.items())]


def _owned_by(raw: Raw, kind: str, name: str) -> bool:
    """Whether the pod's controller is this workload; a Deployment's ReplicaSet is NAME-<pod-template-hash>."""
    owners = [o for o in raw.get("metadata", {}).get("ownerReferences") or () if isinstance(o, dict)]
    for owner in owners:
        owner_kind, owner_name = str(owner.get("kind", "")).lower(), str(owner.get("name", ""))
        if owner_kind == kind and owner_name == name:
            return True
        if kind == "deployment" and owner_kind == "replicaset":
            template = _labels(raw).get("pod-template-hash", owner_name.rpartition("-")[2])
            return owner_name == f"{name}-{template}"
        if kind == "cronjob" and owner_kind == "job":
            return owner_name.rpartition("-")[0] == name
    return False


def _selected(listed: Sequence[Raw], selector: str) -> Sequence[Raw]:
    if not selector:
        return listed
    from meshctl.sources.selector import selects

    return [raw for raw in listed if selects(selector, raw.get("metadata", {}).get("labels"))]


def _listed(world: World, namespace: str | None) -> Sequence[Raw]:
    listed = world.objects(kinds.PODS, namespace)
    if not listed.recorded:
        raise NotFound(f"no pods can be looked at: {listed.gap}")
    return listed.items


def _missing(world: World, ref: PodRef, scope: Scope) -> NotFound | BadInput:
    name, tail = ref.readings()[-1]
    place = scope.namespace or tail or world.default_namespace()
    everywhere = _listed_as_far_as_allowed(world, place)
    spaces = sorted({_namespace(raw) for raw in everywhere} | set(world.namespaces()))
    if scope.namespace and scope.namespace not in spaces:
        return _no_namespace(scope.namespace, spaces)
    if ref.namespace is not None and ref.namespace not in spaces:
        said = f"'{ref.text}' is no pod: '{ref.namespace}' is neither a kind that has pods nor a namespace here"
        return BadInput(said, hint=POD_FORMS)
    where = f"in namespace {place}" if place else f"in {', '.join(_candidates(world)) or 'any namespace'}"
    what = "pod" if ref.kind in (None, "pod") else f"pod of {ref.kind}"
    return NotFound(f"there is no {what} '{ref.name}' {where}", hint=_suggestion(ref.name, everywhere, name, place))


def _listed_as_far_as_allowed(world: World, place: str | None) -> Sequence[Raw]:
    """Every pod, or those of one namespace for a user who may not look further: a missing pod stays a missing pod."""
    try:
        return _listed(world, None)
    except NoAccess:
        if not place:
            raise
        return _listed(world, place)


def _suggestion(literal: str, everywhere: Sequence[Raw], name: str, place: str | None) -> str:
    elsewhere = sorted({_namespace(r) for r in everywhere if _name(r).startswith((literal, name))} - {place or ""})
    if elsewhere:
        return f"it is in namespace {elsewhere[0]}: add -n {elsewhere[0]}"
    here = tuple(sorted(_name(raw) for raw in everywhere if not place or _namespace(raw) == place))
    stems = {_stem(full): full for full in reversed(here)}
    close = tuple(stems[stem] for stem in near_misses(_stem(literal), tuple(stems)) or near_misses(name, tuple(stems)))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"pods there: {', '.join(here[:8])}{' ...' if len(here) > 8 else ''}" if here else "there are no pods there"


def _stem(name: str) -> str:
    """A pod's name without the hashes that Kubernetes adds (letters and digits without vowels, 5 to 10 of them)."""
    import re

    return re.sub(r"(-[bcdfghjklmnpqrstvwxz2456789]{5,10}){1,2}$", "", name)


def _ambiguous(text: str, found: Iterable[Raw]) -> BadInput:
    names = sorted(_name(raw) for raw in found)
    if not text:
        return BadInput("no pod is named", hint=f"name one of {len(names)}: {', '.join(names)}")
    return BadInput(f"'{text}' may mean {len(names)} pods", hint=f"choose one: {', '.join(names)}")


def _parsed(world: World, raw: Raw) -> Pod:
    return kube_pods.pod(raw, source=f"{world.name}/resources/pods.json")


def _below(raw: Raw, key: str) -> Mapping[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _name(raw: Raw) -> str:
    return str(_below(raw, "metadata").get("name", ""))


def _namespace(raw: Raw) -> str:
    return str(_below(raw, "metadata").get("namespace", "default"))


def _labels(raw: Raw) -> Mapping[str, str]:
    return _below(_below(raw, "metadata"), "labels")


def _ready(raw: Raw) -> bool:
    conditions = _below(raw, "status").get("conditions")
    conditions = conditions if isinstance(conditions, list) else ()
    return any(isinstance(c, dict) and c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
