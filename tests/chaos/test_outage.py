"""The workers' store is killed, frozen, emptied and failed over under load: nothing is lost, doubled or overspent."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import NANO, Street, lent_out
from tests.redis import Sentinels, Server, served

SCRIPT = {"otherwise": {"answer": {"text_chars": 100}, "pace": {"first_event_s": 0.002, "event_s": 0.001}}}
WORKERS = 2
CALLERS = 16
OPEN_S = 0.15
"""What it takes to learn that a store is silent (R2)."""

Harm = Callable[[Any], Awaitable[None]]


@contextlib.asynccontextmanager
async def street_of(folder: Path, store: Any, budget_usd: float, **tenant: Any) -> AsyncIterator[Street]:
    async with (
        Simulator(parse_script(SCRIPT)) as sim,
        Street(folder, sim, budget_usd, WORKERS, store, tenant=tenant) as street,
    ):
        process = await street.serve_all()
        try:
            yield street
        finally:
            assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]


async def harmed(street: Street, harm: Harm, store: Any) -> None:
    """Callers call from before the harm until after it."""
    ended = asyncio.Event()

    async def caller(number: int) -> None:
        while not ended.is_set():
            seen = await street.ask(number, stream=bool(number % 3))
            assert seen is not None, "every request has its answer"
            assert seen.status == 200 or seen.error["code"] in ("budget_exceeded", "store_unavailable"), seen
            number += 100
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(caller(number))
        await asyncio.sleep(0.5)
        await harm(store)
        await asyncio.sleep(1.0)
        ended.set()


async def serves_again(street: Street) -> None:
    until_s = time.monotonic() + 10.0
    while (seen := await street.ask(7, stream=False)) is None or seen.status != 200:
        assert time.monotonic() < until_s, seen
        await asyncio.sleep(0.05)


def killed(times: int, dice: random.Random) -> Harm:
    async def harm(store: Server) -> None:
        for _ in range(times):
            await asyncio.to_thread(store.kill)
            await asyncio.sleep(dice.uniform(0.0, 0.3))
            await asyncio.to_thread(store.start)
            await asyncio.sleep(dice.uniform(0.1, 0.6))

    return harm


def emptied(times: int, dice: random.Random) -> Harm:
    async def harm(store: Server) -> None:
        for turn in range(times):
            await asyncio.to_thread(store.say, *(("FLUSHALL",) if turn % 2 else ("SCRIPT", "FLUSH")))
            await asyncio.sleep(dice.uniform(0.1, 0.6))

    return harm


def frozen(times: int, dice: random.Random) -> Harm:
    async def harm(store: Server) -> None:
        for _ in range(times):
            store.stop()
            await asyncio.sleep(dice.uniform(0.05, 1.0))
            store.cont()
            await asyncio.sleep(dice.uniform(0.1, 1.0))

    return harm


SHORT, LONG = 4, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(300)])


@pytest.mark.parametrize("times", [SHORT, LONG])
@pytest.mark.parametrize("harms", [killed, emptied, frozen])
async def test_f9_f12_a_harmed_store_loses_and_doubles_nothing(
    tmp_path: Path, harms: Callable[[int, random.Random], Harm], times: int
) -> None:
    with served("single") as store:
        async with street_of(tmp_path, store, 1_000.0) as street:
            await harmed(street, harms(times, random.Random(12)), store)
            await serves_again(street)
            _, _, spent = await street.agreed()
            print(f"[{len(street.answers)} answers, {spent / NANO:.6f} USD] ", end="")


async def test_f10_a_failover_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async def harm(store: Sentinels) -> None:
        master = store.master
        await asyncio.to_thread(master.kill)
        until_s = time.monotonic() + 15.0
        while store.master is master:
            assert time.monotonic() < until_s, "the sentinels name no other master"
            await asyncio.sleep(0.05)

    with served("sentinels") as store:
        async with street_of(tmp_path, store, 1_000.0) as street:
            await harmed(street, harm, store)
            await serves_again(street)
            await street.agreed()


async def test_a6_an_outage_spends_no_more_than_was_lent_before_it(tmp_path: Path) -> None:
    """At the limit, where every credit counts: after the store is back, all that is left is spent, and no more."""
    with served("single") as store:
        async with street_of(tmp_path, store, 0.05) as street:

            async def harm(_: Server) -> None:
                await asyncio.sleep(0.5)
                ((spent, lent),) = lent_out(store)
                await asyncio.to_thread(store.kill)
                await asyncio.sleep(2.0)
                after = (await asyncio.to_thread(street.booked))[2]
                assert after <= spent + lent, (after, spent, lent)
                await asyncio.to_thread(store.start)

            await harmed(street, harm, store)
            await exhausted(street)
            _, _, spent = await street.agreed()
            assert 0.95 * 0.05 * NANO <= spent <= 0.05 * NANO


async def exhausted(street: Street) -> None:
    until_s = time.monotonic() + 30.0
    while (seen := await street.ask(7, stream=False)) is None or seen.status != 402 or seen.error["retryable"]:
        assert time.monotonic() < until_s, seen


@pytest.mark.parametrize("silent_s", [4.0, pytest.param(30.0, marks=[pytest.mark.long, pytest.mark.timeout(120)])])
async def test_f8_a_frozen_store_holds_nobody_up(tmp_path: Path, silent_s: float) -> None:
    limits = {"requests_per_minute": 1_000_000, "tokens_per_minute": 1_000_000_000, "concurrent": 1_000}
    spans: list[tuple[float, float]] = []

    async def harm(store: Server) -> None:
        await asyncio.sleep(silent_s)
        store.stop()
        spans.append((time.monotonic() + OPEN_S, time.monotonic() + silent_s))
        await asyncio.sleep(silent_s)
        store.cont()

    with served("single") as store:
        async with street_of(tmp_path, store, 1_000.0, limits=limits) as street:
            await harmed(street, harm, store)
            ((from_s, to_s),) = spans
            before = [lasted_s for at_s, lasted_s in street.lasted_s if at_s + lasted_s < from_s - OPEN_S]
            during = [lasted_s for at_s, lasted_s in street.lasted_s if from_s <= at_s < to_s]
            base_s, worst_s = (sorted(lasts)[len(lasts) * 99 // 100] for lasts in (before, during))
            print(f"[p99 {base_s * 1000:.0f} ms, frozen {worst_s * 1000:.0f} ms, {len(during)} requests] ", end="")
            assert len(during) > 20 * silent_s
            assert worst_s <= base_s + (0.06 if silent_s > 10.0 else 0.5)
            await street.agreed()
