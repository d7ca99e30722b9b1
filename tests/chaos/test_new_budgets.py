"""A budget that is made in the middle of its window counts what was spent in it before, in every process."""

import asyncio
from decimal import Decimal
from pathlib import Path

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import NANO, Street, lent_out
from tests.redis import Server, served

CALL, RUNNING = 120_000, 4
"""What a request costs at most here, in nano-USD; how many can run while a budget is made known."""

SCRIPT = {"otherwise": {"answer": {"text_chars": 200}}}


async def left_of(street: Street) -> int:
    """Of the tightest budget, in nano-USD, as the next answer tells it; that answer is not counted yet."""
    seen = await street.ask(1, stream=True)
    assert seen is not None
    return int(Decimal(seen.headers["x-gateway-budget-remaining-usd"]) * NANO)


async def known_everywhere(street: Street) -> None:
    """Until neither of two processes has answered without it for a while."""
    known = 0
    async with asyncio.timeout(20):
        while known < 20:
            known = known + 1 if await left_of(street) <= NANO else 0


async def settled(store: Server, spent: int) -> None:
    """Until the counter of the whole time says so, and the late one too, but for what ran while it was made."""
    async with asyncio.timeout(20):
        while True:
            posted = sorted(figure for figure, _ in lent_out(store))
            if spent in posted and len(posted) == 2 and abs(sum(posted) - 2 * spent) <= RUNNING * CALL:
                return
            await asyncio.sleep(0.05)


async def test_a_budget_made_in_its_window_counts_what_was_spent_before(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1_000.0, 2, store) as street:
            process = await street.serve_all()
            for number in range(20):
                await street.ask(number, stream=bool(number % 2))
            spent = (await street.agreed())[2]
            async with street.office() as client:
                answer = await client.post("/admin/v1/tenants/t/budgets", json={"id": "late", "usd": "1", "per": "day"})
                assert answer.status_code == 201, answer.text
            await known_everywhere(street)
            assert await left_of(street) <= NANO - spent
            await settled(store, street.billed()[2])
            store.say("FLUSHALL")
            await street.ask(2, stream=False)
            async with asyncio.timeout(20):
                while (seen := await street.ask(2, stream=False)) is None or seen.status != 200:
                    await asyncio.sleep(0.1)
            await settled(store, street.billed()[2])
            assert await asyncio.to_thread(process.stop) == 0, process.said[-3_000:]
