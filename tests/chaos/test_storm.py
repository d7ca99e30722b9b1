"""F17: two thousand callers hang up at random points, and nothing of them is left."""

import asyncio
import gc
import random
import time

import psutil

from tests.chaos.crowd import crowd, served
from tests.conftest import SEED
from tests.rows.house import House, standing
from tests.rows.talk import hang_up

CALLERS = 2_000
AT_ONCE = 100
SLOW = {
    "rules": [
        {"when": {"says": "storm*", "stream": True}, "answer": {"text_chars": 240}, "pace": {"event_s": 0.004}},
        {"when": {"says": "storm*"}, "pace": {"head_s": 0.2}},
    ]
}


async def test_f17_a_storm_of_hang_ups_closes_every_call_upstream_and_leaves_nothing() -> None:
    dice = random.Random(SEED)
    async with standing(route={"timeouts": {"first_token_s": 5.0, "idle_s": 5.0, "total_s": 20.0}}, a=SLOW) as house:
        sim, upstream = house.sims["a"], house.gateway.upstream
        await crowd(house, 20, first=10_000)
        upstream.drop_idle()
        await quiet(house)
        tasks, files = len(asyncio.all_tasks()), descriptors()
        sim.reset()
        house.records.clear()

        left_s: dict[str, float] = {}
        plans = [(number, dice.random() < 0.6, dice.random()) for number in range(CALLERS)]
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(caller(house, plans, left_s))
        await sim.idle()
        await quiet(house)

        requests = {record.request_id: record for record in house.records}
        assert len(requests) == len(house.records)
        lags_s = []
        for line in sim.bill:
            record = requests.pop(line.id)  # every call upstream is on record, once
            if line.client_left_s is not None and record.run_id in left_s:
                assert record.client_gone
                assert record.status == 499
                lags_s.append(line.client_left_s - left_s[record.run_id])
        assert all(not record.attempts or record.client_gone for record in requests.values())
        lags_s.sort()
        p99_s = lags_s[len(lags_s) * 99 // 100]
        print(f"F17: {len(lags_s)} of {CALLERS} cut upstream, p50 {lags_s[len(lags_s) // 2] * 1e3:.1f} ms, "
              f"p99 {p99_s * 1e3:.1f} ms, worst {lags_s[-1] * 1e3:.1f} ms")  # fmt: skip
        assert len(lags_s) > CALLERS // 2
        assert p99_s <= 0.5

        assert house.line("a").in_flight == 0
        assert house.health("a") == "well"
        for stats in upstream.stats().values():
            assert stats.open == stats.idle
        answers = await crowd(house, 100, at_once=16)
        assert sum(map(served, answers)) == 100
        upstream.drop_idle()
        await quiet(house)
        gc.collect()
        assert len(asyncio.all_tasks()) == tasks
        assert descriptors() == files


async def caller(house: House, plans: list[tuple[int, bool, float]], left_s: dict[str, float]) -> None:
    """Takes one plan after the other: asks, and leaves at the point that it names."""
    while plans:
        number, stream, point = plans.pop()
        run_id = f"storm-{number}"
        message = house.message(run_id, stream=stream, headers={"x-run-id": run_id}, caller=("one", "two")[number % 2])
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(message)
        if stream and point > 0.1:
            await some(reader, int(point * 16_000))
        else:
            await asyncio.sleep(point * 0.1)
        left_s[run_id] = time.monotonic()
        await hang_up(writer)


async def some(reader: asyncio.StreamReader, wanted_bytes: int) -> None:
    while wanted_bytes > 0 and (piece := await reader.read(1 << 12)):
        wanted_bytes -= len(piece)


async def quiet(house: House) -> None:
    """Until the gateway has no request and no connection left; at most five seconds."""
    async with asyncio.timeout(5):
        state = house.gateway.server.server_state
        while state.tasks or state.connections or house.sims["a"].connection_count > pooled(house):
            await asyncio.sleep(0.005)


def descriptors() -> int:
    """Without those of the database, whose pool opens a further connection where two threads ask at once."""
    process = psutil.Process()
    return process.num_fds() - sum("books.db" in file.path for file in process.open_files())


def pooled(house: House) -> int:
    return sum(stats.open for stats in house.gateway.upstream.stats().values())
