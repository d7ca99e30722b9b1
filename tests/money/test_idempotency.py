"""C16: a call under an idempotency key is made once and paid once, whoever asks and however often."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.money.test_budgets import spending, spent
from tests.rows.house import standing
from tests.rows.talk import hang_up

STREAMED = pytest.mark.parametrize("stream", [False, True])
KEY = {"idempotency-key": "turn-1"}


@STREAMED
async def test_c16_a_later_duplicate_gets_the_stored_answer_and_pays_nothing(stream: bool) -> None:
    async with spending({"usd": 1, "per": "day"}) as house:
        first = await house.ask(stream=stream, headers=KEY)
        again = await house.ask(stream=stream, headers=KEY)
        assert again.body == first.body
        assert (again.headers["x-gateway-replayed"], house.calls("a")) == ("true", 1)
        assert again.headers["x-gateway-replay-of"] == first.headers["x-request-id"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert house.record.replay_of == first.headers["x-request-id"]
        assert spent(house) > 0


@STREAMED
async def test_c16_concurrent_duplicates_join_the_running_call(stream: bool) -> None:
    pace = {"event_gate": "go", "gate_after_events": 1} if stream else {"head_gate": "go"}
    async with spending({"usd": 1, "per": "day"}, pace=pace) as house:
        asking = [asyncio.create_task(house.ask(stream=stream, headers=KEY)) for _ in range(20)]
        while house.calls("a") < 1:
            await asyncio.sleep(0.01)
        house.sims["a"].open("go")
        seen = await asyncio.gather(*asking)
        assert len({answer.body for answer in seen}) == 1
        assert [answer.status for answer in seen] == [200] * 20
        assert (house.calls("a"), sum("x-gateway-joined" in answer.headers for answer in seen)) == (1, 19)
        spent(house)


async def test_c16_another_body_under_the_same_key_is_422() -> None:
    async with standing(a={}) as house:
        await house.ask("one", headers=KEY)
        seen = await house.ask("two", headers=KEY)
        assert (seen.status, seen.error["code"], house.calls("a")) == (422, "idempotency_key_reused", 1)


async def test_c16_the_same_key_of_another_tenant_is_another_key() -> None:
    async with standing(a={}) as house:
        await house.ask(headers=KEY)
        seen = await house.ask(headers=KEY, caller="other")
        assert ("x-gateway-replayed" in seen.headers, house.calls("a")) == (False, 2)


async def test_c16_a_failure_is_not_stored_and_the_next_one_runs() -> None:
    fault = {"rules": [{"when": {"requests": 1}, "fault": {"kind": "status", "status": 429}}]}
    async with standing(a=fault, route={"attempts": 1}) as house:
        assert (await house.ask(headers=KEY)).status == 429
        house.clock.ahead_s += 100
        seen = await house.ask(headers=KEY)
        assert (seen.status, "x-gateway-replayed" in seen.headers) == (200, False)


@STREAMED
async def test_c16_a_caller_that_leaves_and_comes_back_gets_the_answer_it_paid_for(stream: bool) -> None:
    pace = {"event_gate": "go", "gate_after_events": 1} if stream else {"head_gate": "go"}
    async with spending({"usd": 1, "per": "day"}, pace=pace) as house:
        _, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(house.message(stream=stream, headers=KEY))
        while house.calls("a") < 1:
            await asyncio.sleep(0.01)
        await hang_up(writer)
        house.sims["a"].open("go")
        seen = await house.ask(stream=stream, headers=KEY)
        assert (seen.status, seen.whole, house.calls("a")) == (200, True, 1)
        spent(house)


@STREAMED
async def test_c16_an_answer_outlives_the_gateway_that_gave_it(stream: bool, tmp_path: Path) -> None:
    places = {"database": f"sqlite:///{tmp_path}/books.db", "journal": str(tmp_path / "journal")}
    async with standing(a={}, extra=places) as house:
        first = await house.ask("one", stream=stream, headers=KEY)
    async with standing(a={}, extra=places) as house:
        again = await house.ask("one", stream=stream, headers=KEY)
        assert (again.body, again.headers["x-gateway-replayed"], house.calls("a")) == (first.body, "true", 0)
        assert again.headers["x-gateway-replay-of"] == first.headers["x-request-id"]
        assert (await house.ask("two", headers=KEY)).error["code"] == "idempotency_key_reused"
        assert "x-gateway-replayed" not in (await house.ask("one", headers=KEY, caller="other")).headers


async def test_a7_ten_thousand_duplicates_in_any_order_are_one_call_and_one_charge_each() -> None:
    dice = random.Random(16)
    async with spending({"usd": 1, "per": "day"}, answer={"text": "ok"}) as house:
        gate = asyncio.Semaphore(100)

        async def one(number: int) -> None:
            async with gate:
                seen = await house.ask(
                    f"turn {number}", headers={"idempotency-key": f"turn-{number}"}, stream=bool(number % 2)
                )
                assert seen.status == 200

        numbers = [dice.randrange(500) for _ in range(10_000)]
        await asyncio.gather(*(one(number) for number in numbers))
        assert house.calls("a") == len(set(numbers))
        charged = [record for record in house.records if record.usage.total]
        assert len(charged) == len(set(numbers))
        spent(house)
