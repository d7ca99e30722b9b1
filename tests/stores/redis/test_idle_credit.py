"""Credit that one process keeps and does not use comes back to the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clock import SystemClock
from gateway.domain.budget import Budget, Claim, Shortage, Unit
from gateway.domain.period import Period
from gateway.stores.accounts import IDLE_S, AccountHold, CreditAccounts
from gateway.stores.redis.bank import RedisBank
from gateway.stores.redis.link import Link
from gateway.stores.redis.rebuild import Rebuilt
from tests.clock import ToldClock
from tests.redis import served

BUDGET = Budget("life", "acme", 100_000, Unit.NANO_USD, Period.LIFETIME)


async def nothing(tenant: str) -> Rebuilt:
    return Rebuilt()


class Pair:
    """Two processes with one store; each has spent 10 and keeps one percent of what it believes to be left."""

    def __init__(self, links: list[Link]) -> None:
        self.clock = ToldClock()
        self.first, self.second = (
            CreditAccounts(self.clock, RedisBank(link, boot, nothing, grace_s=0.0), lambda _: None, boot)
            for link, boot in zip(links, ("first", "second"), strict=True)
        )

    async def begin(self) -> None:
        for accounts in (self.first, self.second):
            await spend(accounts, 10)
            await accounts.tend()


async def spend(accounts: CreditAccounts, amount: int) -> bool:
    hold = await accounts.hold("acme", [Claim(BUDGET, "acme", amount)])
    if isinstance(hold, Shortage):
        return False
    assert isinstance(hold, AccountHold)
    hold.dispatch()
    hold.settle(amount, 1)
    return True


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with served("single") as store:
        links = [Link(store.url, SystemClock(), timeout_s=1.0) for _ in range(2)]
        made = Pair(links)
        await made.begin()
        yield made
        for link in links:
            await link.close()


async def test_what_a_silent_process_keeps_is_lent_to_others(pair: Pair) -> None:
    assert not await spend(pair.second, 99_980)
    pair.clock.now_s += IDLE_S
    await pair.first.tend()
    assert await spend(pair.second, 99_980)


async def test_what_is_too_little_for_a_process_is_lent_to_others(pair: Pair) -> None:
    """It was kept when more was left; its own requests ask for more than that and are refused."""
    assert await spend(pair.second, 98_000)
    await pair.second.tend()
    assert not await spend(pair.first, 1_981)
    await pair.first.tend()
    assert await spend(pair.second, 1_980)


async def test_what_is_given_back_during_a_report_is_told_by_the_next(pair: Pair) -> None:
    held = await pair.first.hold("acme", [Claim(BUDGET, "acme", 98_000)])
    assert isinstance(held, AccountHold)
    reporting = asyncio.ensure_future(pair.first.tend())
    await asyncio.sleep(0)
    held.void()
    await reporting
    await pair.first.tend()
    assert await spend(pair.second, 98_000)
