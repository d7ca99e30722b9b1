"""Background requests: shed first, waiting in line, never before anybody who is interactive."""

import asyncio
from typing import Any

from gateway.pipeline.waiting import WaitingRoom
from tests.rows.house import House, standing

BACKGROUND = {"x-priority": "autonomous"}


def limited(**limits: int) -> dict[str, Any]:
    tenants = [{"id": "first", "keys": ["env:CALLER_ONE"], "limits": limits}]
    return {"tenants": tenants, "database": "memory"}


async def begun(house: House, calls: int) -> None:
    async with asyncio.timeout(5):
        while house.calls("a") < calls:
            await asyncio.sleep(0.005)


async def test_background_work_is_shed_before_the_limit_and_interactive_work_is_not() -> None:
    script = {"otherwise": {"pace": {"head_gate": "go"}}}
    async with standing(a=script, route={"timeouts": {"first_token_s": 20}}, extra=limited(concurrent=5)) as house:
        four = [asyncio.create_task(house.ask()) for _ in range(4)]
        await begun(house, 4)
        fifth = asyncio.create_task(house.ask())
        short = {**BACKGROUND, "x-request-timeout-ms": "100"}
        shed = await house.ask(headers=short)
        assert (shed.status, shed.error["code"]) == (429, "rate_limit_exceeded")
        await begun(house, 5)
        house.sims["a"].open("go")
        assert [(await task).status for task in (*four, fifth)] == [200] * 5


async def test_background_work_waits_its_turn_in_order_and_within_its_deadline() -> None:
    script = {"otherwise": {"pace": {"head_gate": "go"}}}
    async with standing(a=script, route={"timeouts": {"first_token_s": 20}}, extra=limited(concurrent=1)) as house:
        first = asyncio.create_task(house.ask("first"))
        await begun(house, 1)
        waiting = []
        for number in range(5):
            waiting.append(asyncio.create_task(house.ask(f"{number}", headers=BACKGROUND)))
            async with asyncio.timeout(5):
                while house.gateway.door.desk.waiting.count < number + 1:
                    await asyncio.sleep(0.005)
        assert (await house.ask("refused")).status == 429
        house.sims["a"].open("go")
        assert [(await task).status for task in (first, *waiting)] == [200] * 6
        said = [record.started_at_s for record in house.records if record.status == 200]
        assert said == sorted(said)


async def test_a_line_that_is_full_refuses_at_once() -> None:
    script = {"otherwise": {"pace": {"head_gate": "go"}}}
    async with standing(a=script, route={"timeouts": {"first_token_s": 20}}, extra=limited(concurrent=1)) as house:
        house.gateway.door.desk.waiting = WaitingRoom(all_max=2)
        held = [asyncio.create_task(house.ask())]
        await begun(house, 1)
        for number in range(2):
            held.append(asyncio.create_task(house.ask(headers=BACKGROUND)))
            async with asyncio.timeout(5):
                while house.gateway.door.desk.waiting.count < number + 1:
                    await asyncio.sleep(0.005)
        assert (await house.ask(headers=BACKGROUND)).status == 429
        house.sims["a"].open("go")
        assert [(await task).status for task in held] == [200] * 3
