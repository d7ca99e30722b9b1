"""What one process is told holds in all: a revoked key; and none gives its counters to a store that may drop them."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import Street
from tests.redis import served

SCRIPT = {"otherwise": {"answer": {"text_chars": 40}}}
KNOWN_S = 1.0
"""Within which every other process knows of a change (docs/admin.md)."""


async def statuses(street: Street, key: str, calls: int = 16) -> set[int]:
    """Of calls over new connections, which the processes of a street share among each other."""
    headers = {"authorization": f"Bearer {key}"}
    seen = await asyncio.gather(*(street.ask(number, stream=False, headers=headers) for number in range(calls)))
    return {0 if one is None else one.status for one in seen}


async def test_a_revoked_key_is_refused_by_every_other_process_within_a_second(tmp_path: Path) -> None:
    """Two workers on one port, and a replica of their own on another, over one database."""
    with served("single") as store:
        async with (
            Simulator(parse_script(SCRIPT)) as sim,
            Street(tmp_path, sim, 1_000.0, 2, store) as workers,
            Street(tmp_path, sim, 1_000.0, 1, store, runs=100) as replica,
        ):
            processes = [await workers.serve_all(), await replica.serve_all()]
            async with workers.office() as client:
                made = (await client.post("/admin/v1/tenants/t/keys", json={})).json()
                for street in (workers, replica):
                    async with asyncio.timeout(KNOWN_S):
                        while await statuses(street, made["key"]) != {200}:
                            await asyncio.sleep(0.02)
                gone = await client.delete(f"/admin/v1/tenants/t/keys/{made['id']}")
                assert gone.status_code in (200, 204)
            revoked_s = time.monotonic()
            while (told := [await statuses(street, made["key"]) for street in (workers, replica)]) != [{401}, {401}]:
                assert time.monotonic() < revoked_s + KNOWN_S, told
            for process in processes:
                assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]


async def test_r7_a_store_that_may_evict_counters_is_refused_at_the_start_and_when_it_comes_later(
    tmp_path: Path,
) -> None:
    with served("single") as store:
        async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1_000.0, 1, store) as street:
            store.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            with pytest.raises(AssertionError, match=r"ended with 1: .*'allkeys-lru'.* set it to 'noeviction'"):
                await street.serve()
            store.kill()
            process = await street.serve()
            store.start("--maxmemory-policy", "allkeys-lru")
            until_s = time.monotonic() + 10.0
            while "set it to 'noeviction'" not in process.said:
                assert time.monotonic() < until_s, process.said
                await asyncio.sleep(0.05)
            seen = await street.ask(0, stream=False)
            assert seen is not None
            assert (seen.status, seen.error["code"]) == (503, "store_unavailable")
            assert store.say("DBSIZE") == 0
            store.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
            while (seen := await street.ask(0, stream=False)) is None or seen.status != 200:
                assert time.monotonic() < until_s + 10.0, seen
                await asyncio.sleep(0.05)
            await street.agreed()
            assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]
