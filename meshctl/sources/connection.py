"""How to reach a live cluster: what the options say, nothing opened yet."""

from meshctl.errors import BadInput
from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Connection:
    """A kubeconfig's context and how to go through it; None means the kubeconfig's own choice.

    `istio_namespace` is the control plane's where the user names it.
    `via` says how the rules of a remote pod may be read: ``auto`` adds nothing to the cluster.
    """

    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    as_user: str | None = None
    as_groups: tuple[str, ...] = ()
    timeout_s: float = 15.0
    via: str = "auto"
    debug_image: str | None = None
    debug_namespace: str | None = None
    assume_yes: bool = False
    verbose: bool = False
    istio_namespace: str = ""


VIA = ("auto", "node", "debug-pod", "ephemeral")
"""The ways to a remote pod's rules."""


def demand_way(via: str) -> None:
    """Raise BadInput for a way that there is not."""
    if via not in VIA:
        raise BadInput(f"there is no way '{via}'", hint=f"--via takes one of {', '.join(VIA)}")
