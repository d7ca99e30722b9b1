"""Answers under idempotency keys: one suite over the stores behind ports.Answers, and what is kept over a restart."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from gateway.clock import SystemClock
from gateway.ports import Answers, BankAway, Owned, StoredAnswer
from gateway.stores.redis.answers import SharedAnswers
from gateway.stores.redis.link import Link
from gateway.stores.sql import tables
from gateway.stores.sql.answers import TTL_S, SqlAnswers
from gateway.stores.sql.engine import open_database
from tests.books import fresh
from tests.clock import ToldClock
from tests.postgres import postgres
from tests.redis import served

NAME, OTHER, SEAL, SECRET = b"n" * 32, b"o" * 32, b"seal", b"s" * 32

Open = Callable[[bytes], Answers]


@pytest.fixture(scope="module")
def pg_server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(scope="module")
def redis_() -> Iterator[Callable[[str], Any]]:
    """One server of each kind that is asked for."""
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(served(kind)))


@pytest.fixture(params=["sqlite", "postgresql", "single", "sentinels", "cluster"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Stores of processes that come one after the other, by the secret that they have."""
    if request.param in ("single", "sentinels", "cluster"):
        server = request.getfixturevalue("redis_")(request.param)
        for master in server.masters:
            master.say("FLUSHALL")
        link = Link(server.url, SystemClock(), timeout_s=5.0)
        yield lambda secret: SharedAnswers(link, secret)
        await link.close()
        return
    url = f"sqlite:///{tmp_path}/b.db" if request.param == "sqlite" else fresh(request.getfixturevalue("pg_server"))
    database = open_database(url)
    yield lambda secret: SqlAnswers(database, secret, ToldClock())
    database.close()


async def give(store: Answers, name: bytes, *frames: bytes, request: str = "r1", print_: bytes = b"f") -> None:
    assert await store.claim(name, print_, request) == Owned(request)
    for at, frame in enumerate(frames):
        assert await store.append(name, SEAL, request, at, frame)
    assert await store.renew(name, request)
    await store.end(name, request, sum(map(len, frames)))


async def test_c16_an_answer_is_there_for_whoever_asks_the_same_later(opened: Open) -> None:
    await give(opened(SECRET), NAME, b"head", b"body")
    later = opened(SECRET)
    assert await later.claim(NAME, b"f", "r2") == StoredAnswer("r1", ended=True)
    assert await later.read(NAME, SEAL, "r1", 0) == ([b"head", b"body"], True)
    assert await later.read(NAME, SEAL, "r1", 1) == ([b"body"], True)
    assert await later.claim(NAME, b"another body", "r2") is None
    assert await later.claim(OTHER, b"f", "r2") == Owned("r2")


async def test_c16_what_is_told_twice_is_there_once(opened: Open) -> None:
    store = opened(SECRET)
    await store.claim(NAME, b"f", "r1")
    for _ in range(2):
        assert await store.claim(NAME, b"f", "r1") == Owned("r1")
        assert await store.append(NAME, SEAL, "r1", 0, b"head")
    for _ in range(2):
        await store.end(NAME, "r1", 4)
    assert await opened(SECRET).read(NAME, SEAL, "r1", 0) == ([b"head"], True)


async def test_c16_an_answer_that_nobody_shall_get_again_leaves_the_key_free(opened: Open) -> None:
    store = opened(SECRET)
    await store.claim(NAME, b"f", "r1")
    await store.append(NAME, SEAL, "r1", 0, b"half")
    await store.end(NAME, "r1", None)
    await give(store, NAME, b"whole", request="r2", print_=b"other")
    assert await opened(SECRET).read(NAME, SEAL, "r2", 0) == ([b"whole"], True)


async def test_c16_without_the_secret_or_the_key_nothing_can_be_read(opened: Open) -> None:
    store = opened(SECRET)
    await give(store, NAME, b"a secret of ours")
    assert await opened(b"x" * 32).read(NAME, SEAL, "r1", 0) is None
    assert await opened(SECRET).read(NAME, b"another key", "r1", 0) is None


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Any]:
    database = open_database(f"sqlite:///{tmp_path}/b.db")
    yield database
    database.close()


def rows(database: Any) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.answers)).scalar_one())


async def test_c16_answers_are_kept_for_a_day_and_the_oldest_go_first(sqlite: Any) -> None:
    clock = ToldClock()
    store = SqlAnswers(sqlite, SECRET, clock, bytes_max=100)
    for number in range(5):
        clock.now_s += 1
        await give(store, bytes([number]) * 32, b"x" * 40, request=f"r{number}")
    kept = SqlAnswers(sqlite, SECRET, clock, bytes_max=100)
    found = [await kept.claim(bytes([number]) * 32, b"f", "again") for number in range(5)]
    assert found == [Owned("again")] * 3 + [StoredAnswer("r3", ended=True), StoredAnswer("r4", ended=True)]
    assert rows(sqlite) <= 3, "what went is deleted with the next one that comes"
    clock.now_s += TTL_S - 0.5
    assert await kept.claim(bytes([3]) * 32, b"f", "again") == Owned("again")
    assert await kept.claim(bytes([4]) * 32, b"f", "again") == StoredAnswer("r4", ended=True)
    clock.now_s += 1
    SqlAnswers(sqlite, SECRET, clock)
    assert rows(sqlite) == 0


async def test_c16_a_database_that_fails_costs_no_call_and_gives_no_half_answer(
    sqlite: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqlAnswers(sqlite, SECRET, ToldClock())
    await give(store, NAME, b"head")
    with sqlite.begin() as connection:
        connection.execute(text("ALTER TABLE answers RENAME TO gone"))
    with pytest.raises(BankAway):
        await store.read(NAME, SEAL, "r1", 0)
    await give(store, OTHER, b"head")
    assert "1 answers under idempotency keys will not outlive this process" in caplog.text
    with sqlite.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO answers"))
    assert await store.read(NAME, SEAL, "r1", 0) == ([b"head"], True)
    assert await store.claim(OTHER, b"f", "r2") == Owned("r2")


async def test_c16_what_has_vanished_from_the_database_is_called_again(sqlite: Any) -> None:
    store = SqlAnswers(sqlite, SECRET, ToldClock())
    await give(store, NAME, b"head")
    with sqlite.begin() as connection:
        connection.execute(tables.answers.delete())
    assert await store.read(NAME, SEAL, "r1", 0) is None
    assert await store.claim(NAME, b"f", "r2") == Owned("r2")
