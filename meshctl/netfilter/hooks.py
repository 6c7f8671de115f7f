"""Which base chains a packet meets at each hook, and in which order.

The kernel sorts by priority (linux/netfilter_ipv4.h): raw -300, conntrack -200, mangle -150, destination nat -100,
filter 0, security 50, source nat 100. All nat chains of a hook run at nat's own place, whatever their priority says,
sorted among themselves (nf_nat_core.c, nf_nat_register_fn). Of equal priorities the one registered last comes first
(netfilter/core.c, nf_hook_entries_grow).
"""

from collections.abc import Sequence

from meshctl.frozen import dataclass
from meshctl.netfilter.matches import Connmark, CtField, CtState, External, Lookup, Match, Opaque
from meshctl.netfilter.model import Chain, Ruleset, Table
from meshctl.netfilter.targets import (
    CtZone,
    Dnat,
    Masquerade,
    Netmap,
    Notrack,
    Passive,
    Redirect,
    RestoreMark,
    SaveMark,
    SetConnmark,
    Snat,
    Target,
    VerdictMap,
)

CONNTRACK = -200
NAT_DESTINATION = -100
_NAT_PLACES = {"PREROUTING": NAT_DESTINATION, "OUTPUT": NAT_DESTINATION, "INPUT": 100, "POSTROUTING": 100}


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A base chain with its table and ruleset; `chains` are the table's by name."""

    ruleset: Ruleset
    table: Table
    chain: Chain
    chains: dict[str, Chain]

    @property
    def idle(self) -> bool:
        """Whether it does nothing whatever comes."""
        return not self.chain.rules and self.chain.policy != "DROP"


@dataclass(frozen=True, slots=True)
class Station:
    """One stop at a hook: conntrack, nat's chains together, or one chain.

    `doubtful`: stations of the same priority whose order the dumps do not tell.
    """

    kind: str
    priority: int
    chains: tuple[BaseChain, ...] = ()
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The stations of each hook for one IP version.

    `tracked`: whether some rule needs connection tracking, which turns it on for the namespace; without it no packet
    has a connection, and nat chains are never asked (nf_ct_netns_get).
    """

    stations: dict[str, tuple[Station, ...]]
    tracked: bool


def plan(rulesets: Sequence[Ruleset], version: int) -> Plan:
    """Order the base chains that packets of an IP version meet."""
    families = ("inet", "ipv4" if version == 4 else "ipv6")
    based: dict[str, list[BaseChain]] = {}
    for ruleset in rulesets:
        if ruleset.family not in families:
            continue
        for table in ruleset.tables:
            chains = {chain.name: chain for chain in table.chains}
            for chain in table.chains:
                if chain.hook is not None and chain.priority is not None:
                    based.setdefault(chain.hook, []).append(BaseChain(ruleset, table, chain, chains))
    nat = any(base.chain.type == "nat" for chains in based.values() for base in chains)
    stations = {
        hook: _stations(hook, based.get(hook, []), nat)
        for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    }
    return Plan(stations, any(_tracks(one, version) for one in rulesets if one.family in families))


_TRACKING = (
    *(Connmark, CtField, CtState, SetConnmark, SaveMark, RestoreMark, CtZone, Notrack),
    *(Redirect, Dnat, Snat, Masquerade, Netmap, Opaque),
)
_TRACKING_MODULES = frozenset(("connbytes", "connlimit", "connlabel", "helper", "cluster"))


def _tracks(ruleset: Ruleset, version: int) -> bool:
    """Whether a rule, wherever it stands, asks for connection tracking; what is not understood may."""
    return any(_asks(part, version) for _, _, _, rule in ruleset.rules for part in (*rule.matches, *rule.targets))


def _asks(part: Match | Target, version: int) -> bool:
    match part:
        case Dnat(version=named) | Snat(version=named):
            return named in (None, version)
        case External(module):
            return module in _TRACKING_MODULES
        case Lookup(fields) | VerdictMap(fields):
            return any(field.startswith("ct ") for field in fields)
        case Notrack(spelling):
            return spelling != "notrack"
        case Passive(name):
            return name.startswith(("CT", "ct "))
        case _:
            return isinstance(part, _TRACKING)


def _stations(hook: str, chains: list[BaseChain], nat: bool) -> tuple[Station, ...]:
    found = [
        Station("chain", base.chain.priority or 0, (base,))
        for base in _by_priority([base for base in chains if base.chain.type != "nat"])
    ]
    if nat and hook in _NAT_PLACES:
        theirs = _by_priority([base for base in chains if base.chain.type == "nat"])
        found.append(Station("nat", _NAT_PLACES[hook], tuple(theirs), _doubtful(theirs)))
    if hook in ("PREROUTING", "OUTPUT"):
        found.append(Station("conntrack", CONNTRACK))
    found.sort(key=lambda station: (station.priority, station.kind != "conntrack"))
    return tuple(_marked(found))


def _marked(stations: list[Station]) -> list[Station]:
    """Mark neighbours of equal priority whose order is not known."""
    marked: list[Station] = []
    for station in stations:
        peers = [one for one in stations if one.kind == station.kind == "chain" and one.priority == station.priority]
        unknown = _doubtful([base for one in peers for base in one.chains])
        marked.append(Station(station.kind, station.priority, station.chains, station.doubtful or unknown))
    return marked


def _by_priority(chains: list[BaseChain]) -> list[BaseChain]:
    return sorted(chains, key=lambda base: (base.chain.priority or 0, -(base.table.handle or 0)))


def _doubtful(chains: Sequence[BaseChain]) -> bool:
    """Whether two chains that do something share a priority, and not both have a handle to tell the later one."""
    busy = [base for base in chains if not base.idle]
    for at, base in enumerate(busy):
        for other in busy[at + 1 :]:
            if base.chain.priority == other.chain.priority and None in (base.table.handle, other.table.handle):
                return True
    return False
