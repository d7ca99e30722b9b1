"""Clients that are cut off while a run is under way, each behind another event, and go on from there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from agent_runtime.api import Agent
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from tests.agent_runtime.cast import calls

PIECE_WAIT_S = 0.01
SCRIPT = [calls("look", "breaks"), Line("some words that are said in many pieces. " * 6)]
EVENTS = 30
"""More than a run of this script has."""

Numbered = tuple[int, Any]
Follow = Callable[[int], AsyncIterator[Numbered]]


class Unhurried(ScriptedLLM):
    """Says its text as slowly as it takes to follow it."""

    async def complete(self, ask: Any, heard: Any = None) -> Any:
        async def said(piece: str) -> None:
            await asyncio.sleep(PIECE_WAIT_S)
            await heard(piece)

        return await super().complete(ask, None if heard is None else said)


async def cut_off_at(follow: Follow, offset: int, under_way: Callable[[], bool]) -> tuple[list[Numbered], bool]:
    """All that this client has seen in the end, and whether the run was under way when it was cut off."""
    seen: list[Numbered] = []
    events: Any = follow(0)
    async for one in events:
        if len(seen) == offset:  # it has arrived and is lost
            break
        seen.append(one)
    live = under_way()
    await events.aclose()
    return seen + [one async for one in follow(len(seen))], live


async def everyone_sees_the_same(one: Agent, follow: Callable[[str], Follow]) -> None:
    handle = await one.start("go", stream=True)
    ended = asyncio.ensure_future(handle.result())
    following = follow(handle.run_id)
    seen = await asyncio.gather(*(cut_off_at(following, n, lambda: not ended.done()) for n in range(EVENTS)))
    assert (await ended).finish_reason == "complete"
    whole = [event async for event in following(0)]
    assert [number for number, _ in whole] == list(range(len(whole)))
    assert len(whole) < EVENTS, len(whole)
    assert sum(event["type"] == "TEXT_MESSAGE_CONTENT" for _, event in whole) > 5
    assert sum(event["type"] in ("RUN_FINISHED", "RUN_ERROR") for _, event in whole) == 1
    assert [events for events, _ in seen] == [whole] * EVENTS
    assert sum(live for _, live in seen) > len(whole) // 2
