"""The books of a process, and what they do for those that died."""

import asyncio
import threading
from pathlib import Path
from typing import cast

import pytest

from gateway.app import books as room
from gateway.app.books import Books
from gateway.clock import SystemClock
from gateway.domain.fact import Booking, Closed, Opened
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.filing import Span
from gateway.ports import BankAway, Ledger, StoreFailed
from gateway.stores.bank import OwnBank
from gateway.stores.journal import FileJournal, segments
from gateway.stores.sql.opening import Kept

BOUND_S = 10.0


async def nothing(of: object) -> None:
    del of


@pytest.mark.parametrize("away", [BankAway, StoreFailed])
async def test_what_a_dead_process_spent_is_told_once_the_shared_bank_is_back(away: type[Exception]) -> None:
    told: list[str] = []
    heard = asyncio.Event()

    async def finish(boot: str) -> None:
        told.append(boot)
        if len(told) < 3:
            raise away("away")
        heard.set()

    clock = SystemClock()
    books = Books(clock, lambda crossing: None)
    books.share(OwnBank(clock), finish, nothing, nothing)
    books._dead.append("gone")
    async with books:
        await books.finish_dead()
        assert told == ["gone"]
        async with asyncio.timeout(BOUND_S):
            await heard.wait()
    assert told == ["gone"] * 3


async def test_the_dead_are_told_of_once_each_also_where_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that tells of them, and the turns of the running gateway meanwhile."""
    monkeypatch.setattr(room, "TEND_S", 0.001)
    told: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def finish(boot: str) -> None:
        told.append(boot)
        begun.set()
        await go_on.wait()

    clock = SystemClock()
    books = Books(clock, lambda crossing: None)
    books.share(OwnBank(clock), finish, nothing, nothing)
    books._dead += ["one", "other"]
    async with books:
        starting = asyncio.create_task(books.finish_dead())
        await begun.wait()
        await asyncio.sleep(0.02)
        go_on.set()
        await starting
        assert sorted(told) == ["one", "other"]
        books._dead.append("another one")
        async with asyncio.timeout(BOUND_S):
            while "another one" not in told:
                await asyncio.sleep(0.001)


async def test_what_a_process_spends_is_told_whatever_went_wrong_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TEND_S", 0.001)
    turns, broken = asyncio.Semaphore(0), True
    books = Books(SystemClock(), lambda crossing: None)

    async def tend() -> None:
        turns.release()
        if broken:
            raise RuntimeError("nobody foresaw it")

    monkeypatch.setattr(books.accounts, "tend", tend)
    async with books:
        for _ in range(3):
            async with asyncio.timeout(BOUND_S):
                await turns.acquire()
        broken = False


async def test_a_correction_that_fails_while_others_are_told_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TEND_S", 0.001)
    told: list[str | None] = []
    again, go_on = asyncio.Event(), asyncio.Event()

    async def correct(tenant: str | None) -> None:
        told.append(tenant)
        if tenant is not None:
            raise BankAway("away")
        again.set()
        await go_on.wait()

    clock = SystemClock()
    books = Books(clock, lambda crossing: None)
    books.share(OwnBank(clock), nothing, nothing, correct)
    async with books, asyncio.timeout(BOUND_S):
        await books.correct("one")
        await again.wait()
        await books.correct("other")
        go_on.set()
        while told != ["one", None, "other", None]:
            await asyncio.sleep(0.001)


async def test_a_dead_process_waits_until_the_budgets_are_known() -> None:
    told: list[str] = []

    async def finish(boot: str) -> None:
        told.append(boot)

    clock = SystemClock()
    books = Books(clock, lambda crossing: None)
    books.share(OwnBank(clock), finish, nothing, nothing)
    books._dead.append("gone")
    await books.__aenter__()
    try:
        for _ in range(3):
            await asyncio.sleep(0)
        assert told == []
    finally:
        await books.__aexit__(None, None, None)
    assert told == []


async def test_a_dead_process_is_told_of_also_when_the_one_that_read_its_journal_dies_too(tmp_path: Path) -> None:
    told: list[str] = []
    away = True

    async def finish(boot: str) -> None:
        if away:
            raise BankAway("away")
        told.append(boot)

    async def live() -> None:
        books = Books(clock, lambda crossing: None)
        books.share(OwnBank(clock), finish, nothing, nothing)
        books.keep(kept.ledger, folder)
        async with books:
            await books.finish_dead()

    clock, kept = SystemClock(), Kept(f"sqlite:///{tmp_path}/books.db")
    folder = tmp_path / "journal"
    FileJournal(folder, "gone").close()
    await live()
    assert not segments(folder, "gone"), "its facts are in the ledger"
    away = False
    for _ in range(2):
        await live()
    assert told == ["gone"]
    assert not list(folder.iterdir())
    kept.close()


async def test_the_ledger_misses_nothing_where_several_wait_for_it_at_once(tmp_path: Path) -> None:
    """`ledger verify`, an orderly end and the gateway's own task all follow the journal; one of them has left."""
    kept = Kept(f"sqlite:///{tmp_path}/books.db")
    writing, go_on, alone = threading.Event(), threading.Event(), threading.Lock()

    class SlowLedger:
        def append(self, entries: list[Entry]) -> None:
            assert alone.acquire(blocking=False), "a thread that returns forgets what the other has read"
            kept.ledger.append(entries)
            writing.set()
            go_on.wait(BOUND_S)
            alone.release()

    books = Books(SystemClock(), lambda crossing: None)
    books.keep(cast(Ledger, SlowLedger()), tmp_path / "journal")
    async with books:
        written(books, "r1")
        left = asyncio.create_task(books.caught_up())
        await asyncio.to_thread(writing.wait, BOUND_S)
        left.cancel()
        written(books, "r2")
        others = [asyncio.create_task(books.caught_up()) for _ in range(2)]
        await asyncio.sleep(0.1)
        go_on.set()
        await asyncio.gather(*others)
        assert [entry.request_id for _, entry in kept.ledger.entries(Span(), 0, 10)] == ["r1", "r2"]
    kept.close()


def written(books: Books, name: str) -> None:
    booking = Booking("acme", "key", "m", "a", "gpt", "p")
    books.journal.open(Opened(f"{name}.1", 1.0, 20, 3_000, 120), booking)
    books.journal.write(Closed(f"{name}.1", EntryKind.POST, 2.0, Usage(20, 5), 700, 25, Provenance.EXACT, "p"))
