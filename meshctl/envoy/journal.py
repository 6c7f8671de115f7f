"""What is noted of a request on its way through a proxy: each decision, what was reached, and what cannot be told."""

from typing import Any

from meshctl.envoy import grpc
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.query import Error, Match, Query, Step
from meshctl.envoy.upstream import Live
from meshctl.envoy.verdict import Verdict
from meshctl.origin import Origin


class Stop(Exception):
    """Nothing after this decision is reached."""


class Journal:
    """One request on its way through one proxy; collects what becomes a Match."""

    def __init__(self, dump: ConfigDump, query: Query, live: Live | None) -> None:
        self.dump = dump
        self.query = query
        self.live = live
        self.others: tuple[Match, ...] = ()
        self.found: dict[str, Any] = {}
        self.steps: list[Step] = []
        self.open: list[str] = []
        self.verdicts: list[Verdict] = []
        self.is_grpc = False

    def step(self, what: str, chosen: str, because: str, origin: Origin | None = None) -> None:
        """Journal a decision."""
        self.steps.append(Step(what, chosen, because, origin))

    def note(self, **fields: object) -> None:
        """Journal what was reached."""
        self.found.update(fields)

    def fail(self, error: Error, what: str, because: str, origin: Origin | None = None, **fields: object) -> Stop:
        """Journal where matching fails; to be raised."""
        self.step(what, "", because, origin)
        self.note(error=error, forwards=False, **fields)
        return Stop()

    def undecided(self, because: str) -> None:
        """Journal what cannot be told."""
        if because not in self.open:
            self.open.append(because)
        self.note(forwards=None)

    def give_up(self, what: str, because: str, origin: Origin | None = None) -> Stop:
        """Journal that what follows depends on something unknown; to be raised."""
        self.step(what, "", because, origin)
        self.undecided(because)
        return Stop()

    def result(self) -> Match:
        """What was found, complete."""
        return Match(
            query=self.query,
            **self.found,
            steps=tuple(self.steps),
            verdicts=tuple(self.verdicts),
            undecided_because=tuple(self.open),
            alternatives=self.others,
        )

    def judge(self, verdict: Verdict) -> bool:
        """Journal a filter's verdict; whether it ends the request for sure."""
        self.verdicts.append(verdict)
        if verdict.shadow or verdict.decision in ("passes", "delays"):
            return False
        if verdict.decision in ("undecided", "not-modelled"):
            self.undecided(verdict.because)
            return False
        if verdict.share < 1.0:
            return False
        sure = not self.open
        if self.found.get("forwards") is not False or self.found.get("status") is None:
            self.step("filter", verdict.filter, verdict.because, verdict.origin)
        if sure and not self.answered():
            if verdict.status is not None:
                self.replies(verdict.status, verdict.flags, verdict.details, verdict.grpc_status)
            else:
                self.note(flags=verdict.flags, details=verdict.details)
        self.note(forwards=False)
        return True

    def answered(self) -> bool:
        """Whether a filter has answered for sure already."""
        return any(v.decision == "answers" and v.share == 1.0 and not v.shadow for v in self.verdicts[:-1])

    def answer(self, status: int, flags: str | None, details: str, answered: bool = False) -> None:
        """The proxy answers by itself, unless a filter before has, or may have."""
        if not self.open and not answered:
            self.replies(status, flags, details)
        self.note(forwards=False)

    def replies(self, status: int, flags: str | None, details: str, grpc_status: int | None = None) -> None:
        """Journal an answer; a gRPC client gets 200 and the status in a header (Envoy, ``sendLocalReply``)."""
        if self.is_grpc:
            told = grpc.of_http(status) if grpc_status is None else grpc_status
            self.note(status=200, grpc_status=told, flags=flags, details=details)
        else:
            self.note(status=status, flags=flags, details=details)
