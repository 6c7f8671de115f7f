"""Annotations for which the API server refuses a pod: what is mended by making the pod again has to wait."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.injection import annotations, proxy_config
from meshctl.injection.annotations import Slip


def told(it: Evidence, slip: Slip) -> str:
    """What is wrong with an annotation and what comes of it; without an injector nothing reads annotations."""
    if not slip.rejects:
        return slip.text
    if it.description.decision.outcome == "not injected":
        return f"{slip.text}: once the pod is to be injected, the API server rejects it"
    return f"{slip.text}: the API server rejects such a pod"


def rejected(it: Evidence) -> bool:
    """Whether a pod that is made again would be refused for its annotations."""
    if it.description.decision.outcome == "not injected":
        return False
    return bool(it.description.overlay.problem) or any(slip.rejects for slip in _slips(it))


def _slips(it: Evidence) -> Iterator[Slip]:
    written = it.description.annotations
    yield from annotations.ranges(written)
    yield from annotations.values(written)
    yield from proxy_config.slips(written)


def restart(it: Evidence, advice: str) -> str:
    """The advice to make a pod again, with what must come first where it would be refused."""
    if not rejected(it):
        return advice
    return f"first correct the annotations for which the API server rejects the new pod, then {advice}"
