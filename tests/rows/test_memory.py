"""P3: before memory is full, requests are turned away; a process that is killed all the same is started again."""

import asyncio
from pathlib import Path

import psutil
import pytest

from gateway.domain.request import Priority
from gateway.sim.server import Simulator
from gateway.telemetry.memory import BACKGROUND, EVERYBODY, NOBODY, resident_bytes, shed_at
from tests.chaos.street import Street
from tests.e2e.processes import Process
from tests.redis import served
from tests.rows.house import standing


@pytest.mark.parametrize(("percent", "shed"), [(0, NOBODY), (89, NOBODY), (90, BACKGROUND), (100, EVERYBODY)])
def test_p3_background_work_is_turned_away_first(percent: int, shed: frozenset[Priority]) -> None:
    assert shed_at(percent * 10**7, 10**9) == shed


def test_p3_the_memory_of_this_process_is_known() -> None:
    assert 10**7 < resident_bytes() < psutil.virtual_memory().total


async def test_p3_a_gateway_above_its_mark_sheds_and_serves_again_below_it() -> None:
    used = resident_bytes()
    document = {"server": {"grace_s": 5.0, "memory_bytes": max(128 * 1024**2, int(used * 0.9))}}
    ballast = bytearray(200 * 1024**2)
    async with standing(a={}, extra={"database": "memory", **document}) as house:
        while not house.gateway.door.shed:
            await asyncio.sleep(0.01)
        seen = await house.ask()
        assert (seen.status, seen.error["code"], seen.headers["retry-after"]) == (503, "gateway_overloaded", "1")
        assert house.calls("a") == 0
        del ballast


async def test_p3_a_worker_that_is_killed_is_there_again_within_a_second(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator() as sim, Street(tmp_path, sim, 1.0, 2, store) as street:
            process = await street.serve_all()
            try:
                workers = psutil.Process(process.pid).children()
                workers[0].kill()
                workers[0].wait(5)
                async with asyncio.timeout(5):
                    while len(psutil.Process(process.pid).children()) < 2:
                        await asyncio.sleep(0.01)
                await street.ready()
            finally:
                assert await asyncio.to_thread(process.stop) == 0


async def test_p2_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator() as sim, Street(tmp_path, sim, 1.0, 2, store) as street:
            process = await street.serve_all()
            await ended_without(process)


async def test_p2_workers_end_with_a_supervisor_that_is_killed_before_they_serve(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator() as sim, Street(tmp_path, sim, 1.0, 2, store) as street:
            process = street.begin()
            async with asyncio.timeout(10):
                while len(psutil.Process(process.pid).children()) < 2:
                    await asyncio.sleep(0.001)
            await ended_without(process)


async def ended_without(supervisor: Process) -> None:
    """Its two workers, once it was killed."""
    workers = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 20)
    assert (len(workers), alive) == (2, [])
