"""What a pod's rules make of a connection: who takes it, or how it ends, and which lines say so."""

from dataclasses import replace
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.verdict import Step, Walk
from meshctl.path.model import End, Evidence, Hop
from meshctl.path.netns import is_loopback, loopback
from meshctl.path.scene import Station
from meshctl.words import show_address


@dataclass(frozen=True, slots=True)
class Passage:
    """What the rules make of a connection: ``proxy`` and ``ztunnel`` take it at `port`, ``straight`` goes on as it is.

    `refused`: dropped with an answer to the sender (REJECT), not silently. `to`: where the rules send it instead of the
    address that it was sent to (DNAT). `transparent`: TPROXY hands it over, so that no address is translated.
    """

    kind: Literal["proxy", "ztunnel", "straight", "dropped", "undecided"]
    hop: Hop
    port: int | None = None
    why: str = ""
    refused: bool = False
    to: tuple[str, int] | None = None
    transparent: bool = False


def drop(passage: Passage) -> End:
    """How a connection ends that the rules drop."""
    broken: Literal["refused", "timeout"] = "refused" if passage.refused else "timeout"
    return End("nobody", delivered=False, mtls=None, broken=broken, why=passage.why, cause="rules")


def straight(station: Station, why: str) -> Passage:
    """A passage past no rules at all."""
    hop = Hop("rules", "callee", station.key, "the pod's rules", why, (), ())
    return Passage("straight", hop, None, why)


def is_own(station: Station, address: str) -> bool:
    """Whether an address is the pod's own, which its packets reach on lo."""
    return is_loopback(address) or address in (*station.pod.ips, station.pod.ip)


def without_rules(station: Station, where: Literal["caller", "callee"]) -> Passage:
    """The passage of a pod whose rules are not known."""
    title = "outbound rules" if where == "caller" else "inbound rules"
    if not station.has_proxy and station.mode != "ambient":
        why = "the pod is not in the mesh, so no rules take its connections"
        gap = station.gaps.get("netns/iptables-save.txt", "")
        facts = (f"assumed: {gap}",) if gap else ()
        return Passage("straight", Hop("rules", where, station.key, title, why, facts), None, why)
    if station.mode == "gateway":
        why = "a gateway has no rules: its proxy listens on the ports themselves"
        return Passage("straight", Hop("rules", where, station.key, title, why), None, why)
    why = station.gaps.get("netns/iptables-save.txt") or "the pod's rules were not recorded"
    return Passage(
        "undecided", Hop("rules", where, station.key, title, f"cannot be told: {why}", (), (), "warn"), None, why
    )


def read(
    station: Station, walk: Walk, where: Literal["caller", "callee"], title: str, facts: tuple[str, ...]
) -> Passage:
    """What a walk through a pod's rules means for the connection."""
    if station.rules_from == "assumed":
        facts = (*facts, "assumed from the pod's arguments: the rules themselves were not seen")
    proof = proof_of(walk)

    def passage(
        kind: Literal["proxy", "ztunnel", "straight", "dropped", "undecided"],
        said: str,
        mood: Literal["plain", "good", "bad", "warn"] = "plain",
        port: int | None = None,
    ) -> Passage:
        arrow = f"to port {port}" if port else ""
        hop = Hop("rules", where, station.key, title, said, facts, proof, mood, arrow)
        return Passage(kind, hop, port, said, bool(walk.rejected), None, walk.verdict == "tproxied")

    if walk.verdict == "accepted" and walk.packet.proto == "tcp" and untracks(walk) is not False:
        return passage("undecided", f"cannot be told: {UNTRACKED}", "warn")
    match walk.verdict:
        case "redirected" | "tproxied":
            how = "redirected" if walk.verdict == "redirected" else "handed (TPROXY)"
            if (other := _other_program(station, walk.redirect_port)) and walk.verdict == "redirected":
                asked = "::" if walk.packet.version == 6 else "0.0.0.0"
                local = loopback(asked) if where == "caller" else station.own_ip(asked)
                said = f"redirected to port {walk.redirect_port}, where {other} listens, not the proxy"
                return replace(passage("straight", said), to=(local, walk.redirect_port or 0))
            if station.mode == "ambient":
                return passage(
                    "ztunnel",
                    f"{how} to port {walk.redirect_port}: ztunnel's socket in the pod",
                    "plain",
                    walk.redirect_port,
                )
            return passage("proxy", f"{how} to the proxy, port {walk.redirect_port}", "plain", walk.redirect_port)
        case "dropped":
            if walk.rejected is None:
                return passage("undecided", f"cannot be told: {UNHEARD} ({stopped(walk)})", "warn")
            return passage("dropped", stopped(walk), "bad")
        case "undecided":
            return passage("undecided", f"cannot be told: {walk.undecided_because}", "warn")
        case "accepted":
            moved = _moved(walk)
            if moved is None:
                return passage("straight", _accepted(station, walk))
            if moved == ("", 0):
                return passage("undecided", f"cannot be told: {_where_to(walk)}", "warn")
            address, port = moved
            said = f"sent to {show_address(address, port)} instead, by {_by(walk)}"
            if port in PROXY_PORTS and is_own(station, address) and (station.has_proxy or station.mode == "ambient"):
                return passage("ztunnel" if station.mode == "ambient" else "proxy", said, "plain", port)
            return replace(passage("straight", said), to=moved)


