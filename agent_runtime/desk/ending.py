"""Puts the end of a run on record; also of one that cannot do so any more."""

from dataclasses import replace

from agent_runtime.contracts.run import status_of
from agent_runtime.desk.admission import give_back
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import run_ended
from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import Failure, Usage
from agent_runtime.ports import Entry, RunEntry, Turn

LOST = "lost"


async def put_on_record(services: Services, outcome: Outcome, turn: Turn | None) -> None:
    """`turn`: what its conversation keeps of it."""
    ref = outcome.ref
    if ref.conversation_id is not None and turn is not None:
        await services.conversations.keep(ref.principal, ref.conversation_id, turn)
    await give_back(services, ref)
    await services.runs.end(outcome)


async def lose(services: Services, entry: RunEntry, how: str) -> Outcome:
    """Nobody works on the run any more: what it used is in the gateway's ledger, and nobody waits for it in vain."""
    ref = entry.ref
    failure = Failure(LOST, f"run {ref.run_id!r} was lost {how}", "logic", True)
    outcome = Outcome(ref, "failed", "", failure, Usage(), Usage(), {}, ())
    await put_on_record(services, outcome, await _last_turn(services, outcome))
    if services.treasurer is not None:
        await services.treasurer.close_run(ref)
    services.recorder.run_ended(outcome, 0.0)
    return outcome


async def tell_end(services: Services, outcome: Outcome) -> None:
    """Harmless where the end was told before: nothing comes after it in the log."""
    ref = outcome.ref
    await services.events.append(ref.root_run_id, [Entry(f"{ref.run_id}:end", run_ended(outcome))])


async def _last_turn(services: Services, outcome: Outcome) -> Turn | None:
    """As far as the run has come with it; one that had not begun keeps nothing."""
    ref = outcome.ref
    if ref.conversation_id is None:
        return None
    turns = await services.conversations.turns(ref.principal, ref.conversation_id)
    known = next((one for one in turns if one.run_id == ref.run_id), None)
    return None if known is None else replace(known, status=status_of(outcome.finish_reason))
