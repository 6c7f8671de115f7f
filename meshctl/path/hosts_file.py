"""What the kubelet writes into a pod's ``/etc/hosts``, which is asked before any nameserver.

Source: ``pkg/kubelet/kubelet_pods.go`` (ensureHostsFile, hostsEntriesFromHostAliases) and ``pkg/kubelet/util`` of
Kubernetes 1.34.
"""

from collections.abc import Mapping

from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.pods import Pod

_LONGEST = 63
"""Of a pod's name no more becomes its host name (``truncatePodHostnameIfNeeded``)."""


def of(pod: Pod, search: tuple[str, ...], usual: str) -> Mapping[str, tuple[str, ...]]:
    """The addresses of each name: the pod's own (not on the node's network), then those of its hostAliases.

    `usual` is the cluster's domain, where the search list has none.
    """
    flaws: list[Flaw] = []
    spec = Fields(pod.raw, "", flaws).below("spec")
    found: dict[str, tuple[str, ...]] = {}

    def add(name: str, address: str) -> None:
        if name and address:
            found[name.lower()] = (*found.get(name.lower(), ()), address)

    if not pod.host_network:
        host = (spec.text("hostname") or pod.name)[:_LONGEST].rstrip("-.")
        domain = next((s for s in search if s.startswith(f"{pod.namespace}.svc.")), f"{pod.namespace}.svc.{usual}")
        for address in dict.fromkeys((*pod.ips, pod.ip)):
            add(host, address)
            if spec.text("subdomain"):
                add(f"{host}.{spec.text('subdomain')}.{domain}", address)
    for alias in spec.each("hostAliases"):
        for name in alias.texts("hostnames"):
            add(name, alias.text("ip"))
    return found
