"""What a process says it has spent, while the counters are put together from the ledger."""

import asyncio
from functools import partial

import pytest

from gateway.ports import BankAway, Denied, Grant, Standing, Total, Want
from tests.stores.redis.test_store_rows import CLOCK, ENDS_S, House, a_server, house, soon, standing, want

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


async def test_r7_what_was_just_spent_counts_also_where_the_ledger_does_not_have_it_yet(house: House) -> None:
    """Nothing is left of its credit, so that nothing else would be told of it."""
    with a_server() as server:
        a, b = house.bank(server.url, "a"), house.bank(server.url, "b")
        for bank in (a, b):
            await soon(partial(bank.lease, "acme", "0", want(60)))
            await bank.report("acme", standing(60, 0))
        house.books = {"a": {"day": 60}, "b": {"day": 40}}
        server.say("FLUSHALL")
        assert await soon(lambda: a.lease("acme", "1", want(1))) == [Grant("day", 1, 100, 60)]
        await b.sweep()
        assert await a.lease("acme", "2", want(880)) == Denied("day", 879, 120)


async def test_what_was_spent_is_not_said_for_ever(house: House) -> None:
    with a_server() as server:
        bank = house.bank(server.url, "a")
        await soon(lambda: bank.lease("acme", "0", [Want(name, 100, 10, 10, ENDS_S) for name in ("x", "y")]))
        await bank.report("acme", [Standing(name, 5, credit, 100, ENDS_S) for name, credit in (("x", 0), ("y", 5))])
        book = bank._book("acme")
        assert (set(book.told), set(book.spent_s)) == ({"x", "y"}, {"x"})
        book.forget(CLOCK.monotonic_s() + 1.0)
        assert (set(book.told), set(book.spent_s)) == ({"y"}, set())
