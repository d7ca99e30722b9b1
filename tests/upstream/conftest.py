"""Runs the room's tests on both loops and closes what they open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from gateway.clock import SystemClock
from gateway.upstream import HttpUpstream


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    made = HttpUpstream(SystemClock())
    yield made
    await made.aclose()
