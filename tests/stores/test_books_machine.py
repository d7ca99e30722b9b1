"""The embedded books on disk, against a pure oracle: journal, SQLite and budgets, through any order of crashes."""

import asyncio
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from gateway.app.books import Books
from gateway.domain.budget import Budget, Claim, Unit
from gateway.domain.fact import Beat, Booking, Closed, Opened, Settled
from gateway.domain.hold import HoldState
from gateway.domain.ledger import EntryKind
from gateway.domain.period import Period
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.domain.tenancy import BudgetRow
from gateway.filing import Span
from gateway.ports import Hold
from gateway.stores.accounts import AccountHold
from gateway.stores.journal import FileJournal
from gateway.stores.sql.opening import Kept
from tests.clock import ToldClock
from tests.machines import play
from tests.sums import ENTRIES_MAX

DAY = Budget("day", "acme", 1_000, Unit.NANO_USD, Period.DAY)
MONTH = Budget("month", "acme", 5_000, Unit.NANO_USD, Period.MONTH)
TOKENS = Budget("tokens", "acme", 900, Unit.TOKENS, Period.HOUR)
BUDGETS = (DAY, MONTH, TOKENS)
COSTS = st.integers(0, 250)


@dataclass
class Request:
    """One cost counts in both units; `expires` is what is charged when nobody closes it."""

    name: str
    hold: Hold
    amount: int
    windows: tuple[tuple[str, str], ...]
    expires: int = 0


class DiskMachine(RuleBasedStateMachine):
    """Every request falls under all three budgets."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gw-books-"))
        self.runner = asyncio.Runner()
        self.clock = ToldClock()
        self.kept = Kept(f"sqlite:///{self.folder}/books.db")
        self.names = count()
        self.spent: Counter[tuple[str, str]] = Counter()
        self.charged: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.open()

    def open(self) -> None:
        async def opened() -> None:
            self.books = Books(self.clock, lambda _: None)
            self.books.keep(self.kept.ledger, self.folder / "journal")
            await self.books.__aenter__()
            await self.books.adopt([BudgetRow(budget) for budget in BUDGETS])

        self.runner.run(opened())

    def teardown(self) -> None:
        if hasattr(self, "kept"):
            self.end()
            self.kept.close()
            self.runner.close()
            shutil.rmtree(self.folder)

    @rule(amount=COSTS)
    def hold(self, amount: int) -> None:
        windows = tuple((budget.id, budget.window(self.clock.wall_s()).id) for budget in BUDGETS)
        free = [b.amount - self.spent[w] - self.held(w) for b, w in zip(BUDGETS, windows, strict=True)]
        claims = [Claim(budget, "acme", amount) for budget in BUDGETS]
        answer = self.runner.run(self.books.accounts.hold("acme", claims))
        fits = not amount or amount <= min(free)  # what takes nothing fits into a budget that is overdrawn, too
        assert isinstance(answer, AccountHold) is fits, answer
        if isinstance(answer, AccountHold):
            self.requests.append(Request(f"r{next(self.names)}", answer, amount, windows))

    @rule(data=st.data(), part=st.sampled_from([0, 50, 100]))
    def dispatch(self, data: st.DataObject, part: int) -> None:
        request = self.one(data, HoldState.HELD)
        if request is not None:
            request.expires = request.amount * part // 100
            opened = Opened(f"{request.name}.1", self.clock.wall_s(), 0, request.expires, request.expires)
            self.books.journal.open(opened, Booking("acme", "k", "m", "a", "gpt", "p"))
            request.windows = tuple((budget.id, budget.window(self.clock.wall_s()).id) for budget in BUDGETS)
            request.hold.dispatch()

    @rule(data=st.data(), part=st.integers(0, 100))
    def checkpoint(self, data: st.DataObject, part: int) -> None:
        request = self.one(data, HoldState.DISPATCHED)
        if request is not None:
            request.expires = request.amount * part // 100
            self.books.journal.write(Beat(f"{request.name}.1", request.expires, request.expires))

    @rule(data=st.data(), part=st.sampled_from([0, 30, 99, 100, 130]), usual=st.booleans())
    def settle(self, data: st.DataObject, part: int, usual: bool) -> None:
        request = self.one(data, HoldState.DISPATCHED)
        if request is not None:
            self.requests.remove(request)
            cost = request.amount * part // 100
            name, now_s, usage = f"{request.name}.1", self.clock.wall_s(), Usage(0, cost)
            closed = Closed(name, EntryKind.POST, now_s, usage, cost, cost, Provenance.EXACT, "p")
            self.books.journal.write(Settled(name, now_s, usage, cost) if usual else closed)
            assert request.hold.settle(cost, cost) is (cost > request.amount)
            self.charge(request, cost)

    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        request = self.one(data, HoldState.HELD)
        if request is not None:
            self.requests.remove(request)
            request.hold.void()

    @rule()
    def follow(self) -> None:
        self.runner.run(self.books.caught_up())

    @rule()
    def tend(self) -> None:
        self.runner.run(self.books.accounts.tend())

    @rule(again=st.integers(1, 2))
    def crash(self, again: int) -> None:
        """All that was in memory is gone, also while the last crash is mended: the journal is read once more."""
        for _ in range(again):
            self.end()
            self.open()
        for request in self.requests:
            if request.hold.state is HoldState.DISPATCHED:
                self.charge(request, request.expires)
        self.requests.clear()

    def end(self) -> None:
        """As the system does it for a killed process: nothing is written any more, files and locks are closed."""

        async def ended() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.runner.run(ended())
        assert isinstance(self.books.journal, FileJournal)
        self.books.journal.close()

    def charge(self, request: Request, cost: int) -> None:
        self.charged[request.name] = cost
        for window in request.windows:
            self.spent[window] += cost

    def one(self, data: st.DataObject, state: HoldState) -> Request | None:
        fitting = [request for request in self.requests if request.hold.state is state]
        return fitting[data.draw(st.integers(0, len(fitting) - 1))] if fitting else None

    def held(self, window: tuple[str, str]) -> int:
        return sum(request.amount for request in self.requests if window in request.windows)

    @rule()
    def ask_the_counters(self) -> None:
        for budget in BUDGETS:
            window = (budget.id, budget.window(self.clock.wall_s()).id)
            counted = self.runner.run(self.books.accounts.counted(budget, ["acme"]))
            assert counted == {"acme": self.spent[window]}, "I2"

    @rule()
    def look_into_the_ledger(self) -> None:
        """Every last word once (I3), none missing (I4), and what it says is what was charged."""
        self.runner.run(self.books.caught_up())
        entries = [entry for _, entry in self.kept.ledger.entries(Span(), 0, ENTRIES_MAX)]
        assert len({entry.request_id for entry in entries}) == len(entries), "I3"
        assert {entry.request_id: entry.cost_nano_usd for entry in entries} == dict(self.charged), "I4"
        assert self.kept.ledger.verify() == []


def test_i2_i3_i4_the_books_on_disk_are_their_oracle_through_any_crash() -> None:
    play(DiskMachine, 50)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_i2_i3_i4_the_books_on_disk_are_their_oracle_for_long() -> None:
    play(DiskMachine, 500)
