"""Which other tool writes into a namespace, by the names of its chains, tables and comments."""

from meshctl.netfilter.model import Rule
from meshctl.netfilter.targets import (
    Jump,
)

_FOREIGN_CHAINS = (
    ("KUBE-", "kube-proxy or kubelet"),
    ("CILIUM_", "Cilium"),
    ("OLD_CILIUM_", "Cilium"),
    ("cali-", "Calico"),
    ("cali:", "Calico"),
    ("CNI-", "a CNI plugin (portmap or bandwidth)"),
    ("CNI_", "a CNI plugin"),
    ("DOCKER", "Docker"),
    ("FLANNEL-", "flannel"),
    ("WEAVE", "Weave Net"),
    ("ANTREA-", "Antrea"),
    ("AWS-", "the AWS VPC CNI"),
    ("KIND-MASQ", "kindnet"),
    ("IP-MASQ", "ip-masq-agent"),
    ("PROXY_INIT_", "Linkerd"),
    ("CONSUL_", "Consul"),
    ("NETAVARK", "Podman"),
    ("LIBVIRT_", "libvirt"),
    ("f2b-", "fail2ban"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("ts-", "Tailscale"),
    ("TELEPRESENCE", "Telepresence"),
    ("MIRRORD", "mirrord"),
    ("AMAZON-", "the AWS VPC CNI"),
    ("NOMAD-", "Nomad"),
)

_FOREIGN_COMMENTS = (
    ("kubernetes ", "kube-proxy or kubelet"),
    ("cali:", "Calico"),
    ("cilium", "Cilium"),
    ("cilium-feeder", "Cilium"),
    ("flanneld", "flannel"),
    ("proxy-init/", "Linkerd"),
    ("CNI portfwd", "the CNI plugin portmap"),
    ("AWS", "the AWS VPC CNI"),
)


def foreign_owner(rule: Rule, table: str, chain: str) -> str:
    """Which other tool a rule is from, by the names of its chains, its table and its comment; empty if not told."""
    names = [chain, table]
    if isinstance(rule.target, Jump):
        names.append(rule.target.chain)
    for name in names:
        for start, owner in _FOREIGN_CHAINS:
            if name.startswith(start):
                return owner
    return next((owner for start, owner in _FOREIGN_COMMENTS if rule.comment.startswith(start)), "")
