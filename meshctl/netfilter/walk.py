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

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import iptables_text, nft_text
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.conditions import actual, holds, stable
from meshctl.netfilter.effects import Change, apply
from meshctl.netfilter.flight import Connection, Flight, Oracle, take_off, tracking_state
from meshctl.netfilter.hooks import BaseChain, Plan, Station, plan
from meshctl.netfilter.matches import Match, Opaque
from meshctl.netfilter.model import NFT_FAMILIES, Rule, Ruleset
from meshctl.netfilter.nft_lookups import element_holds, missing
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Network, Way, address_kind, lookup
from meshctl.netfilter.targets import Accept, Drop, Goto, Jump, Queue, Reject, Return, Target, Tproxy, VerdictMap

Verdict: TypeAlias = Literal["accepted", "redirected", "dropped", "tproxied", "undecided"]
Outcome: TypeAlias = Literal["accept", "drop"]

MAX_RUNS = 256
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was looked at, or (rule None) how a base chain ended or why it was not asked.

    `matched` None: it cannot be told. `action` is what it does when it matches.
    """

    hook: str
    family: str
    table: str
    chain: str
    rule: int | None
    matched: bool | None
    why: str
    action: str
    changes: tuple[Change, ...] = ()
    text: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where the packet was last: delivered (INPUT), sent off (POSTROUTING), or gone (the hook that dropped it)."""

    hook: str
    in_interface: str
    out_interface: str
    src: int | None
    dst: int | None
    sport: int | None
    dport: int | None
    mark: int


@dataclass(frozen=True, slots=True)
class Walk:
    """The answer: `redirect_port` is the local port that gets a packet that is redirected or tproxied."""

    packet: Packet
    steps: tuple[Step, ...]
    verdict: Verdict
    redirect_port: int | None = None
    undecided_because: str | None = None
    arrival: Arrival | None = None
    dropped_by: str = ""
    notes: tuple[str, ...] = ()


class _Stop(Exception):
    """The run cannot go on: a program outside decides, or a target is not understood."""


@dataclass(frozen=True, slots=True)
class Walker:
    """Rulesets made ready for many packets; build it with `walker`."""

    plans: dict[int, Plan]
    network: Network
    notes: tuple[str, ...] = ()

    def walk(self, packet: Packet) -> Walk:
        """Walk one packet."""
        return _explore(self, packet)


def walker(rulesets: Sequence[Ruleset], network: Network) -> Walker:
    """Prepare merged rulesets (see `meshctl.netfilter.merge`) of one network namespace."""
    notes = tuple(remark for ruleset in rulesets for remark in ruleset.remarks)
    return Walker({4: plan(rulesets, 4), 6: plan(rulesets, 6)}, network, notes)


def walk(rulesets: Sequence[Ruleset], packet: Packet, network: Network) -> Walk:
    """Walk one packet through the rulesets."""
    return walker(rulesets, network).walk(packet)


# --- exploring ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """One walk under one script of answers."""

    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    questions: tuple[str, ...] = ()
    verdict: Verdict = "accepted"
    port: int | None = None
    stopped: str = ""
    dropped_by: str = ""
    arrival: Arrival | None = None

    @property
    def fate(self) -> tuple[Verdict, int | None, str]:
        return self.verdict, self.port, self.stopped

    @property
    def goal(self) -> tuple[int | None, int | None]:
        return (None, None) if self.arrival is None else (self.arrival.dst, self.arrival.dport)


def _explore(ready: Walker, packet: Packet) -> Walk:
    """Try every combination of answers that the walk asks for, until two ends differ."""
    first = _run(ready, packet, ())
    if first.stopped:
        return _undecided(packet, first, first.stopped)
    runs = 1
    pending = [(False,) * at + (True,) for at in range(len(first.questions))]
    questions = list(first.questions)
    ends = {first.goal: None}
    while pending:
        script = pending.pop()
        runs += 1
        if runs > MAX_RUNS:
            return _undecided(packet, first, f"too much is open: {'; '.join(questions[:3])}")
        other = _run(ready, packet, script)
        if other.fate != first.fate:
            return _undecided(packet, first, other.questions[script.index(True)])
        ends[other.goal] = None
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
        (*ready.notes, *dict.fromkeys(first.notes), *_one_of(packet, ends)),
    )


