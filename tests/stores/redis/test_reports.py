"""What a process says it has spent, while the counters are put together from the ledger."""

import asyncio

import pytest

from gateway.ports import BankAway, Total
from tests.stores.redis.test_store_rows import House, a_server, house, soon, standing, want

__all__ = ["house"]


@pytest.mark.parametrize("known", [True, False], ids=["lost", "away-since-the-start"])
async def test_r7_a_report_that_meets_a_rebuild_counts_nothing_twice(house: House, known: bool) -> None:
    """Requests end while it is under way, and the ledger has them before the counters are made of it."""
    with a_server() as server:
        bank = house.bank(server.url, "a")
        if known:
            await soon(lambda: bank.lease("acme", "1", want(10)))
            await soon(lambda: bank.report("acme", standing(100, 0)))
            server.say("FLUSHALL")
        house.books["a"] = {"day": 160}
        with pytest.raises(BankAway, match="anew"):
            await bank.report("acme", standing(100, 0))
        assert await soon(lambda: bank.report("acme", standing(160, 0))) == [Total(160, 0)]
        assert await soon(lambda: bank.report("acme", standing(190, 0))) == [Total(190, 0)]


async def test_r7_nor_does_one_that_came_before_the_rebuild_and_waited_for_another_call(house: House) -> None:
    with a_server() as server:
        bank = house.bank(server.url, "a")
        await soon(lambda: bank.report("acme", standing(100, 0)))
        server.say("FLUSHALL")
        house.books["a"] = {"day": 160}
        _, reported = await asyncio.gather(
            bank.lease("acme", "1", want(10)), bank.report("acme", standing(100, 0)), return_exceptions=True
        )
        assert isinstance(reported, BankAway)
        assert await soon(lambda: bank.report("acme", standing(190, 0))) == [Total(190, 0)]


async def test_r7_nor_does_one_that_has_to_say_something_else_first(house: House) -> None:
    """The answer to a lease was lost, and what is known here goes before everything."""
    with a_server() as server:
        bank = house.bank(server.url, "a", timeout_s=0.2)
        await soon(lambda: bank.report("acme", standing(100, 0)))
        server.stop()
        with pytest.raises(BankAway):
            await bank.lease("acme", "1", want(10))
        server.cont()
        server.say("FLUSHALL")
        house.books["a"] = {"day": 160}
        with pytest.raises(BankAway, match="anew"):
            await bank.report("acme", standing(100, 0))
        assert await soon(lambda: bank.report("acme", standing(190, 0))) == [Total(190, 0)]
