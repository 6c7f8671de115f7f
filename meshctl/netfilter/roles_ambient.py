"""The roles of the rules that istio-cni's agent writes for ambient, in the pod and on the node, told by their shape."""

from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.facts import Facts
from meshctl.netfilter.model import Rule
from meshctl.netfilter.targets import (
    Accept,
    Jump,
    Redirect,
    Return,
    SetConnmark,
    Snat,
    Tproxy,
    local_port,
)


def in_mangle(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    """ISTIO_PRERT in mangle: a mark to keep; up to 1.24 also the capture itself, with TPROXY."""
    match rule.target:
        case SetConnmark() if asked.mark:
            return "ambient-keep-mark", ""
        case Tproxy():
            return ("ambient-tunnel" if asked.to_ports else "ambient-inbound"), local_port(rule.target)
        case Return() | Accept() if asked.source and not asked.source.negated:
            return "ambient-probe", str(asked.source.network).partition("/")[0]
        case Return() | Accept() if asked.in_interface and asked.in_interface.name == "lo":
            return "ambient-lo", ""
        case Return() | Accept() if asked.state:
            return "ambient-known", ""
        case _:
            return None


def on_node(rule: Rule, table: str, chain: str, asked: Facts) -> tuple[str, str] | None:
    """The node's own rules: probes of the pods in istio-cni's set get an address that the pods know."""
    if rule.target == Jump("ISTIO_POSTRT") and chain == "POSTROUTING" and asked.only_protocol:
        return "ambient-node-jump", ""
    ours = chain == "ISTIO_POSTRT" or (table == "istio-ambient-nat" and chain == "postrouting")
    if ours and isinstance(rule.target, Snat) and rule.target.low is not None:
        return "ambient-node-probe", address_text(rule.target.version, rule.target.low)
    return None


def in_prerouting(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    """ISTIO_PRERT in nat: the probes' exemption, the capture of what comes in."""
    match rule.target:
        case Accept() if asked.source and not asked.source.negated:
            return "ambient-probe", str(asked.source.network).partition("/")[0]
        case Redirect() if asked.in_interface:
            return "ambient-reroute", asked.in_interface.name
        case Return() if asked.in_interface:
            return "ambient-reroute-return", asked.in_interface.name
        case Redirect() if asked.mark:
            return "ambient-inbound", local_port(rule.target)
        case _:
            return None


def in_output(rule: Rule, asked: Facts) -> tuple[str, str] | None:
    """ISTIO_OUTPUT in nat: the exemptions, DNS, the capture of what goes out."""
    match rule.target:
        case Accept() if asked.destination and not asked.destination.negated:
            return "ambient-probe", asked.range.partition("/")[0]
        case Accept() if asked.mark and not asked.mark.negated:
            return "ambient-return", ""
        case Accept() if asked.on_lo and asked.destination:
            return "ambient-lo", ""
        case Redirect() if asked.port == "53" and (asked.mark or asked.out_interface):
            return "ambient-dns", local_port(rule.target)
        case Redirect() if asked.mark and asked.to_ports is None:
            return "ambient-outbound", local_port(rule.target)
        case _:
            return None
