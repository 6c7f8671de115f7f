"""Walks a packet through a ruleset as the kernel does, and says of every rule whether it matched and why.

Theory of operation. A packet that this machine sends meets OUTPUT, is routed, meets POSTROUTING, and where it goes to
this machine itself comes in again on lo; one from outside begins at PREROUTING, is routed, and meets INPUT or FORWARD
and POSTROUTING. At each hook the base chains run by priority (`meshctl.netfilter.hooks`). nat chains see only packets
that begin a connection, each direction of translation once: what OUTPUT has settled, PREROUTING on lo is not asked.
A mark or address that the mangle OUTPUT chain changes, and a destination that nat OUTPUT changes, route anew
(ip_route_me_harder); the interface that the OUTPUT chains see stays the first one.

What rules and input leave open is asked of an `Oracle`. The walk is repeated for every combination of answers: where
all end alike the verdict stands, else it is ``undecided`` and names the first question that matters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.chain_run import ChainRun, Run, Stop
from meshctl.netfilter.course import Course
from meshctl.netfilter.flight import Flight, Oracle, take_off, tracking_state
from meshctl.netfilter.hooks import Plan, plan
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Network, address_kind
from meshctl.netfilter.verdict import Arrival, Outcome, Verdict, Walk

MAX_RUNS = 256


@dataclass(frozen=True, slots=True)
class Walker:
    """Rulesets made ready for many packets; build it with `walker`. `replies`: they answer the first packet."""

    plans: Mapping[int, Plan]
    network: Network
    notes: tuple[str, ...] = ()
    replies: bool = False

    def walk(self, packet: Packet) -> Walk:
        """Walk one packet."""
        return _explore(self, packet)

    def with_plans(self, change: Callable[[Plan], Plan], *, replies: bool = False) -> "Walker":
        """The same rules with other plans."""
        return Walker(_Plans(lambda version: change(self.plans[version])), self.network, self.notes, replies)


def walker(rulesets: Sequence[Ruleset], network: Network) -> Walker:
    """Prepare merged rulesets (see `meshctl.netfilter.merge`) of one network namespace."""
    notes = tuple(remark for ruleset in rulesets for remark in ruleset.remarks)
    return Walker(_Plans(lambda version: plan(rulesets, version)), network, notes)


class _Plans(dict[int, Plan]):
    """The plans by IP version, each made when a packet first asks for it."""

    def __init__(self, make: Callable[[int], Plan]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, version: int) -> Plan:
        made = self[version] = self._make(version)
        return made


def walk(rulesets: Sequence[Ruleset], packet: Packet, network: Network) -> Walk:
    """Walk one packet through the rulesets."""
    return walker(rulesets, network).walk(packet)


def _explore(ready: Walker, packet: Packet) -> Walk:
    """Try every combination of answers that the walk asks for, until two ends differ."""
    first = _run(ready, packet, ())
    if first.stopped:
        return _undecided(packet, first, first.stopped)
    runs = 1
    pending = [(False,) * at + (True,) for at in range(len(first.questions))]
    questions = list(first.questions)
    ends = {first.goal: None}
    rejected = {first.rejected}
    while pending:
        script = pending.pop()
        runs += 1
        if runs > MAX_RUNS:
            return _undecided(packet, first, f"too many open questions: {'; '.join(questions[:3])}")
        other = _run(ready, packet, script)
        if other.fate != first.fate:
            return _undecided(packet, first, other.questions[script.index(True)])
        ends[other.goal] = None
        rejected.add(other.rejected)
        extra = range(len(script), len(other.questions))
        pending += [(*script, *(False,) * (at - len(script)), True) for at in extra]
    return Walk(
        packet,
        tuple(first.steps),
        first.verdict,
        first.port,
        None,
        first.arrival if len(ends) == 1 or first.arrival is None else replace(first.arrival, dst=None, dport=None),
        first.dropped_by,
        (*ready.notes, *_never_sent(packet, ready.network), *dict.fromkeys(first.notes), *_one_of(packet, ends)),
        first.rejected if len(rejected) == 1 else None,
    )


def _never_sent(packet: Packet, network: Network) -> tuple[str, ...]:
    """That no program can send such a packet, or none gets it: what the rules do with it is then beside the point."""
    if packet.proto != "tcp" or tracking_state(packet) != "NEW":
        return ()
    to = address_text(packet.version, packet.dst)
    if address_kind(network, packet.version, packet.dst) not in ("multicast", "broadcast"):
        return ()
    if packet.direction == "outbound":
        fails = "a program that connects there gets ENETUNREACH before a packet is made"
        return (f"{to} is a multicast or broadcast address, and TCP knows none: {fails}",)
    return (f"{to} is a multicast or broadcast address, and TCP knows none: no listener gets the packet",)


def _one_of(packet: Packet, ends: Iterable[tuple[int | None, int | None]]) -> tuple[str, ...]:
    """The destinations that chance, or what is not known, leaves open."""
    known = [f"{address_text(packet.version, dst)} port {port}" for dst, port in ends if dst is not None]
    return (f"the destination is one of: {', '.join(known)}",) if len(known) > 1 else ()


def _undecided(packet: Packet, run: Run, because: str) -> Walk:
    return Walk(packet, tuple(run.steps), "undecided", None, because, run.arrival, "", tuple(dict.fromkeys(run.notes)))


def _run(ready: Walker, packet: Packet, script: tuple[bool, ...]) -> Run:
    oracle = Oracle(script)
    run = Run()
    flight = take_off(packet, ready.network, oracle)
    course = _course(ready, flight, run)
    if tracking_state(packet) == "ESTABLISHED" and not ready.replies:
        course.settled = _first_packet(ready, packet, script)
    try:
        outcome = course.fly()
        run.verdict, run.port = _verdict(flight, outcome)
    except Stop as stop:
        run.verdict, run.stopped = "undecided", str(stop)
    run.arrival = Arrival(flight.hook, flight.in_interface, flight.out_interface, *flight.tuple, flight.mark)
    run.questions = tuple(oracle.asked)
    return run


def _first_packet(ready: Walker, packet: Packet, script: tuple[bool, ...]) -> Flight:
    """The packet that began the connection, walked to its end: its translations hold for the later ones."""
    begun = replace(packet, ctstate="new", flags=("SYN",) if packet.proto == "tcp" else packet.flags)
    flight = take_off(begun, ready.network, Oracle(script))
    _course(ready, flight, Run()).fly()
    return flight


def _verdict(flight: Flight, outcome: Outcome) -> tuple[Verdict, int | None]:
    if outcome == "drop":
        return "dropped", None
    if flight.tproxied:
        return "tproxied", flight.tproxy
    return ("redirected", flight.dport) if flight.redirected else ("accepted", None)


def _course(ready: Walker, flight: Flight, run: Run) -> Course:
    return Course(ready.plans[flight.version], flight, run, ChainRun(flight, run))
