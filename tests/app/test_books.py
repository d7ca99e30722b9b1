"""The books of a process, and what they do for those that died."""

import asyncio

import pytest

from gateway.app.books import Books
from gateway.clock import SystemClock
from gateway.ports import BankAway, StoreFailed
from gateway.stores.bank import OwnBank

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
