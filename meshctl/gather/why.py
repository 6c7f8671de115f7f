"""The logged requests of a pod, or of every meshed pod of a namespace, that ended as the user says."""

from meshctl.envoy import access_log
from meshctl.gather import pods as gather_pods
from meshctl.gather import trace
from meshctl.gather.scope import Scope
from meshctl.injection.mode import recognise
from meshctl.path import why_here
from meshctl.path.why import Reading
from meshctl.path.why_here import Here
from meshctl.sources.world import World

MOST = 5


def here(world: World, reading: Reading, pod: str | None, scope: Scope) -> tuple[Here, ...]:
    """What is recorded about such an end; a pasted line is of the pod that the user, or its addresses, name."""
    scene = trace.scene(world)
    wrote = why_here.writer(scene, reading.log) if reading.log is not None and pod is None else None
    if wrote is not None:
        pods = [wrote]
    elif pod is not None:
        chosen = gather_pods.one(world, pod, scope)
        pods = [p for p in scene.pods if (p.namespace, p.name) == (chosen.namespace, chosen.name)]
    else:
        place = scope.namespace or world.default_namespace()
        pods = [p for p in scene.pods if (not place or p.namespace == place) and recognise(p).proxy is not None]
    found: list[Here] = []
    for each in pods:
        part = world.part(each.namespace, each.name, "logs/istio-proxy.txt")
        text = (part.content or b"").decode("utf-8", "replace")
        if reading.log is not None and (pod is not None or wrote is not None or reading.log.text in text):
            text = reading.log.text
        elif reading.log is not None:
            continue
        found += why_here.explain(scene, scene.station(each), reading, access_log.parse(text, part.source))
        if len(found) >= MOST:
            break
    if not found:
        where = pod or scope.namespace or world.default_namespace() or world.name
        if reading.log is not None and pod is None:
            return (Here(f"no proxy of {where} logged this line: name the pod that did with --pod", bad=False),)
        return (Here(f"no logged request of {where} ended so", bad=False),)
    return tuple(found[:MOST])
