"""A7, C16: a call under an idempotency key is made and paid once, whichever process is asked and in any order."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import Street
from tests.redis import Server, served
from tests.rows.talk import Seen

SCRIPT = {"otherwise": {"answer": {"text_chars": 200}, "pace": {"first_event_s": 0.01, "event_s": 0.002}}}


@pytest.fixture
def store() -> Iterator[Server]:
    with served("single") as made:
        yield made


@pytest.fixture
async def street(tmp_path: Path, store: Server) -> AsyncIterator[Street]:
    async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1_000.0, 2, store) as street:
        process = await street.serve_all()
        yield street
        assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]


async def items(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = (await client.get(f"/admin/v1{path}")).json()["items"]
    return told


async def turn(street: Street, number: int) -> Seen:
    seen = await street.ask(number, stream=bool(number % 2), headers={"idempotency-key": f"turn-{number}"})
    assert seen is not None
    assert seen.status == 200, seen
    return seen


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_a7_duplicates_at_two_processes_are_one_call_and_one_charge_each(street: Street, count: int) -> None:
    dice, gate = random.Random(7), asyncio.Semaphore(60)
    numbers = [dice.randrange(count // 20) for _ in range(count)]
    bodies: dict[int, set[bytes]] = {}

    async def one(number: int) -> None:
        async with gate:
            bodies.setdefault(number, set()).add((await turn(street, number)).body)

    before = len(street.sim.bill)
    await asyncio.gather(*(one(number) for number in numbers))
    assert all(len(seen) == 1 for seen in bodies.values()), "all callers of a key see the same bytes"
    assert len(street.sim.bill) - before == len(bodies)
    told = [("x-gateway-replayed" in seen.headers, "x-gateway-joined" in seen.headers) for seen in street.answers]
    assert told.count((True, False)) > 0
    assert told.count((False, True)) > 0
    await street.agreed()
    async with street.office() as client, asyncio.timeout(20):
        counts = len(street.sim.bill), len(told) - told.count((False, False))
        while [(row["requests"], row["replays"]) for row in await items(client, "/usage?group_by=tenant")] != [counts]:
            await asyncio.sleep(0.1)
        assert (await client.get("/admin/v1/ledger/verify", timeout=20)).json() == {"agree": True, "differences": []}


async def test_c16_an_answer_outlives_the_processes_that_gave_it(street: Street, tmp_path: Path, store: Server) -> None:
    first = await turn(street, 1)
    folder = tmp_path / "twin"
    folder.mkdir()
    async with Street(tmp_path, street.sim, 1_000.0, 1, store, runs=100) as other:
        process = await other.serve()
        again = await turn(other, 1)
        assert (again.body, again.headers["x-gateway-replayed"]) == (first.body, "true")
        assert await asyncio.to_thread(process.stop) == 0


async def test_c16_what_the_store_keeps_of_an_answer_tells_nothing(street: Street, store: Server) -> None:
    seen = await turn(street, 2)
    kept, frames = list[bytes](), b""
    async with asyncio.timeout(10):
        while len(frames) <= len(seen.body):  # an answer goes to the store beside its caller
            kept = [key for key in store.say("KEYS", "gw.i:*") if store.say("TYPE", key) == b"list"]
            frames = b"".join(frame for key in kept for frame in store.say("LRANGE", key, 0, -1))
            await asyncio.sleep(0.01)
    assert seen.text[:40].encode() not in frames
    assert b"turn-2" not in b"".join([*kept, frames])