def _one_of(packet: Packet, ends: Iterable[tuple[int | None, int | None]]) -> tuple[str, ...]:
    """The destinations that chance, or what is not known, leaves open."""
    known = [f"{address_text(packet.version, dst)} port {port}" for dst, port in ends if dst is not None]
    return (f"the destination is one of: {', '.join(known)}",) if len(known) > 1 else ()


def _undecided(packet: Packet, run: _Run, because: str) -> Walk:
    return Walk(packet, tuple(run.steps), "undecided", None, because, run.arrival, "", tuple(dict.fromkeys(run.notes)))


def _run(ready: Walker, packet: Packet, script: tuple[bool, ...]) -> _Run:
    oracle = Oracle(script)
    run = _Run()
    flight = take_off(packet, ready.network, oracle)
    course = _Course(ready.plans[packet.version], flight, run)
    if tracking_state(packet) == "ESTABLISHED":
        course.settled = _first_packet(ready, packet, script)
    try:
        outcome = course.fly()
        run.verdict, run.port = _verdict(flight, outcome)
    except _Stop as stop:
        run.verdict, run.stopped = "undecided", str(stop)
    run.arrival = Arrival(flight.hook, flight.in_interface, flight.out_interface, *flight.tuple, flight.mark)
    run.questions = tuple(oracle.asked)
    return run


def _first_packet(ready: Walker, packet: Packet, script: tuple[bool, ...]) -> Flight:
    """The packet that began the connection, walked to its end: its translations hold for the later ones."""
    begun = replace(packet, ctstate="new", flags=("SYN",) if packet.proto == "tcp" else packet.flags)
    flight = take_off(begun, ready.network, Oracle(script))
    _Course(ready.plans[packet.version], flight, _Run()).fly()
    return flight


def _verdict(flight: Flight, outcome: Outcome) -> tuple[Verdict, int | None]:
    if outcome == "drop":
        return "dropped", None
    if flight.tproxied:
        return "tproxied", flight.tproxy
    return ("redirected", flight.dport) if flight.redirected else ("accepted", None)


