"""The cluster's domain as the mesh has it, in which the names of Services end."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshctl.kube.fields import Fields
from meshctl.kube.names import USUAL_DOMAIN


def of_pods(raw_pods: Iterable[Mapping[str, Any]]) -> str:
    """What istiod and the proxies are told with ``--domain``; the usual one where no pod of theirs is among these.

    Source: ``discovery --domain DOMAIN`` and ``proxy ROLE --domain NAMESPACE.svc.DOMAIN`` in Istio's charts and
    injection templates (``global.proxy.clusterDomain``), 1.12 to 1.30.
    """
    return next((domain for raw in raw_pods for domain in _told(raw)), USUAL_DOMAIN)


def _told(raw: Mapping[str, Any]) -> Iterator[str]:
    spec = Fields(raw, "", []).below("spec")
    for key in ("containers", "initContainers"):
        for container in spec.each(key):
            words = container.texts("args")
            if words[:1] in (("proxy",), ("discovery",)):
                yield from _domains(words)


def _domains(words: tuple[str, ...]) -> Iterator[str]:
    for number, word in enumerate(words):
        flag, _, value = word.partition("=")
        value = value or next(iter(words[number + 1 : number + 2]), "")
        if flag == "--domain" and (domain := value.rpartition(".svc.")[2]):
            yield domain
