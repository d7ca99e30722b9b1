"""Health and pins that processes share: news travel, one probes for all, nothing waits."""

import asyncio
import json
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.domain.breaker import TripRule
from gateway.domain.failure import Failure, FailureKind
from gateway.ports import BankAway, Evidence, Permit
from gateway.stores.health import MemoryHealth
from gateway.stores.pins import MemoryPins
from gateway.stores.redis.link import Link
from gateway.stores.redis.pins import SharedPins
from gateway.stores.redis.shared_health import HealthMirror, _right
from tests.clock import ToldClock
from tests.domain.values import deployment
from tests.redis import served

RULE = TripRule(volume=4, callers=1, bodies=1, open_s=0.4, probes=1)
WHO = Evidence("k", "b")
BROKEN = Failure(FailureKind.RESET, "m")
ONE = deployment("a")
CALLERS = 2_500
PROCESSES = 4


class Process:
    def __init__(self, url: str, boot: str) -> None:
        self.health = MemoryHealth(SystemClock(), RULE)
        self.link = Link(url, SystemClock(), timeout_s=5.0)
        self.mirror = HealthMirror(SystemClock(), self.link, self.health, boot)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        task = asyncio.create_task(self.mirror.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.link.close()

    def fails(self, times: int = RULE.volume) -> None:
        for _ in range(times):
            permit = self.health.admit(ONE, panic=False)
            assert permit is not None
            self.health.failure(permit, BROKEN, WHO)
            self.health.release(permit)

    def admitted(self) -> Permit | None:
        return self.health.admit(ONE, panic=False)

    @property
    def blocked(self) -> str | None:
        block = self.health.blocked(ONE)
        return None if block is None else block.reason


async def until(ready: Callable[[], bool], what: str, bound_s: float = 10.0) -> None:
    ends_s = time.monotonic() + bound_s
    while not ready():
        assert time.monotonic() < ends_s, what
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["single", "cluster"])
async def test_a_circuit_that_one_process_opens_is_open_for_all_and_closes_for_all(kind: str) -> None:
    with served(kind) as server:
        async with Process(server.url, "a").running() as a, Process(server.url, "b").running() as b:
            await until(lambda: not a.mirror._read_s == b.mirror._read_s == 0.0, "both have read")
            a.fails()
            await until(lambda: b.blocked == "circuit_open", "b has heard of it")
            permits: list[Permit] = []

            def probed() -> bool:
                permits.extend(p for p in (a.admitted(), b.admitted()) if p is not None)
                return bool(permits)

            await until(probed, "one of them probes")
            await asyncio.sleep(0.3)
            assert (a.admitted(), b.admitted(), len(permits)) == (None, None, 1)
            owner = a if a.health.broken()[ONE.id].probing else b
            owner.health.success(permits[0], 0.1)
            owner.health.release(permits[0])
            await until(lambda: a.health.calm and b.health.calm, "closed for both")


async def test_f4_late_news_of_an_open_circuit_take_the_right_to_probe_from_a_process_for_good() -> None:
    """It has claimed the right and not used it yet: what it gives back, another one may have by now."""
    with served("single") as server:
        async with Process(server.url, "a").running() as a:
            await until(lambda: a.health._gated, "gated")
            a.fails()
            await asyncio.sleep(RULE.open_s)
            assert a.admitted() is None, "it asks for the right"
            await until(lambda: bool(a.mirror._rights), "it has the right")
            a.mirror.heard(json.dumps(["b", "open", ONE.id, 300, ""]).encode())
            await until(lambda: not a.mirror._rights, "it has given it back")
            assert await a.link.ask("SET", _right(ONE.id), "b", "NX", "PX", 10_000)
            await asyncio.sleep(0.4)
            assert a.admitted() is None


async def test_a_process_that_comes_later_reads_what_is_known() -> None:
    with served("single") as server:
        async with Process(server.url, "a").running() as a:
            permit = a.admitted()
            assert permit is not None
            a.health.failure(permit, Failure(FailureKind.THROTTLED, "m", hint_s=30.0), WHO)
            a.health.release(permit)
            await until(lambda: bool(a.mirror._paused), "told")
            async with Process(server.url, "b").running() as b:
                await until(lambda: b.blocked == "cooldown", "b has read it")
                block = b.health.blocked(ONE)
                assert block is not None
                left_s = block.until_s - SystemClock().monotonic_s()
                assert 25 < left_s <= 30


async def test_without_redis_each_process_probes_for_itself() -> None:
    with served("single") as server:
        async with Process(server.url, "a").running() as a:
            await until(lambda: a.health._gated, "it has begun")
            server.kill()
            a.fails()
            await until(lambda: a.admitted() is not None, "it probes")


def crowd(url: str, boot: str, results: Any) -> None:
    results.put(asyncio.run(crowded(url, boot)))


async def crowded(url: str, boot: str) -> tuple[int, int]:
    """Callers that try again and again: how many probes this process sent, and how many were under way at most."""
    probes = most = 0
    async with Process(url, boot).running() as process:
        await process.link.ask("INCR", "ready")
        while int(await process.link.ask("GET", "ready")) < PROCESSES:
            await asyncio.sleep(0.01)
        await until(lambda: process.health._gated, "gated")
        process.fails()
        await until(lambda: process.blocked is not None, "open")

        async def caller() -> None:
            nonlocal probes, most
            while not process.health.calm:
                permit = process.admitted()
                if permit is None:
                    await asyncio.sleep(0.5)
                    continue
                probes += 1
                most = max(most, int(await process.link.ask("INCR", "flying")))
                await asyncio.sleep(0.1)
                number = int(await process.link.ask("INCR", "probes"))
                await process.link.ask("DECR", "flying")
                if number < 4:
                    process.health.failure(permit, BROKEN, WHO)
                else:
                    process.health.success(permit, 0.1)
                process.health.release(permit)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return probes, most


def test_f4_ten_thousand_callers_in_four_processes_send_one_probe_at_a_time() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with served("single") as server:
        processes = [context.Process(target=crowd, args=(server.url, f"b{n}", results)) for n in range(PROCESSES)]
        for process in processes:
            process.start()
        told = [results.get(timeout=90) for _ in processes]
        for process in processes:
            process.join(10)
            process.close()
    results.close()
    results.join_thread()
    assert max(most for _, most in told) == 1
    # Who has not heard of the good end yet may probe once more, alone.
    assert 4 <= sum(probes for probes, _ in told) < 4 + PROCESSES


async def test_f6_a_pin_follows_its_session_to_another_process_and_no_request_waits() -> None:
    with served("single") as server:
        clock = ToldClock()
        link = Link(server.url, SystemClock(), timeout_s=1.0)
        a, b = SharedPins(link, MemoryPins(clock)), SharedPins(link, MemoryPins(clock))
        keys = [bytes([n] * 16) for n in range(100)]
        for number, key in enumerate(keys):
            a.put(key, f"d{number}")
        await a.tend()
        assert [b.get(key) for key in keys] == [None] * 100, "nobody waits for it"
        await b.tend()
        assert [b.get(key) for key in keys] == [f"d{number}" for number in range(100)]
        server.kill()
        assert b.get(keys[0]) == "d0"
        b.put(keys[0], "other")
        with pytest.raises(BankAway):
            await b.tend()
        await link.close()