# --- flying ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Course:
    """One packet's way through the hooks."""

    plan: Plan
    flight: Flight
    run: _Run
    settled: Flight | None = None

    def fly(self) -> Outcome:
        flight = self.flight
        if flight.packet.direction == "inbound":
            return self._come_in(flight.packet.in_interface or "eth0")
        return self._send()

    def _send(self) -> Outcome:
        flight = self.flight
        flight.sent_on = flight.packet.out_interface or self._first_way()
        if self._hook("OUTPUT", "", flight.sent_on) == "drop":
            return "drop"
        if self._hook("POSTROUTING", "", flight.sent_on) == "drop":
            return "drop"
        if flight.sent_on != "lo":
            return "accept"
        return self._come_in("lo")

    def _first_way(self) -> str:
        """The interface that routing chooses where the packet does not say it."""
        flight = self.flight
        way = self._lookup("lo")
        if way.kind in ("local", "broadcast") and flight.dst is not None and way.kind == "local":
            return "lo"
        return way.device or "eth0"

    def _lookup(self, in_interface: str) -> Way:
        flight = self.flight
        if flight.dst is None:
            return Way("local", "lo") if flight.here else Way("none")
        return lookup(
            flight.network, flight.version, flight.dst, source=flight.src, mark=flight.mark, in_interface=in_interface
        )

    def _come_in(self, interface: str) -> Outcome:
        flight = self.flight
        flight.socket = False
        if self._hook("PREROUTING", interface, "") == "drop":
            return "drop"
        if interface == "lo" and flight.packet.direction == "outbound":
            return self._hook("INPUT", "lo", "")
        way = self._arrive(interface)
        if way == "local":
            return self._hook("INPUT", interface, "")
        if way == "drop":
            return "drop"
        if self._hook("FORWARD", interface, way) == "drop":
            return "drop"
        self.run.notes.append("the packet is not for this namespace: it passes only where forwarding is on")
        return self._hook("POSTROUTING", interface, way)

    def _arrive(self, interface: str) -> str:
        """Route a packet from outside: ``local``, ``drop``, or the interface that it leaves by."""
        flight = self.flight
        loopback = flight.version == 4 and flight.dst is not None and flight.dst >> 24 == 127
        if loopback and interface != "lo":
            self.run.dropped_by = "routing: 127.0.0.0/8 does not come from outside (route_localnet is off by default)"
            self.run.notes.append("net.ipv4.conf.*.route_localnet is taken to be 0")
            return "drop"
        way = self._lookup(interface)
        if way.kind in ("local", "broadcast", "multicast"):
            return "local"
        if way.kind in ("blackhole", "unreachable", "prohibit"):
            self.run.dropped_by = f"routing: {way.kind} by ip rule or route"
            return "drop"
        if flight.tproxied:
            return self._tproxied_away(way)
        if way.kind == "unicast":
            return way.device
        return "eth0" if self._foreign(flight.dst) else "local"

    def _tproxied_away(self, way: Way) -> str:
        """A packet with a socket is not forwarded (ip_forward.c): TPROXY needs a local route for its mark."""
        question = "whether a rule and table route the TPROXY mark to this machine"
        flight = self.flight
        if way.unsure:
            question = way.unsure
        elif flight.network.complete or not any("ip rules" in one for one in flight.network.assumed):
            self.run.dropped_by = "routing: the packet has a transparent socket but is routed away from this machine"
            return "drop" if way.kind == "unicast" else self._local_or_drop("tproxy route", question)
        return self._local_or_drop("tproxy route", question)

    def _local_or_drop(self, key: str, question: str) -> str:
        return "local" if self.flight.oracle.choose(key, question) else "drop"

    def _foreign(self, number: int | None) -> bool:
        """No route says whose the address is: a packet that came in is likeliest for this machine."""
        flight = self.flight
        return flight.oracle.choose(("own", number), f"whether {flight.show(number)} is an address of this machine")

    # --- one hook

    def _hook(self, hook: str, in_interface: str, out_interface: str) -> Outcome:
        flight = self.flight
        flight.hook, flight.in_interface, flight.out_interface = hook, in_interface, out_interface
        for station in self._ordered(hook):
            if self._station(station) == "drop":
                return "drop"
        if hook in ("INPUT", "POSTROUTING") and flight.connection is not None:
            flight.connection.confirmed = True
        return "accept"

    def _ordered(self, hook: str) -> Sequence[Station]:
        stations = self.plan.stations[hook]
        doubtful = [station for station in stations if station.doubtful and station.kind == "chain"]
        if not doubtful:
            return stations
        priority = doubtful[0].priority
        question = f"which chain of priority {priority} at {hook} comes first"
        if not self.flight.oracle.choose(("order", hook, priority), question):
            return stations
        back = list(stations)
        back.reverse()
        back.sort(key=lambda station: (station.priority, station.kind != "conntrack"))
        return back

    def _station(self, station: Station) -> Outcome:
        match station.kind:
            case "conntrack":
                self._track()
                return "accept"
            case "nat":
                return self._nat(station)
            case _:
                return self._filter(station.chains[0])

    def _filter(self, base: BaseChain) -> Outcome:
        flight = self.flight
        before = (flight.src, flight.dst, flight.mark)
        outcome = self._base(base)
        changed = (flight.src, flight.dst, flight.mark) != before
        if outcome == "accept" and changed and flight.hook == "OUTPUT" and base.chain.type == "route":
            return self._route_anew(f"{base.table.name}/{base.chain.name}")
        return outcome

    def _route_anew(self, place: str) -> Outcome:
        """ip_route_me_harder: the destination, mark or source changed in OUTPUT."""
        flight = self.flight
        way = self._lookup("lo")
        if way.unsure:
            flight.oracle.choose(("route", way.unsure), way.unsure)
            return "accept"
        if way.kind in ("blackhole", "unreachable", "prohibit"):
            self.run.dropped_by = f"routing after {place}: {way.kind}"
            return "drop"
        device = "lo" if way.kind == "local" else way.device
        if way.kind == "none":
            own = flight.dst is not None and self._is_known_local(flight.dst)
            device = "lo" if own else flight.sent_on if flight.sent_on != "lo" else "eth0"
        loopback = flight.version == 4 and flight.src is not None and flight.src >> 24 == 127
        if loopback and device != "lo":
            self.run.dropped_by = f"routing after {place}: a source in 127.0.0.0/8 does not leave the machine"
            self.run.notes.append("net.ipv4.conf.*.route_localnet is taken to be 0")
            return "drop"
        if device != flight.sent_on:
            self.run.notes.append(f"routed anew after {place}: leaves by {device} instead of {flight.sent_on}")
            flight.sent_on = device
        return "accept"

    def _is_known_local(self, number: int) -> bool:
        return address_kind(self.flight.network, self.flight.version, number) == "local"

    # --- connection tracking and nat

    def _track(self) -> None:
        flight = self.flight
        flight.template = False
        if flight.connection is not None or flight.untracked or not self.plan.tracked:
            return
        state = tracking_state(flight.packet)
        if state == "UNTRACKED":
            flight.untracked = True
        elif state != "INVALID":
            known: Literal["NEW", "ESTABLISHED", "RELATED"] = (
                "ESTABLISHED" if state == "ESTABLISHED" else "RELATED" if state == "RELATED" else "NEW"
            )
            flight.connection = Connection(known, flight.tuple, zone=flight.zone or 0)
            if self.settled is not None and self.settled.connection is not None:
                flight.connection.mark = self.settled.connection.mark

    def _nat(self, station: Station) -> Outcome:
        flight = self.flight
        connection = flight.connection
        side = "destination" if flight.hook in ("PREROUTING", "OUTPUT") else "source"
        skipped = self._nat_skipped(side)
        if skipped:
            self._not_asked(station, skipped)
            if connection is not None and connection.state == "ESTABLISHED":
                return self._settle(side)
            return "accept"
        assert connection is not None
        before = flight.dst, flight.here
        chains = station.chains
        if station.doubtful and flight.oracle.choose(
            ("nat order", flight.hook), f"which nat chain at {flight.hook} comes first"
        ):
            chains = tuple(reversed(chains))
        for base in chains:
            if self._base(base) == "drop":
                return "drop"
            if side in connection.bound:
                break
        connection.bound.add(side)
        if flight.hook == "OUTPUT" and (flight.dst, flight.here) != before:
            return self._route_anew(f"nat {flight.hook}")
        return "accept"

    def _nat_skipped(self, side: str) -> str:
        """Why the nat chains are not consulted; empty where they are (nf_nat_core.c, nf_nat_inet_fn)."""
        flight = self.flight
        connection = flight.connection
        if flight.untracked:
            return "the packet is not tracked"
        if connection is None:
            off = "no rule needs connection tracking, so it is off, and nat with it"
            return "conntrack calls the packet INVALID" if self.plan.tracked else off
        if connection.state == "ESTABLISHED":
            return "the connection's first packet settled its translation"
        if connection.state == "RELATED" and flight.proto in ("icmp", "ipv6-icmp"):
            return "an ICMP error is translated with the connection that it is about"
        if side in connection.bound:
            return "the connection already has its translation of the " + side
        return ""

    def _settle(self, side: str) -> Outcome:
        """Give a packet of a known connection the translation that its first packet got."""
        flight, first = self.flight, self.settled
        if first is None or flight.connection is None or side in flight.connection.bound:
            return "accept"
        flight.connection.bound.add(side)
        if side == "source":
            flight.src, flight.sport = first.src, first.sport
            return "accept"
        changed = (flight.dst, flight.dport) != (first.dst, first.dport)
        flight.dst, flight.dport, flight.here, flight.redirected = first.dst, first.dport, first.here, first.redirected
        return self._route_anew("nat OUTPUT") if changed and flight.hook == "OUTPUT" else "accept"

    def _not_asked(self, station: Station, why: str) -> None:
        for base in station.chains:
            if base.chain.rules:
                self._step(base, base.chain.name, None, False, f"not consulted: {why}", "skip")

    # --- chains and rules

    def _base(self, base: BaseChain) -> Outcome:
        outcome = self._chain(base, base.chain.name, 0)
        if outcome is not None:
            return outcome
        policy = (base.chain.policy or "ACCEPT").lower()
        if base.chain.rules or policy != "accept":
            self._step(base, base.chain.name, None, False, "no rule decided", f"policy {policy}")
        if policy == "drop":
            self.run.dropped_by = f"{base.table.name}/{base.chain.name}: policy drop"
            return "drop"
        return "accept"

    def _chain(self, base: BaseChain, name: str, depth: int) -> Outcome | None:
        """Run a chain: None where it ends or returns to its caller."""
        chain = base.chains.get(name)
        if chain is None or depth > _DEEPEST:
            raise _Stop(f"a jump to {name}, which table {base.table.name} does not have")
        for number, rule in enumerate(chain.rules, 1):
            if not self._matches(base, name, number, rule):
                continue
            left, outcome = self._do(base, name, number, rule, depth)
            if left:
                return outcome
        return None

    def _do(self, base: BaseChain, name: str, number: int, rule: Rule, depth: int) -> tuple[bool, Outcome | None]:
        """Do what a rule that matched says: whether its chain is left, and how."""
        at = len(self.run.steps)
        self._step(base, name, number, True, "", "continue", rule)
        action, why = "continue", _conditions(rule, base)
        changes: list[Change] = []
        left = False
        outcome: Outcome | None = None
        for target in rule.targets:
            chosen = self._chosen(base, target)
            if chosen is None:
                continue
            action = action_text(chosen)
            if isinstance(chosen, Jump | Goto):
                self._finish(at, why, action, changes)
                outcome = self._chain(base, chosen.chain, depth + 1)
                return outcome is not None or isinstance(chosen, Goto), outcome
            left, outcome = self._effect(base, name, number, chosen, changes)
            if left or (isinstance(chosen, Tproxy) and not self.flight.tproxied):
                break
        self._finish(at, why, action, changes)
        return left, outcome

    def _chosen(self, base: BaseChain, target: Target) -> Target | None:
        """The target itself; of a verdict map the verdict that fits, None where none does."""
        if not isinstance(target, VerdictMap):
            return target
        flight = self.flight
        if missing(target.fields, flight):
            return None
        entries = target.entries
        if target.name:
            found = next((one for one in base.table.sets if one.name == target.name), None)
            if found is None:
                raise _Stop(f"the map {target.name} is not in the listing")
            pairs = zip(found.elements, found.values, strict=False)
            entries = tuple((element, value) for element, value in pairs if not isinstance(value, str))
        for element, verdict in entries:
            answer = element_holds(target.fields, element, flight)
            if answer is None:
                key = (flight.oracle.fresh(), element)
                answer = flight.oracle.choose(key, f"`{nft_text.target_text(target)}`")
            if answer:
                return verdict
        return None

    def _effect(
        self, base: BaseChain, name: str, number: int, target: Target, changes: list[Change]
    ) -> tuple[bool, Outcome | None]:
        place = f"{base.table.name}/{name} rule {number}"
        match target:
            case Return():
                return True, None
            case Accept():
                return True, "accept"
            case Drop() | Reject():
                self.run.dropped_by = place
                return True, "drop"
            case Queue():
                raise _Stop(f"a program outside the kernel decides at {place}: `{action_text(target)}`")
            case Opaque(text):
                raise _Stop(f"`{text}` at {place} is not understood")
            case _:
                ends = apply(target, self.flight, changes)
                if ends == "drop":
                    self.run.dropped_by = place
                return ends is not None, ends

    def _matches(self, base: BaseChain, name: str, number: int, rule: Rule) -> bool:
        flight = self.flight
        unknown: list[Match] = []
        for clause in rule.matches:
            answer = holds(clause, flight, base.table)
            if answer is False:
                why = f"`{clause_text(clause, base)}`: {actual(clause, flight)}"
                self._step(base, name, number, False, why, _action(rule), rule)
                return False
            if answer is None:
                unknown.append(clause)
        for clause in unknown:
            if not self._supposed(base, name, number, clause):
                why = f"cannot tell whether `{clause_text(clause, base)}`; taken as not"
                self._step(base, name, number, None, why, _action(rule), rule)
                return False
        return True

    def _supposed(self, base: BaseChain, name: str, number: int, clause: Match) -> bool:
        """Ask the oracle about a clause; the negated form of the same question gets the opposite answer."""
        flight = self.flight
        negated = bool(getattr(clause, "negated", False))
        plain = replace(clause, negated=False) if negated else clause  # type: ignore[arg-type]
        owner = getattr(clause, "kind", None) in ("uid", "gid")
        key = (
            (plain, None if owner else flight.signature())
            if stable(clause)
            else (flight.oracle.fresh(), base.table.name)
        )
        question = f"`{clause_text(clause, base)}` in {base.table.name}/{name} rule {number}"
        return flight.oracle.choose(key, question) != negated

    # --- steps

    def _step(
        self,
        base: BaseChain,
        name: str,
        number: int | None,
        matched: bool | None,
        why: str,
        action: str,
        rule: Rule | None = None,
    ) -> None:
        self.run.steps.append(
            Step(
                self.flight.hook,
                NFT_FAMILIES[base.ruleset.family],
                base.table.name,
                name,
                number,
                matched,
                why,
                action,
                (),
                rule.text if rule is not None else "",
                str(rule.origin) if rule is not None else str(base.chain.origin),
            )
        )

    def _finish(self, at: int, why: str, action: str, changes: list[Change]) -> None:
        self.run.steps[at] = replace(self.run.steps[at], why=why, action=action, changes=tuple(changes))


def clause_text(clause: Match, base: BaseChain) -> str:
    """A match in the words of the tool that wrote its table."""
    return nft_text.match_text(clause) if base.ruleset.backend == "nftables" else _iptables_clause(clause)


def _iptables_clause(clause: Match) -> str:
    try:
        return iptables_text.clause_text(clause)
    except ValueError:
        return nft_text.match_text(clause)


def _conditions(rule: Rule, base: BaseChain) -> str:
    texts = [clause_text(clause, base) for clause in rule.matches if type(clause).__name__ != "Comment"]
    return "every packet" if not texts else " and ".join(texts)


def _action(rule: Rule) -> str:
    return action_text(rule.target) if rule.target is not None else "continue"


_MARKING = frozenset(("SetMark", "SetConnmark", "SaveMark", "RestoreMark", "CtZone", "Notrack", "Passive"))


def action_text(target: Target) -> str:
    """What a target does, in a word or two; ``continue`` for those after which the next rule is looked at."""
    if type(target).__name__ in _MARKING:
        return "continue"
    return nft_text.target_text(target)
