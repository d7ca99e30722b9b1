"""Plain functions as tools: they run in threads of their own."""

import asyncio
import contextvars
import threading
from pathlib import Path

from agent_runtime.domain.values import Principal, RunRef
from agent_runtime.stores.sqlite import SqliteFile
from agent_runtime.tools.tool import ToolContext, tool

CONTEXT = ToolContext(RunRef("r", "a", Principal("t", "u"), "r"), "c", "k")
WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("whose")


async def test_row_55_tools_that_block_leave_the_stores_their_threads(tmp_path: Path) -> None:
    ended = threading.Event()
    begun = threading.Semaphore(0)

    @tool(risk="read")
    def slow() -> str:
        begun.release()
        assert ended.wait(20)
        return WHOSE.get()

    store = SqliteFile(tmp_path / "agents.db")
    WHOSE.set("ann's")
    running = [asyncio.ensure_future(slow.run({}, CONTEXT)) for _ in range(40)]
    try:
        async with asyncio.timeout(10):
            while any(not task.done() for task in running) and not begun.acquire(blocking=False):
                await asyncio.sleep(0.01)
            assert await store.read("SELECT 'there'") == [("there",)]
    finally:
        ended.set()
    assert await asyncio.gather(*running) == ["ann's"] * 40
    await store.aclose()
