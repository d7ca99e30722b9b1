"""Whatever an exchange holds is given back once, wherever it is cancelled."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.app.dialects import DIALECTS
from gateway.domain.budget import Budget, Crossing, Unit
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import CallerKey, Catalog, Limits, Price, Secret, Tenant
from gateway.domain.fact import Booking, Closed, Fact, Opened, Settled, Word
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.period import Period
from gateway.domain.record import ExchangeRecord
from gateway.domain.request import Caller, ModelRequest
from gateway.pipeline.desk import Desk
from gateway.pipeline.exchange import Exchange
from gateway.stores.accounts import CreditAccounts
from gateway.stores.bank import OwnBank
from gateway.stores.health import MemoryHealth
from gateway.stores.keys import KeyRing, Peppers
from gateway.stores.pins import MemoryPins
from gateway.stores.quota import MemoryQuota
from gateway.stores.runs import MemoryRuns
from gateway.wire import openai_chat
from tests.clock import ToldClock
from tests.domain.values import deployment, route

EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
]
WHOLE = b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'


class Steps:
    """Counts the awaits that were passed and stops at one of them until `go` is set."""

    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at
        self.passed = 0
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def step(self) -> None:
        self.passed += 1
        if self.passed == self.stop_at:
            self.reached.set()
            await self.go.wait()


class Answer:
    """A ports.UpstreamReply that pauses at every await."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._events = iter(EVENTS)
        self.status = 200
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.closed = 0

    async def read(self, limit_bytes: int) -> bytes:
        await self._steps.step()
        return WHOLE

    async def next_chunk(self, timeout_s: float) -> bytes:
        await self._steps.step()
        return next(self._events, b"")

    def close(self) -> None:
        self.closed += 1


class Provider:
    """A ports.Upstream whose first target fails."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.answers: list[Answer] = []

    async def send(self, call: UpstreamCall) -> Answer:
        await self._steps.step()
        if call.credential.id == "bad#0":
            raise AttemptFailed(Failure(FailureKind.REFUSED, "refused", sent=Sent.NO))
        self.answers.append(Answer(self._steps))
        return self.answers[-1]


class Records:
    def __init__(self) -> None:
        self.all: list[ExchangeRecord] = []

    def record(self, record: ExchangeRecord) -> None:
        self.all.append(record)


class Facts:
    def __init__(self, facts: list[Fact]) -> None:
        self._facts = facts
        self.keeps = True

    def open(self, opened: Opened, booking: Booking) -> None:
        self._facts.append(opened)

    def write(self, word: Word) -> None:
        self._facts.append(word)


async def talk(exchange: Exchange) -> None:
    async with exchange:
        while exchange.reply is None and not exchange.ended:
            await exchange.next()


def catalog_of(*, drains: bool) -> Catalog:
    price = Price(1_000_000_000, 2_000_000_000)
    both = deployment("bad", priority=1, price=price), deployment("good", priority=2, price=price)
    return Catalog(1, {"r": route(*(replace(one, provider=replace(one.provider, drains=drains)) for one in both))})


def request_of(*, stream: bool) -> ModelRequest:
    body = b'{"model":"r","messages":[{"role":"user","content":"hi"}],"stream":%b}'
    return openai_chat.parse(body % (b"true" if stream else b"false"))


@pytest.mark.parametrize("ending", ["aborted", "drained", "drain cut short"])
@pytest.mark.parametrize("stream", [False, True])
async def test_cancelled_at_every_await_everything_is_given_back_once(stream: bool, ending: str) -> None:
    stop_at, finished = 0, False
    crossings: list[Crossing] = []
    while not finished:
        stop_at += 1
        clock, records, steps = ToldClock(), Records(), Steps(stop_at)
        provider, quota, health = Provider(steps), MemoryQuota(clock), MemoryHealth(clock)
        facts: list[Fact] = []
        accounts = CreditAccounts(clock, OwnBank(clock), crossings.append, "boot")
        desk = Desk(
            clock=clock,
            keys=KeyRing(clock, Peppers({"1": Secret("pepper")})),
            upstream=provider,
            health=health,
            quota=quota,
            accounts=accounts,
            journal=Facts(facts),
            runs=MemoryRuns(),
            pins=MemoryPins(clock),
            recorder=records,
            dialects=DIALECTS,
        )
        budgets = (
            Budget("b", "t", 10**9, Unit.NANO_USD, Period.DAY),
            Budget("n", "t", 10**6, Unit.TOKENS, Period.DAY),
        )
        limits = Limits(requests_per_minute=10, tokens_per_minute=100_000, concurrent=1)
        tenant = Tenant("t", limits, budgets=budgets)
        catalog, request = catalog_of(drains=ending != "aborted"), request_of(stream=stream)
        caller = Caller(CallerKey("k", b"", tenant), "req_1", clock.now_s, clock.wall_s())
        task = asyncio.create_task(talk(Exchange(desk, catalog, caller, request)))
        waiting = asyncio.create_task(steps.reached.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finished = task.done()
        waiting.cancel()
        task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
        if ending == "drained":
            steps.go.set()
            await asyncio.gather(*desk.running)
        await desk.close()
        assert len(records.all) == 1
        going_down = ending == "drain cut short" and records.all[0].error_code is not None
        assert records.all[0].client_gone is (not finished and not going_down)
        assert desk.drains == 0
        opened = [fact.attempt_id for fact in facts if isinstance(fact, Opened)]
        closed = [fact for fact in facts if isinstance(fact, Settled | Closed)]
        assert opened == [fact.attempt_id for fact in closed], "each attempt has one last word"
        charged = sum(fact.cost_nano_usd for fact in closed), sum(fact.usage.total for fact in closed)
        assert [budget.amount - accounts.left(budget, "t") for budget in budgets] == list(charged)
        assert [line.in_flight for line in health.lines(catalog)] == [0, 0]
        assert await quota.take(tenant.gates, 0) is None, "the slot is free again"
        assert all(answer.closed == 1 for answer in provider.answers)
    assert stop_at > (5 if stream else 3)
