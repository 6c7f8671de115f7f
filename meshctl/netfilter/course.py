"""One packet's way through the hooks of a namespace: routing, connection tracking, nat, and the chains at each hook.

See `meshctl.netfilter.walk` for the theory of operation.
"""

from collections.abc import Sequence
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter import martians
from meshctl.netfilter.chain_run import ChainRun, Run
from meshctl.netfilter.flight import Connection, Flight, tracking_state
from meshctl.netfilter.hooks import BaseChain, Plan, Station
from meshctl.netfilter.routing import MULTICAST, Way, address_kind, lookup
from meshctl.netfilter.verdict import Outcome


@dataclass(slots=True)
class Course:
    """One packet's way through the hooks."""

    plan: Plan
    flight: Flight
    run: Run
    chains: ChainRun
    settled: Flight | None = None

    def fly(self) -> Outcome:
        """The whole way: sent and delivered on lo, or sent off, or come in and delivered or passed on."""
        flight = self.flight
        if flight.packet.direction != "inbound":
            return self._send()
        interface = flight.packet.in_interface or "eth0"
        refused = "" if interface == "lo" else martians.on_arrival(flight.version, flight.src, flight.dst)
        if refused:
            self.run.dropped_by = f"before any rule: {refused}"
            return "drop"
        return self._come_in(interface)

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
        refused = martians.at_routing(flight.network, flight.version, flight.src, flight.dst)
        if refused and interface != "lo":
            self.run.dropped_by = f"routing: {refused}"
            off = next((name for name in ("route_localnet", "accept_local") if name in refused), "")
            self.run.notes += [f"net.ipv4.conf.*.{off} is taken to be 0"] if off else []
            return "drop"
        if flight.dst is not None and MULTICAST[flight.version].contains(flight.version, flight.dst):
            return self._to_group(flight.dst)
        if flight.dst == 0xFFFFFFFF and flight.version == 4:
            return "local"
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

    def _to_group(self, group: int) -> str:
        """A packet to a multicast group: for this machine where it has joined the group, else for nobody here."""
        flight = self.flight
        question = f"whether a socket here has joined the group {flight.show(group)}"
        joined = martians.joined(flight.version, group)
        if joined is None:
            joined = flight.oracle.choose(("group", group), question)
        if not joined:
            self.run.dropped_by = f"routing: nothing here has joined the group {flight.show(group)}"
        return "local" if joined else "drop"

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
        outcome = self.chains.run_base(base)
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
            self.chains.skip(station.chains, skipped)
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
            if self.chains.run_base(base) == "drop":
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
