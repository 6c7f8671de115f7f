"""The names that Istio gives its chains and native tables, and how the same chain is called in iptables."""

_CHAINS = {
    "istio-inbound": "ISTIO_INBOUND",
    "istio-output": "ISTIO_OUTPUT",
    "istio-output-dns": "ISTIO_OUTPUT_DNS",
    "istio-redirect": "ISTIO_REDIRECT",
    "istio-in-redirect": "ISTIO_IN_REDIRECT",
    "istio-divert": "ISTIO_DIVERT",
    "istio-tproxy": "ISTIO_TPROXY",
    "istio-drop": "ISTIO_DROP",
    "istio-prerouting": "ISTIO_PRERT",
    "prerouting": "PREROUTING",
    "output": "OUTPUT",
}


def istio_chain(name: str) -> bool:
    """Whether Istio gives its chains such names."""
    return name.startswith(("ISTIO_", "istio-"))


def istio_table(name: str) -> bool:
    """Whether Istio gives its native tables such names."""
    return name.startswith(("istio-proxy-", "istio-ambient-"))


def plain_table(name: str) -> str:
    """``nat`` for ``istio-proxy-nat``; other names as they are."""
    return name.rpartition("-")[2] if istio_table(name) else name


def plain_chain(name: str) -> str:
    """iptables' name for one of Istio's native chains; other names as they are."""
    return _CHAINS.get(name, name)
