"""What every shared bank promises: one suite over the oracle and over real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

from gateway.clock import SystemClock
from gateway.ports import Bank, BankAway, Denied, Grant, Standing, Total, Want
from gateway.stores.redis.bank import RedisBank
from gateway.stores.redis.link import Link
from gateway.stores.redis.rebuild import Rebuilt
from tests.redis import served
from tests.stores.redis.oracle import Oracle

ENDS_S = 4e9
_T = TypeVar("_T")
Opened = Callable[[str], Bank]


class OracleBank:
    """Implements ports.Bank; tickets are remembered until the next report of their boot."""

    def __init__(self, oracle: Oracle, boot: str) -> None:
        self._oracle = oracle
        self._boot = boot
        self._tickets: dict[str, Sequence[Grant]] = {}

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        assert tenant == "acme"
        if ticket in self._tickets:
            return self._tickets[ticket]
        answer = self._oracle.lease(self._boot, wants)
        if not isinstance(answer, Denied):
            self._tickets[ticket] = answer
        return answer

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        assert tenant == "acme"
        self._tickets.clear()
        return self._oracle.report(self._boot, standings)


class Patient:
    """The first call to an empty store finds it being rebuilt: on a busy machine it has to be made again."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        return await patiently(lambda: self._bank.lease(tenant, ticket, wants))

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        return await patiently(lambda: self._bank.report(tenant, standings))


async def patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    for _ in range(20):
        try:
            return await call()
        except BankAway:
            await asyncio.sleep(0.05)
    return await call()


async def nothing(tenant: str) -> Rebuilt:
    del tenant
    return Rebuilt()


@pytest.fixture(scope="module", params=["oracle", "single", "sentinels", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "oracle":
        yield None
        return
    with served(request.param) as made:
        yield made


@pytest.fixture
async def opened(server: Any) -> AsyncIterator[Opened]:
    """A bank for each boot, over the same empty store."""
    async with AsyncExitStack() as stack:
        oracle = Oracle()
        for one in [] if server is None else server.masters:
            one.say("FLUSHALL")

        def open_bank(boot: str) -> Bank:
            if server is None:
                return OracleBank(oracle, boot)
            link = Link(server.url, SystemClock(), timeout_s=5.0)
            stack.push_async_callback(link.close)
            return Patient(RedisBank(link, boot, nothing, grace_s=0.0))

        yield open_bank


def want(counter: str, need: int, wish: int | None = None, limit: int = 1_000) -> Want:
    return Want(counter, limit, need, need if wish is None else wish, ENDS_S)


def standing(counter: str, spent: int, credit: int) -> Standing:
    return Standing(counter, spent, credit, 1_000, ENDS_S)


async def test_a_lease_grants_the_wish_or_what_is_left_of_it(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    assert await a.lease("acme", "1", [want("day", 10, 700)]) == [Grant("day", 700, 0)]
    assert await b.lease("acme", "2", [want("day", 10, 700)]) == [Grant("day", 300, 0)]
    assert await b.lease("acme", "3", [want("day", 1)]) == Denied("day", 0, 0)


async def test_i6_a_refused_lease_takes_nothing_from_any_counter(opened: Opened) -> None:
    a = opened("a")
    assert await a.lease("acme", "1", [want("day", 600), want("month", 501, limit=500)]) == Denied("month", 500, 0)
    assert await a.lease("acme", "2", [want("day", 1_000), want("month", 500, limit=500)]) == [
        Grant("day", 1_000, 0),
        Grant("month", 500, 0),
    ]


async def test_one_call_may_ask_one_counter_twice(opened: Opened) -> None:
    a = opened("a")
    if isinstance(a, OracleBank):
        return
    assert await a.lease("acme", "1", [want("day", 600), want("day", 500)]) == Denied("day", 400, 0)
    assert await a.lease("acme", "2", [want("day", 600), want("day", 400)]) == [
        Grant("day", 600, 0),
        Grant("day", 400, 0),
    ]
    assert await a.lease("acme", "3", [want("day", 1)]) == Denied("day", 0, 0)


async def test_a_lease_that_is_sent_again_answers_the_same(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    first = await a.lease("acme", "1", [want("day", 100, 400)])
    second = await a.lease("acme", "2", [want("day", 100, 400)])
    assert await a.lease("acme", "1", [want("day", 100, 400)]) == first
    assert await a.lease("acme", "2", [want("day", 100, 400)]) == second
    assert await b.lease("acme", "3", [want("day", 201)]) == Denied("day", 200, 0)


async def test_a_ticket_is_forgotten_with_the_next_report(opened: Opened) -> None:
    a = opened("a")
    assert await a.lease("acme", "1", [want("day", 1_000)]) == [Grant("day", 1_000, 0)]
    assert await a.report("acme", [standing("day", 0, 0)]) == [Total(0, 0)]
    assert await a.lease("acme", "1", [want("day", 1_000)]) == [Grant("day", 1_000, 0)]
    assert await a.lease("acme", "2", [want("day", 1)]) == Denied("day", 0, 0)


async def test_a_report_is_absolute_and_saying_it_twice_changes_nothing(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    await a.lease("acme", "1", [want("day", 500)])
    for _ in range(2):
        assert await a.report("acme", [standing("day", 120, 30)]) == [Total(120, 30)]
    await b.lease("acme", "2", [want("day", 50)])
    assert await b.report("acme", [standing("day", 50, 0)]) == [Total(170, 30)]
    assert await a.lease("acme", "3", [want("day", 801)]) == Denied("day", 800, 170)


async def test_a_charge_beyond_the_credit_is_counted_in_full(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    await a.lease("acme", "1", [want("day", 500)])
    assert await a.report("acme", [standing("day", 1_200, 0)]) == [Total(1_200, 0)]
    assert await b.lease("acme", "2", [want("day", 1)]) == Denied("day", 0, 1_200)


async def test_tickets_of_two_processes_are_two(opened: Opened) -> None:
    a, b = opened("a"), opened("b")
    assert await a.lease("acme", "1", [want("day", 600)]) == [Grant("day", 600, 0)]
    assert await b.lease("acme", "1", [want("day", 600)]) == Denied("day", 400, 0)


async def test_a_lease_with_no_wants_is_a_ping(opened: Opened) -> None:
    assert await opened("a").lease("acme", "1", []) == []


async def test_limits_near_the_largest_amount_are_exact(opened: Opened) -> None:
    a, most = opened("a"), 2**52
    assert await a.lease("acme", "1", [want("day", most - 1, limit=most)]) == [Grant("day", most - 1, 0)]
    assert await a.report("acme", [standing("day", most - 1, 0)]) == [Total(most - 1, 0)]
    assert await a.lease("acme", "2", [want("day", 2, limit=most)]) == Denied("day", 1, most - 1)


async def test_one_hundred_leases_at_once_sell_no_more_than_there_is(opened: Opened) -> None:
    banks = [opened(f"boot{index}") for index in range(4)]
    tries = [bank.lease("acme", f"{i}.{j}", [want("day", 30)]) for i, bank in enumerate(banks) for j in range(25)]
    answers = await asyncio.gather(*tries)
    assert sum(not isinstance(answer, Denied) for answer in answers) == 33
