"""What a walk says: the rules that were looked at, where the packet ended, and the verdict."""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.effects import Change
from meshctl.netfilter.packet import Packet

Verdict: TypeAlias = Literal["accepted", "redirected", "dropped", "tproxied", "undecided"]
Outcome: TypeAlias = Literal["accept", "drop"]


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
    """The answer: `redirect_port` is the local port that gets a packet that is redirected or tproxied.

    `rejected`: it is dropped by a REJECT; None: that depends on what is open.
    """

    packet: Packet
    steps: tuple[Step, ...]
    verdict: Verdict
    redirect_port: int | None = None
    undecided_because: str | None = None
    arrival: Arrival | None = None
    dropped_by: str = ""
    notes: tuple[str, ...] = ()
    rejected: bool | None = False
