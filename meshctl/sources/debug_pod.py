"""A pod's namespace from afar: by a privileged Job pod on its node, or by an ephemeral container in the pod itself.

Only with --via debug-pod or --via ephemeral, after the rights were checked and the user agreed.
"""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.sources import access, debug_script, envoy_admin, made
from meshctl.sources.access import Right
from meshctl.sources.connection import Connection
from meshctl.sources.debug_script import Inside
from meshctl.sources.kube_client import Api
from meshctl.sources.world import Part

Raw = Mapping[str, Any]
DEADLINE_S = 300
TTL_S = 60
START_S = 60.0
_jobs: dict[tuple[str, str], tuple[str, str]] = {}
"""The debug pod of each (server, node) in this run: (namespace, pod)."""
_one_at_a_time = threading.Lock()


def parts(api: Api, connection: Connection, pod: Raw, names: Sequence[str]) -> Mapping[str, Part]:
    """The parts of the pod's network namespace by the way that the connection names."""
    if connection.via == "ephemeral":
        from meshctl.sources import ephemeral

        return ephemeral.parts(api, connection, pod, names)
    namespace, name = debug_pod(api, connection, pod)
    inside = Inside(api, namespace, name, "debug", connection.timeout_s)
    return debug_script.parts(inside, pod, names)


def image_for(connection: Connection, pod: Raw, distroless_will_do: bool) -> str:
    """The image to debug with: the user's, else the pod's own proxy image. Raises BadInput where neither will do."""
    if connection.debug_image:
        return connection.debug_image
    container = envoy_admin.proxy_container(pod)
    spec = pod.get("spec", {})
    images = [
        str(c.get("image") or "")
        for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        if c.get("name") == container and container
    ]
    if not images:
        raise BadInput("the pod has no proxy whose image could be used", hint="name one: --debug-image IMAGE")
    if "distroless" in images[0] and not distroless_will_do:
        raise BadInput(
            f"the proxy's image {images[0]} is distroless: it has no shell and no nsenter",
            hint="--debug-image IMAGE (one with sh, nsenter and iptables), or --via ephemeral",
        )
    return images[0]


def debug_pod(api: Api, connection: Connection, pod: Raw) -> tuple[str, str]:
    """(namespace, name) of a running debug pod on the pod's node, made now or earlier in this run."""
    node = str(pod.get("spec", {}).get("nodeName") or "")
    if not node:
        raise Unavailable("the pod is not on a node yet")
    with _one_at_a_time:
        if (api.server, node) not in _jobs:
            _jobs[api.server, node] = _made_on(api, connection, pod, node)
        return _jobs[api.server, node]


def _made_on(api: Api, connection: Connection, pod: Raw, node: str) -> tuple[str, str]:
    namespace = connection.debug_namespace or str(pod.get("metadata", {}).get("namespace") or "default")
    image = image_for(connection, pod, distroless_will_do=False)
    access.require(api, rights(namespace), "a debug pod")
    _check_namespace(api, namespace)
    job = manifest(made.new_name("meshctl-debug"), namespace, node, image)
    made.consent(_announcement(job, node, image), connection.assume_yes)
    remove_abandoned(api, namespace)
    return _start(api, namespace, job)


def rights(namespace: str) -> tuple[Right, ...]:
    """What making, using and removing a debug pod needs; clusters differ in which verb of pods/exec they check."""
    return (
        Right("create", "jobs", "batch", namespace),
        Right("delete", "jobs", "batch", namespace),
        Right("list", "pods", "", namespace),
        Right("create", "pods/exec", "", namespace),
        Right("get", "pods/exec", "", namespace),
    )


def _check_namespace(api: Api, namespace: str) -> None:
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}", (), f"get namespace {namespace}")
    except NotFound:
        raise NotFound(f"there is no namespace '{namespace}'", hint="name another: --debug-namespace NS") from None
    except MeshctlError:
        return
    level = (found.get("metadata", {}).get("labels") or {}).get("pod-security.kubernetes.io/enforce", "privileged")
    if level != "privileged":
        raise NoAccess(
            f"namespace {namespace} enforces the Pod Security level '{level}', which forbids a debug pod"
            " (hostPID, privileged)",
            hint="use a namespace that allows privileged pods: --debug-namespace NS, or --via ephemeral",
        )


