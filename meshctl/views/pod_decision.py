"""Why a pod was injected or not, on the page: the rules that the injector tried."""

from collections.abc import Iterator, Sequence
from typing import Any

from meshctl.blocks import Block, Column, Heading, Line, Note, Span, Table, Text
from meshctl.injection.decision import Try
from meshctl.injection.description import Description
from meshctl.injection.mode import OPTED_OUT


def agrees(result: Description) -> bool:
    """Whether the decision for a pod made now is the one that this pod shows."""
    injected = result.injection.receipt is not None
    if result.injection.mode in ("ambient", "gateway") and not injected:
        return False
    return injected == (result.decision.outcome == "injected") or not result.pod.has_status


def decision(result: Description) -> Iterator[Block]:
    """The rules that were tried, under a title that asks what the reader asks."""
    yield Heading(_decision_title(result))
    yield from decision_blocks(result)


def _decision_title(result: Description) -> str:
    if result.injection.receipt:
        return "Why it was injected"
    if result.injection.mode == "ambient":
        return "Why it has no proxy of its own"
    return "Why it was not injected" if result.pod.has_status else "Would it be injected?"


def decision_blocks(result: Description) -> Iterator[Block]:
    """The rules that were tried, for a pod made now, and what differs from what the pod shows."""
    decision = result.decision
    yield Text(
        "The injector is a webhook: the API server asks it when a pod is made, and it adds the proxy. "
        "These rules decide, tried in this order, for a pod made now:"
    )
    yield tries_table(decision.tries)
    mood: Any = {"injected": "good", "rejected": "bad"}.get(decision.outcome, "info")
    yield Note((Span(_outcome(result), "strong"), f": {decision.text}"), mood, tuple(decision.remarks))
    for reason in result.injection.reasons:
        if reason.rule == OPTED_OUT:
            yield Note(f"{reason.text[:1].upper()}{reason.text[1:]}.", "info")
    if result.pod.has_status and not agrees(result) and decision.outcome != "undecided" and not _as_made(result):
        if result.injection.mode in ("ambient", "gateway"):
            return
        had = "was injected" if result.injection.receipt else "was not injected"
        what = "its settings, labels" if decision.outcome == "rejected" else "labels"
        missed = ""
        if result.injection.receipt is None and _may_be_missed(result):
            missed = ", or the injector did not answer then, and its failurePolicy Ignore lets pods be made without it"
        yield Note(f"This pod {had}: {what}, webhooks or policy have changed since it was made{missed}.", "warn")


def _may_be_missed(result: Description) -> bool:
    """Whether a webhook that takes the pod lets it be made without a proxy where the injector does not answer."""
    taking = result.decision.webhooks
    hooks = [h for h in result.subject.webhooks or () if f"{h.configuration}/{h.name}" in taking]
    return bool(hooks) and all(h.failure_policy == "Ignore" for h in hooks)


def _outcome(result: Description) -> str:
    """The outcome in words that cannot be taken for what was done with this pod, where that is something else."""
    outcome = result.decision.outcome
    if outcome == "undecided" or (result.pod.has_status and _as_made(result)):
        return outcome
    if outcome == "not injected":
        return "would not be injected" + (" now" if result.pod.has_status else "")
    return f"would be {outcome}" + (" now" if result.pod.has_status else "")


def _as_made(result: Description) -> bool:
    return (result.injection.receipt is not None) == (result.decision.outcome == "injected") and (
        result.decision.outcome != "rejected"
    )


def tries_table(tries: Sequence[Try]) -> Table:
    """The rules that were tried; webhooks that do not take the pod share one row."""
    rows: list[tuple[Line, ...]] = []
    passed = 0
    for t in tries:
        if t.rule == "selectors" and not t.decides and t.answer == "no":
            passed += 1
            continue
        if passed and (t.rule != "selectors" or t.decides):
            more = "" if t.decides else " more"
            text = f"{passed}{more} {'does' if passed == 1 else 'do'} not take this pod"
            rows.append(("", "Other webhooks" if more else "Its webhooks", "no", text, ""))
            passed = 0
        mark, answer = Span("=> " if t.decides else "", "accent"), Span(t.answer, "strong" if t.decides else "")
        rows.append((mark, t.question, answer, t.text, Span(t.source, "dim")))
    columns = (Column("", wrap=False, keep=9), Column("rule"), Column("answer", wrap=False), Column("because"))
    return Table((*columns, Column("where", keep=1)), tuple(rows))
