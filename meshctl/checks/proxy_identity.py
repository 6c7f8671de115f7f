"""Which containers run as the proxy's user or group: Istio's rules let through what these send.

The rules ask for the uid or the primary gid of the sender's socket (``-m owner --uid-owner``, ``--gid-owner``, ``-u``
and ``-g`` of istio-init); supplementary groups and ``fsGroup`` do not count.
"""

from meshctl.frozen import dataclass
from meshctl.kube.containers import Container
from meshctl.kube.pods import Pod
from meshctl.netfilter.capture import Capture


@dataclass(frozen=True, slots=True)
class Shared:
    """What a container has in common with the proxy: `what` is ``user`` or ``group``, `where` says what tells so."""

    what: str
    number: int
    where: str


def shared_with_proxy(container: Container, pod: Pod, capture: Capture) -> Shared | None:
    """The proxy's user or group as which a container runs; None where it runs as neither, or where that is not said.

    What the kubelet started it as (Kubernetes 1.31 and newer tell) counts more than what the manifest asks for; an
    image's own user is in neither.
    """
    started = container.status.user if container.status is not None else None
    path, own, general = container.origin.path, container.security, pod.security
    for at, (what, key, ids, asked, of_pod) in enumerate(
        (
            ("user", "runAsUser", capture.proxy_uids, own.user, general.user),
            ("group", "runAsGroup", capture.proxy_gids, own.group, general.group),
        )
    ):
        number = asked if asked is not None else of_pod
        where = f"{path}.securityContext.{key}" if asked is not None else f"spec.securityContext.{key}"
        if started is not None and number != started[at]:
            number, where = started[at], f"status of container {container.name}: user.linux"
        if number is not None and str(number) in _numbers(ids):
            return Shared(what, number, where)
    return None


def proxy_user(capture: Capture) -> str:
    """The first user whose connections are let through."""
    return next(iter(_numbers(capture.proxy_uids)), "1337")


def _numbers(ids: str) -> tuple[str, ...]:
    return tuple(part for part in (p.strip() for p in ids.split(",")) if part.isdigit())
