"""Follows a run's event log to its end, from wherever one has got to."""

from collections.abc import AsyncIterator, Awaitable, Callable

from agent_runtime.domain.shown import TERMINAL
from agent_runtime.domain.todo import Shown
from agent_runtime.ports import EventLog

WAIT_S = 2.0


async def _patience() -> None:
    """The run is sure to tell its end itself."""


async def follow(
    log: EventLog, run_id: str, offset: int = 0, *, idle: Callable[[], Awaitable[None]] = _patience
) -> AsyncIterator[tuple[int, Shown]]:
    """Without a gap and without a repetition; ends after the one terminal event, also for those who have seen it.

    `idle` is asked whenever nothing came for a while: a run that was ended from outside tells nothing any more.
    """
    if offset and await _over(log, run_id, offset):
        return
    while True:
        news = await log.read(run_id, offset, WAIT_S)
        if not news:
            await idle()
        for number, event in news:
            yield number, event
            offset = number + 1
            if event["type"] in TERMINAL:
                return


async def _over(log: EventLog, run_id: str, offset: int) -> bool:
    """Whether nothing can come any more at `offset`: the terminal event lies before it."""
    seen = await log.read(run_id, offset - 1, 0.0) or await log.read(run_id, 0, 0.0)
    return any(number < offset and event["type"] in TERMINAL for number, event in seen)
