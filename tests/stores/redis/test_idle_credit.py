"""Credit that one process keeps and does not use comes back to the others; a debt of one is not lent by another."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clock import SystemClock
from gateway.domain.budget import Budget, Claim, Shortage, Unit
from gateway.domain.period import Period
from gateway.stores.account import FORGET_S, IDLE_S
from gateway.stores.accounts import SWEEP_S, AccountHold, CreditAccounts
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
    settle(hold, amount)
    return True


async def held(accounts: CreditAccounts, amount: int) -> AccountHold:
    hold = await accounts.hold("acme", [Claim(BUDGET, "acme", amount)])
    assert isinstance(hold, AccountHold)
    return hold


def settle(hold: AccountHold, amount: int) -> None:
    hold.dispatch()
    hold.settle(amount, 1)


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
    hold = await held(pair.first, 98_000)
    reporting = asyncio.ensure_future(pair.first.tend())
    await asyncio.sleep(0)
    hold.void()
    await reporting
    await pair.first.tend()
    assert await spend(pair.second, 98_000)


async def test_a_process_that_has_forgotten_an_account_goes_on_from_what_it_had_spent(pair: Pair) -> None:
    for spent in (10, 20):
        pair.clock.now_s += FORGET_S
        for _ in range(2):
            await pair.first.tend()
            pair.clock.now_s += SWEEP_S
        assert not pair.first._accounts
        assert await pair.first.counted(BUDGET, ["acme"]) == {"acme": spent + 10}
        assert await spend(pair.first, 10)
        await pair.first.tend()
    assert not await spend(pair.second, 99_961)
    pair.clock.now_s += IDLE_S
    await pair.first.tend()
    assert await spend(pair.second, 99_960)


async def test_what_a_process_owes_is_paid_first_while_another_holds_the_rest(pair: Pair) -> None:
    other = await held(pair.second, 50_000)
    long, cheap = await held(pair.first, 9_000), await held(pair.first, 30_000)
    settle(long, 25_000)
    await pair.first.tend()
    settle(cheap, 0)
    assert not await spend(pair.first, 24_981), "25 020 are spent and 50 000 are held of 100 000"
    other.void()
    pair.clock.now_s += IDLE_S
    await pair.second.tend()
    await pair.first.tend()
    assert await spend(pair.first, 74_980)
