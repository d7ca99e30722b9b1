"""The database is locked, every table of it, under load: nothing on the path asks it for anything."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.http.bodies import OFF_LOOP_BYTES
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import Street
from tests.postgres import postgres

QUICK = {"otherwise": {"answer": {"text_chars": 100}, "pace": {"event_s": 0.001}}}
SLOW = {"otherwise": {"answer": {"text_chars": 100}, "pace": {"first_event_s": 1.0, "head_s": 1.0, "event_s": 0.05}}}
ANSWER_S = 3.0
"""A table stays locked for as long as the answers take, so that who asked it would wait for ever."""
CALLS = 40
OFFICE_CALLS = 24
CONNECTIONS_MAX = 5


@pytest.fixture
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Every table, for readers too."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert tables
        for (table,) in tables:
            connection.execute(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE')
        yield
        connection.rollback()


def backends(url: str) -> list[tuple[str, str]]:
    """State, and what is waited for, of everyone else who is connected."""
    asked = "SELECT state, coalesce(wait_event_type, '') FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with psycopg.connect(url) as connection:
        return [(str(state), str(wait)) for state, wait in connection.execute(f"{asked} AND pid <> pg_backend_pid()")]


def transactions(url: str) -> set[tuple[int, object]]:
    """Process and beginning of each that anyone else has open."""
    asked = "SELECT pid, xact_start FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with psycopg.connect(url) as connection:
        return set(connection.execute(f"{asked} AND xact_start IS NOT NULL AND pid <> pg_backend_pid()").fetchall())


async def test_nothing_on_the_path_waits_for_the_database(tmp_path: Path, url: str) -> None:
    async with Simulator(parse_script(QUICK)) as sim, Street(tmp_path, sim, 1.0, database=url) as street:
        process = await street.serve_all()
        with locked(url):
            first = await street.ask(0, stream=False)
            assert first is not None
            office = [asyncio.create_task(street.reported()) for _ in range(OFFICE_CALLS)]
            await asyncio.sleep(0.5)
            assert ("active", "Lock") in backends(url), "the lock is felt"
            for number in range(1, CALLS):
                keyed = {"idempotency-key": f"call {number}"} if number % 4 == 0 else {}
                spaces = OFF_LOOP_BYTES if number % 5 == 0 else 0
                begun_s = time.monotonic()
                async with asyncio.timeout(ANSWER_S):
                    seen = await street.ask(number, stream=bool(number % 2), headers=keyed, spaces=spaces)
                assert seen is not None
                assert seen.status == 200, seen
                assert time.monotonic() - begun_s < ANSWER_S
            async with asyncio.timeout(ANSWER_S):
                await street.measured()
            assert ("active", "Lock") in backends(url), "the lock is felt to the end"
        await asyncio.gather(*office, return_exceptions=True)
        await street.agreed()
        assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]


async def test_no_connection_is_held_while_a_provider_is_waited_for(tmp_path: Path, url: str) -> None:
    async with Simulator(parse_script(SLOW)) as sim, Street(tmp_path, sim, 1.0, database=url) as street:
        process = await street.serve_all()
        calls = [asyncio.create_task(street.ask(number, stream=bool(number % 2))) for number in range(CALLS)]
        await sim.arrived(CALLS)
        assert len(backends(url)) <= CONNECTIONS_MAX
        begun = transactions(url)
        while begun & transactions(url):
            assert not any(call.done() for call in calls), f"{begun} last as long as the providers"
            await asyncio.sleep(0.02)
        assert not any(call.done() for call in calls)
        assert {seen.status for seen in await asyncio.gather(*calls) if seen is not None} == {200}
        await street.agreed()
        assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]