def manifest(name: str, namespace: str, node: str, image: str) -> dict[str, Any]:
    """The Job: one privileged pod on the node that sleeps, ends by itself, and is removed by Kubernetes after that."""
    labels = made.labels()
    container = {
        "name": "debug",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", str(DEADLINE_S)],
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsNonRoot": False},
    }
    pod_spec = {
        "nodeName": node,
        "hostPID": True,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_S,
            "ttlSecondsAfterFinished": TTL_S,
            "template": {
                "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
                "spec": pod_spec,
            },
        },
    }


def _announcement(job: Raw, node: str, image: str) -> str:
    metadata = job["metadata"]
    return (
        f"This creates the Job {metadata['name']} in namespace {metadata['namespace']}: a privileged pod on node {node}"
        f" with the node's processes in sight (hostPID), image {image}.\n"
        "It runs only commands that read, and is removed when meshctl ends;"
        f" else it ends after {DEADLINE_S} s and is removed {TTL_S} s later."
    )


def _start(api: Api, namespace: str, job: dict[str, Any]) -> tuple[str, str]:
    name = job["metadata"]["name"]
    what = f"create the job {name} in namespace {namespace}"
    # Kept before it is created: an answer that is lost on the way must not leave a Job behind.
    made.keep(f"the Job {namespace}/{name}", lambda: _remove(api, namespace, name))
    try:
        api.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", job, what)
    except (NoAccess, BadInput, NotFound):
        made.forget(f"the Job {namespace}/{name}")
        raise
    return namespace, _running_pod(api, namespace, name)


def _remove(api: Api, namespace: str, name: str) -> None:
    for key, (where, pod) in list(_jobs.items()):
        if where == namespace and pod.startswith(name):
            del _jobs[key]
    made.delete_job(api, namespace, name)


def _running_pod(api: Api, namespace: str, job: str) -> str:
    deadline = time.monotonic() + START_S
    path = f"/api/v1/namespaces/{namespace}/pods"
    while time.monotonic() < deadline:
        found = api.get(path, [("labelSelector", f"job-name={job}")], f"list pods in namespace {namespace}")
        items = found.get("items") or []
        if not items:
            _check_refusal(api, namespace, job)
        for item in items:
            problem = state_problem((item.get("status") or {}).get("containerStatuses") or [])
            if problem or item.get("status", {}).get("phase") == "Failed":
                said = problem or str(item["status"].get("message") or item["status"].get("reason") or "it failed")
                raise Unavailable(f"the debug pod does not start: {said}", hint="another image: --debug-image IMAGE")
            if item.get("status", {}).get("phase") == "Running":
                return str(item["metadata"]["name"])
        time.sleep(0.3)
    raise Unavailable(f"the debug pod {namespace}/{job} did not start within {START_S:.0f} s")


def state_problem(statuses: Sequence[Raw]) -> str:
    """Why a container will not start; empty while it may."""
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        ended = (status.get("state") or {}).get("terminated") or {}
        reason = str(waiting.get("reason") or "")
        if re.search(r"Err|BackOff|Invalid", reason):
            return f"{reason}: {waiting.get('message', '')}"
        if ended and ended.get("exitCode") != 0:
            return f"{ended.get('reason')}: {ended.get('message') or 'exit code ' + str(ended.get('exitCode'))}"
    return ""


def _check_refusal(api: Api, namespace: str, job: str) -> None:
    """The Job is accepted where its pod is not: the Job controller says so in an event."""
    selector = f"involvedObject.kind=Job,involvedObject.name={job},reason=FailedCreate"
    try:
        events = api.get(f"/api/v1/namespaces/{namespace}/events", [("fieldSelector", selector)], "list events")
    except MeshctlError:
        return
    for event in events.get("items") or ():
        raise NoAccess(
            f"an admission policy refuses the debug pod: {event.get('message')}",
            hint="use a namespace that allows privileged pods: --debug-namespace NS, or --via ephemeral",
        )


def remove_abandoned(api: Api, namespace: str) -> None:
    """Remove what a run of the same user on this host left behind when it was killed."""
    try:
        for job in made.jobs(api, namespace):
            if made.is_abandoned(job):
                made.delete_job(api, namespace, str(job["metadata"]["name"]))
    except MeshctlError:
        return