PROXY_PORTS = (15001, 15006)
"""Where proxies take what the rules send them; a DNAT to one of them is as good as a REDIRECT."""


def _other_program(station: Station, port: int | None) -> str:
    """The program on a port which the rules redirect to, where it is none of the mesh's; empty where not known."""
    if port is None or port in PROXY_PORTS or station.sockets is None:
        return ""
    found = next((s.program for s in station.sockets if s.proto == "tcp" and s.port == port), "")
    return "" if found in ("envoy", "ztunnel", "pilot-agent") else found


def _moved(walk: Walk) -> tuple[str, int] | None:
    """Where the packet was sent instead; None where it stayed on its way, an empty address where chance decides."""
    sent, arrived = walk.packet, walk.arrival
    if arrived is None or (arrived.dst, arrived.dport) == (sent.dst, sent.dport):
        return None
    if arrived.dst is None or arrived.dport is None:
        return "", 0
    return address_text(sent.version, arrived.dst), arrived.dport


def _where_to(walk: Walk) -> str:
    return next((n for n in walk.notes if "destination" in n), "where the rules send it is left open")


def _by(walk: Walk) -> str:
    """The rule that gave the packet another destination."""
    changing = [s for s in deciding(walk) if any(c.field in ("dst", "dport") for c in s.changes)]
    return f"{changing[-1].chain} rule {changing[-1].rule}" if changing else "the rules"


def _accepted(station: Station, walk: Walk) -> str:
    deciding = [s for s in walk.steps if s.matched and s.table == "nat" and s.rule is not None]
    if not any(ruleset.tables and not ruleset.empty for ruleset in station.rulesets):
        return "no rules: the connection goes on as it is"
    if deciding:
        last = deciding[-1]
        return f"not taken: {last.chain} rule {last.rule} lets it pass ({last.why})"
    return "not taken: no rule is about it"


def deciding(walk: Walk) -> list[Step]:
    """The rules that matched, in order, without those that every packet meets on the way out."""
    return [step for step in walk.steps if step.matched and step.rule is not None]


def evidence_of(step: Step) -> Evidence:
    """The line of a rule that was met."""
    source, _, line = step.origin.rpartition(":")
    text = step.text or f"{step.chain}: {step.action}"
    if line.isdecimal() and source:
        return Evidence(source, f"line {line}", text)
    return Evidence(step.origin, "", text)


def proof_of(walk: Walk) -> tuple[Evidence, ...]:
    """The lines of the rules that decided a walk, and of the policy that ended it."""
    last = [step for step in walk.steps[-1:] if step.rule is None and step.action == "policy drop"]
    return tuple(evidence_of(step) for step in (*deciding(walk), *last))


def stopped(walk: Walk) -> str:
    """How the rules end a packet, and which: ``rejected by filter/OUTPUT rule 1``."""
    return f"{'rejected' if walk.rejected else 'dropped'} by {walk.dropped_by}"


UNTRACKED = "the rules exempt it from connection tracking, or may, and without that nothing is translated"


def resets(walk: Walk) -> bool:
    """Whether the REJECT that ends a packet answers with a TCP reset, not with an ICMP error."""
    return bool(walk.rejected) and "reset" in deciding(walk)[-1].action


def untracks(walk: Walk) -> bool | None:
    """Whether a rule exempts the packet from connection tracking; None: it may."""
    if any(change.field == "tracked" for step in walk.steps for change in step.changes):
        return True
    return None if any(step.matched is None and "notrack" in step.text.lower() for step in walk.steps) else False


UNHEARD = "it depends on what is open whether the sender hears that the packet is dropped"
