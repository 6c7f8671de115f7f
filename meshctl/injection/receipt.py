"""The injector's receipt: the annotation ``sidecar.istio.io/status``, JSON with the names of what it added.

Keys since 1.11: initContainers, containers, volumes, imagePullSecrets, revision; before, ``version`` (a hash of the
template) instead of ``revision``. With a native sidecar ``containers`` is null.
"""

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.pods import Pod

KEY = "sidecar.istio.io/status"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the receipt names; `problem` says why it could not be read (then the names are empty), `raw` is its text."""

    init_containers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    revision: str = ""
    problem: str = ""
    raw: str = ""


def read(pod: Pod) -> Receipt | None:
    """The pod's receipt; None where it has none (it was not injected by the webhook)."""
    text = pod.annotations.get(KEY)
    if text is None:
        return None
    try:
        document = json_text.loads(text)
    except ValueError as error:
        return Receipt(problem=f"the annotation {KEY} is not valid JSON: {error}", raw=text)
    if not isinstance(document, dict):
        return Receipt(problem=f"the annotation {KEY} is not a JSON object", raw=text)
    flaws: list[Flaw] = []
    fields = Fields(document, KEY, flaws)
    receipt = Receipt(
        init_containers=fields.texts("initContainers"),
        containers=fields.texts("containers"),
        volumes=fields.texts("volumes"),
        image_pull_secrets=fields.texts("imagePullSecrets"),
        revision=fields.text("revision"),
        raw=text,
    )
    if not flaws:
        return receipt
    return Receipt(problem="; ".join(f"{f.path} {f.problem}" for f in flaws), raw=text, revision=receipt.revision)
