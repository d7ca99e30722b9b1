"""Rates and slots that several processes share, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.domain.budget import StoreAway
from gateway.domain.quota import OPEN, Gates, Rate, Refusal, Slot, gates_of
from gateway.ports import BankAway
from gateway.stores.redis.link import Link
from gateway.stores.redis.quota import LeasedQuota
from tests.clock import ToldClock
from tests.redis import served


class House:
    """Processes over one empty store; `clock` is theirs, Redis has its own."""

    def __init__(self, server: Any, stack: AsyncExitStack) -> None:
        self.server = server
        self.clock = ToldClock()
        self._stack = stack

    def process(self, boot: str, **options: Any) -> LeasedQuota:
        link = Link(self.server.url, SystemClock(), timeout_s=5.0)
        self._stack.push_async_callback(link.close)
        return LeasedQuota(self.clock, link, boot, **options)


@pytest.fixture(scope="module", params=["single", "sentinels", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with served(request.param) as made:
        yield made


@pytest.fixture
async def house(server: Any) -> AsyncIterator[House]:
    for one in server.masters:
        one.say("FLUSHALL")
    async with AsyncExitStack() as stack:
        yield House(server, stack)


def limits(
    scope: str = "tenant:acme",
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent: int | None = None,
    away: StoreAway = StoreAway.LOCAL,
) -> Gates:
    return gates_of(
        scope,
        away=away,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent=concurrent,
    )


async def test_a1_processes_together_admit_no_more_than_the_rate(house: House) -> None:
    processes = [house.process(f"b{n}") for n in range(4)]
    gates = limits(requests_per_minute=100)
    answers = await asyncio.gather(*(processes[n % 4].take(gates, 1) for n in range(300)))
    admitted = sum(answer is None for answer in answers)
    assert 96 <= admitted <= 101, "at most the time that passed gives one more"


async def test_tokens_are_leased_in_chunks_and_together_stay_within_the_rate(house: House) -> None:
    processes = [house.process(f"b{n}") for n in range(4)]
    gates = limits(tokens_per_minute=100_000)
    answers = await asyncio.gather(*(processes[n % 4].take(gates, 100) for n in range(1_200)))
    admitted = sum(answer is None for answer in answers)
    assert 960 <= admitted <= 1_010, "up to a chunk of each process may stay unused"


async def test_a_large_limit_asks_redis_once_for_many_requests(house: House) -> None:
    a, gates = house.process("a"), limits(requests_per_minute=10_000, concurrent=1_000)
    before = sum(calls(house.server))
    for _ in range(100):
        assert await a.take(gates, 1) is None
    assert sum(calls(house.server)) - before <= 12


def calls(server: Any) -> list[int]:
    every = [one.say("INFO", "commandstats") for one in server.masters]
    return [stats.get(f"cmdstat_{name}", {}).get("calls", 0) for stats in every for name in ("evalsha", "eval")]


async def test_i6_all_gates_or_none(house: House) -> None:
    a, gates = house.process("a"), limits(requests_per_minute=10, tokens_per_minute=50)
    assert await a.take(gates, 40) is None
    for _ in range(20):
        refusal = await a.take(gates, 40)
        assert refusal is not None
        assert (refusal.dimension, refusal.limit, refusal.cost) == ("tokens", 50, 40)
        assert refusal.wait_s is not None
        assert 25 < refusal.wait_s <= 36.1
    for _ in range(9):
        assert await a.take(limits(requests_per_minute=10), 1) is None
    assert await a.take(limits(requests_per_minute=10), 1) is not None


async def test_gates_of_several_scopes_are_taken_together(house: House) -> None:
    a, b = house.process("a"), house.process("b")
    tight, wide = limits("key:1", requests_per_minute=2), limits("tenant:acme", requests_per_minute=50)
    both = wide.plus(tight)
    assert [await a.take(both, 1) for _ in range(2)] == [None, None]
    assert await a.take(both, 1) is not None
    house.clock.now_s += 1.0
    await a.tend()
    assert [await b.take(wide, 1) for _ in range(48)] == [None] * 48


async def test_a_cost_above_the_whole_limit_is_refused_for_good(house: House) -> None:
    refusal = await house.process("a").take(limits(tokens_per_minute=50), 51)
    assert refusal == Refusal("tokens", 50, 51, None)


async def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_owed(house: House) -> None:
    a, b = house.process("a"), house.process("b")
    gates = limits(tokens_per_minute=100)
    assert await a.take(gates, 90) is None
    a.settle(gates, 90, 20)
    house.clock.now_s += 1.0
    await a.tend()
    assert await b.take(gates, 80) is None
    b.settle(gates, 80, 130)
    await b.tend()
    refusal = await a.take(gates, 1)
    assert refusal is not None
    assert refusal.wait_s is not None
    assert refusal.wait_s > 25


async def test_a_request_that_was_refused_elsewhere_counts_nothing(house: House) -> None:
    a, b = house.process("a"), house.process("b")
    gates = limits(requests_per_minute=1, concurrent=1)
    assert await a.take(gates, 1) is None
    a.put_back(gates, 1)
    house.clock.now_s += 1.0
    await a.tend()
    assert await b.take(gates, 1) is None


@pytest.mark.parametrize("limit", [1, 7, 150, 400])
async def test_places_are_never_more_than_there_are(house: House, limit: int) -> None:
    processes = [house.process(f"b{n}") for n in range(3)]
    gates = limits(concurrent=limit)
    answers = await asyncio.gather(*(processes[n % 3].take(gates, 1) for n in range(limit * 2)))
    admitted = sum(answer is None for answer in answers)
    assert limit - 3 * (limit // 100) <= admitted <= limit


async def test_a_place_that_is_left_is_there_for_others(house: House) -> None:
    a, b, gates = house.process("a"), house.process("b"), limits(concurrent=1)
    for mine, other in [(a, b), (b, a)] * 3:
        assert await mine.take(gates, 1) is None
        assert await other.take(gates, 1) == Refusal("concurrent", 1, 1, 1.0)
        mine.settle(gates, 1, 1)
        await mine.tend()


async def test_r11_a_caller_that_leaves_keeps_no_place(house: House) -> None:
    a, b = house.process("a"), house.process("b")
    gates = limits("key:1", concurrent=1).plus(limits("tenant:acme", concurrent=1))
    for turns in range(12):
        task = asyncio.create_task(a.take(gates, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            a.settle(gates, 1, 1)
        await a.tend()
        assert await b.take(gates, 1) is None
        b.settle(gates, 1, 1)
        await b.tend()


async def test_i5_places_of_a_dead_process_come_back(house: House) -> None:
    a, b, gates = house.process("a"), house.process("b"), limits(concurrent=1)
    assert await a.take(gates, 1) is None
    for one in house.server.masters:
        for key in one.say("KEYS", "gw.q:*"):
            one.say("HSET", key, "d:a", 1)
    assert await b.take(gates, 1) is None


async def test_a_shadow_limit_counts_and_refuses_nothing(house: House) -> None:
    a = house.process("a")
    gates = Gates(
        (Rate("t:requests", "requests", 2, by_tokens=False, shadow=True),), (Slot("t:concurrent", 1, shadow=True),)
    )
    assert [await a.take(gates, 1) for _ in range(5)] == [None] * 5
    assert a.rooms(gates)[0].remaining == 0


async def test_without_limits_nothing_is_asked(house: House) -> None:
    before = sum(calls(house.server))
    assert await house.process("a").take(OPEN, 1_000) is None
    assert sum(calls(house.server)) == before


async def test_what_is_left_is_known_from_the_last_answer(house: House) -> None:
    a, gates = house.process("a"), limits(requests_per_minute=60)
    assert a.rooms(gates)[0].remaining == 60
    for _ in range(10):
        await a.take(gates, 1)
    (room,) = a.rooms(gates)
    assert (room.remaining, room.limit) == (50, 60)
    house.clock.now_s += 5.0
    assert a.rooms(gates)[0].remaining == 55


async def test_r2_a_process_keeps_to_its_part_while_the_store_is_away() -> None:
    with served("single") as server:
        async with AsyncExitStack() as stack:
            house = House(server, stack)
            a = house.process("a", processes=lambda: 4)
            gates = limits(requests_per_minute=40, concurrent=8)
            assert await a.take(gates, 1) is None
            server.kill()
            answers = [await a.take(gates, 1) for _ in range(10)]
            assert sum(answer is None for answer in answers) == 1, "two places of eight, one of them taken before"
            rates = limits(requests_per_minute=40)
            answers = [await a.take(rates, 1) for _ in range(30)]
            assert sum(answer is None for answer in answers) == 9, "ten of forty, one of them taken above"
            server.start()
            while a._away:
                await asyncio.sleep(0.02)
                try:
                    await a.tend()
                except BankAway:
                    continue
                await a.take(rates, 1)


@pytest.mark.parametrize(("policy", "admitted"), [(StoreAway.DENY, 0), (StoreAway.ALLOW, 30)])
async def test_r2_a_limit_may_say_what_it_does_without_the_store(policy: StoreAway, admitted: int) -> None:
    async with AsyncExitStack() as stack:
        link = Link("redis://127.0.0.1:1", SystemClock())
        stack.push_async_callback(link.close)
        a = LeasedQuota(ToldClock(), link, "a", processes=lambda: 4)
        answers = [await a.take(limits(requests_per_minute=8, concurrent=4, away=policy), 1) for _ in range(30)]
        assert sum(answer is None for answer in answers) == admitted
