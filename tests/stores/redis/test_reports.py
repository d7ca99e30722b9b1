"""What a process says it has spent, while the counters are put together from the ledger."""

import pytest

from gateway.ports import BankAway
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
        assert await soon(lambda: bank.report("acme", standing(160, 0))) == [160]
        assert await soon(lambda: bank.report("acme", standing(190, 0))) == [190]
