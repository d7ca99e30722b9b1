"""Closing an agent: which of its runs are waited for."""

import asyncio

from agent_runtime.connectors.scripted import Line
from agent_runtime.inline.runtime import InlineRuntime
from agent_runtime.tools.access import RequireAll
from tests.agent_runtime.cast import agent, approval_of, calls


async def test_row_58_closing_waits_for_runs_and_then_ends_them() -> None:
    one = agent([calls("slow"), Line("done")])
    handle = await one.start("go")
    await one.close()
    assert (await handle).text == "done"
    endless = agent([calls("forever")])
    assert endless.services is not None
    endless.on(InlineRuntime(endless.services, grace_s=0.01))
    handle = await endless.start("go")
    await endless.close()
    assert (await handle.outcome()).outcome.finish_reason == "cancelled"


async def test_row_58_closing_waits_for_nobody_to_decide() -> None:
    one = agent([calls("delete", path="x")], policy=RequireAll())
    assert one.services is not None
    one.on(InlineRuntime(one.services, grace_s=3_600.0))
    handle = await one.start("go")
    await approval_of(handle)
    async with asyncio.timeout(5):
        await one.close()
    assert (await handle.outcome()).outcome.finish_reason == "cancelled"
