"""A rule's conditions by field, so that its shape can be told without looking through clause by clause."""

from meshctl.frozen import dataclass
from meshctl.netfilter.clauses import conditions
from meshctl.netfilter.matches import (
    Connmark,
    CtState,
    Destination,
    InInterface,
    Mark,
    OutInterface,
    Owner,
    Ports,
    Protocol,
    Source,
)
from meshctl.netfilter.model import Rule


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule asks for; None where it does not ask. `extra` counts the conditions that have no field here."""

    protocol: str = ""
    source: Source | None = None
    destination: Destination | None = None
    in_interface: InInterface | None = None
    out_interface: OutInterface | None = None
    to_ports: Ports | None = None
    from_ports: Ports | None = None
    uid: Owner | None = None
    gids: tuple[Owner, ...] = ()
    mark: Mark | None = None
    connmark: Connmark | None = None
    state: CtState | None = None
    extra: int = 0

    @property
    def bare(self) -> bool:
        """Whether it asks for nothing."""
        return self == _NOTHING

    @property
    def only_protocol(self) -> bool:
        """Whether it asks for nothing but the protocol."""
        return self == Facts(protocol=self.protocol)

    @property
    def on_lo(self) -> bool:
        """Whether it asks for traffic that leaves through lo."""
        return self.out_interface == OutInterface("lo")

    @property
    def port(self) -> str:
        """The destination ports as text, empty where any will do."""
        return ",".join(map(str, self.to_ports.ranges)) if self.to_ports else ""

    @property
    def range(self) -> str:
        """The destination network as text, empty where any will do."""
        return str(self.destination.network) if self.destination else ""


_NOTHING = Facts()
_known: dict[str, Facts] = {}


def facts(rule: Rule) -> Facts:
    """The rule's conditions by field."""
    found = _known.get(rule.text) if rule.text else None
    if found is None:
        found = _read(rule)
        if rule.text:
            if len(_known) > 65536:
                _known.clear()
            _known[rule.text] = found
    return found


def _read(rule: Rule) -> Facts:
    protocol, extra = "", 0
    source = destination = in_interface = out_interface = to_ports = from_ports = uid = mark = connmark = state = None
    gids: list[Owner] = []
    for match in conditions(rule):
        match match:
            case Protocol(name, negated=False) if not protocol:
                protocol = name
            case Source() if source is None:
                source = match
            case Destination() if destination is None:
                destination = match
            case InInterface() if in_interface is None:
                in_interface = match
            case OutInterface() if out_interface is None:
                out_interface = match
            case Ports(side="destination") if to_ports is None:
                to_ports, protocol = match, match.protocol or protocol
            case Ports(side="source") if from_ports is None:
                from_ports, protocol = match, match.protocol or protocol
            case Owner(kind="uid") if uid is None:
                uid = match
            case Owner(kind="gid"):
                gids.append(match)
            case Mark() if mark is None:
                mark = match
            case Connmark() if connmark is None:
                connmark = match
            case CtState() if state is None:
                state = match
            case _:
                extra += 1
    return Facts(
        protocol, source, destination, in_interface, out_interface, to_ports, from_ports,
        uid, tuple(gids), mark, connmark, state, extra,
    )  # fmt: skip
