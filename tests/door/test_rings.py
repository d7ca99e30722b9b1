"""What a request leaves behind: nothing, so that memory is used again at once and the collector has no work."""

import gc

import pytest

from tests.door.house import chat, house
from tests.door.line import get, post

MANY = 50


@pytest.mark.parametrize("kind", ["whole", "stream", "refused", "models"])
async def test_requests_leave_no_rings_for_the_collector(kind: str) -> None:
    raw = {
        "whole": post(chat()),
        "stream": post(chat(stream=True)),
        "refused": post({"model": "m"}),
        "models": get("/v1/models"),
    }[kind]
    async with house() as made:
        line = await made.line()
        for _ in range(5):
            await line.ask(raw)
        gc.collect()
        gc.disable()
        try:
            for _ in range(MANY):
                await line.ask(raw)
            left = gc.collect()
        finally:
            gc.enable()
    assert left < MANY, f"{left} objects of {MANY} requests were left to the collector"
