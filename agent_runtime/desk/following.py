"""Follows a run's event log to its end, from wherever one has got to."""

from collections.abc import AsyncIterator

from agent_runtime.domain.shown import TERMINAL
from agent_runtime.domain.todo import Shown
from agent_runtime.ports import EventLog

WAIT_S = 2.0


async def follow(log: EventLog, run_id: str, offset: int = 0) -> AsyncIterator[tuple[int, Shown]]:
    """Without a gap and without a repetition; ends after the one terminal event."""
    while True:
        for number, event in await log.read(run_id, offset, WAIT_S):
            yield number, event
            offset = number + 1
            if event["type"] in TERMINAL:
                return
