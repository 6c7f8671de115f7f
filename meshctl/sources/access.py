"""May this user do that? Asked with SelfSubjectAccessReview, which changes nothing, before anything is created."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from meshctl.errors import MeshctlError, NoAccess
from meshctl.frozen import dataclass
from meshctl.sources.kube_client import Api

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource (``pods``, ``pods/exec``); `namespace` empty means all of them."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        of_group = f".{self.group}" if self.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else " in all namespaces"
        return f"{self.verb} {self.resource}{of_group}{where}"


def allowed(api: Api, right: Right) -> bool | None:
    """Whether the user has a right; None where the API server does not say."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = api.create(_REVIEWS, review, "ask what is allowed")
    except NoAccess:
        raise
    except MeshctlError:
        return None
    return bool((answer.get("status") or {}).get("allowed"))


def missing(api: Api, rights: Sequence[Right]) -> tuple[Right, ...]:
    """Those rights that the user lacks, asked side by side."""
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda right: allowed(api, right), rights))
    return tuple(right for right, answer in zip(rights, answers, strict=True) if answer is False)


def require(api: Api, rights: Sequence[Right], purpose: str) -> None:
    """Raise NoAccess with what is missing and the Role that grants it."""
    lacking = missing(api, rights)
    if lacking:
        raise NoAccess(
            f"{purpose} needs rights that you do not have: {'; '.join(map(str, lacking))}",
            hint=f"have this applied and bound to you:\n{role(rights)}",
        )


def role(rights: Sequence[Right]) -> str:
    """A Role (one a namespace) that grants the rights, as YAML."""
    texts = []
    for namespace in dict.fromkeys(right.namespace for right in rights):
        kind = "Role" if namespace else "ClusterRole"
        scope = f", namespace: {namespace}" if namespace else ""
        lines = [
            "apiVersion: rbac.authorization.k8s.io/v1",
            f"kind: {kind}",
            f"metadata: {{name: meshctl-debug{scope}}}",
            "rules:",
        ]
        groups: dict[tuple[str, str], list[str]] = {}
        for right in rights:
            if right.namespace == namespace:
                groups.setdefault((right.group, right.resource), []).append(right.verb)
        for (group, resource), verbs in groups.items():
            words = ", ".join(f'"{verb}"' for verb in verbs)
            lines.append(f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{words}]}}')
        texts.append("\n".join(lines))
    return "\n---\n".join(texts)
