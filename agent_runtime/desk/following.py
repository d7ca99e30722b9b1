"""Follows a run's event log to its end, from wherever one has got to."""

from collections.abc import AsyncIterator, Awaitable, Callable

from agent_runtime.desk.ending import tell_end
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import TERMINAL
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.ports import EventLog

WAIT_S = 2.0


async def follow(
    services: Services, run_id: str, offset: int, known_end: Callable[[str], Awaitable[Outcome | None]]
) -> AsyncIterator[tuple[int, Shown]]:
    """Without a gap and without a repetition; ends after the one terminal event, also for those who have seen it.

    `known_end` is asked whenever nothing came for a while: a run that was lost tells nothing any more, so its end is
    told here.
    """
    log = services.events
    if offset and await _over(log, run_id, offset):
        return
    while True:
        news = await log.read(run_id, offset, WAIT_S)
        if not news and (outcome := await known_end(run_id)) is not None:
            await tell_end(services, outcome)
        for number, event in news:
            yield number, event
            offset = number + 1
            if event["type"] in TERMINAL:
                return


async def _over(log: EventLog, run_id: str, offset: int) -> bool:
    """Whether nothing can come any more at `offset`: the terminal event lies before it."""
    seen = await log.read(run_id, offset - 1, 0.0) or await log.read(run_id, 0, 0.0)
    return any(number < offset and event["type"] in TERMINAL for number, event in seen)
