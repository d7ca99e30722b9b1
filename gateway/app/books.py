"""The gateway's accounts while it runs: bank, counters, journal, and the tasks that carry them on."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

from gateway.domain.budget import Crossing
from gateway.domain.tenancy import BudgetRow
from gateway.ports import Bank, BankAway, Clock, Journal, JournalFailed, Ledger
from gateway.stores.accounts import CreditAccounts
from gateway.stores.bank import OwnBank
from gateway.stores.bookkeeper import Bookkeeper
from gateway.stores.journal import FileJournal, NoJournal

FOLLOW_S = 0.1
TEND_S = 0.25
SETTLE_S = 10.0

_log = logging.getLogger("meterway")


class Books:
    """`async with`: recovered and open inside, everything in the ledger after it.

    `keep` before that says where; without it nothing outlives the process. A bank that was shared with other processes
    knows what was spent; one of our own is told from the ledger. `boot` names this run of this process in the books.
    """

    def __init__(self, clock: Clock, told: Callable[[Crossing], None]) -> None:
        self.boot = secrets.token_hex(6)
        self._clock = clock
        self._own: OwnBank | None = OwnBank(clock)
        self.accounts = CreditAccounts(clock, self._own, told, self.boot)
        self._finish: Callable[[str], Awaitable[None]] | None = None
        self._adopt: Callable[[Sequence[BudgetRow]], Awaitable[None]] | None = None
        self.journal: Journal = NoJournal()
        self._ledger: Ledger | None = None
        self._file: FileJournal | None = None
        self._keeper: Bookkeeper | None = None
        self._known: set[tuple[str, str]] = set()
        self._dead: list[str] = []
        self._may_finish = False
        self._tasks: list[asyncio.Task[None]] = []

    def share(
        self,
        bank: Bank,
        finish: Callable[[str], Awaitable[None]],
        adopt: Callable[[Sequence[BudgetRow]], Awaitable[None]],
    ) -> None:
        """With other processes; `finish` is told of each dead one whose journal was read, `adopt` of budgets."""
        self._own = None
        self._adopt = adopt
        self.accounts.use(bank)
        self._finish = finish

    def keep(self, ledger: Ledger, folder: Path) -> None:
        """Raises JournalFailed."""
        self._ledger = ledger
        self._file = FileJournal(folder, self.boot)
        self.journal = self._file
        self._keeper = Bookkeeper(self._file, ledger, self._clock.wall_s)

    async def __aenter__(self) -> "Books":
        keeper = self._keeper
        if keeper is not None:
            await self._recover(keeper)
            self._tasks.append(asyncio.create_task(self._follow_on(keeper)))
        self._tasks.append(asyncio.create_task(self._tend_on()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(BankAway, TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                if self._may_finish:
                    await self.finish_dead()
                await self.accounts.give_back()
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.finish)

    async def adopt(self, rows: Sequence[BudgetRow]) -> None:
        """Budgets that are new begin with what the ledger says was charged in their window."""
        own, ledger = self._own, self._ledger
        if self._adopt is not None:
            await self._adopt(rows)
            await self._charge_own(rows)
        if own is None or ledger is None:
            return
        now_s = self._clock.wall_s()
        for budget in (row.budget for row in rows):
            window = budget.window(now_s)
            if (budget.id, window.id) in self._known:
                continue
            spent = await asyncio.to_thread(ledger.sums, budget, window.starts_s, window.ends_s)
            own.open({budget.counter(who, window): amount for who, amount in spent.items()}, window.ends_s)
            self._known.add((budget.id, window.id))

    async def _charge_own(self, rows: Sequence[BudgetRow]) -> None:
        """What this process has charged since a budget was made, before it knew of it."""
        ledger, now_s = self._ledger, self._clock.wall_s()
        for row in rows:
            budget, window = row.budget, row.budget.window(now_s)
            if ledger is None or (budget.id, window.id) in self._known or row.created_at_s <= window.starts_s:
                continue
            self._known.add((budget.id, window.id))
            await self.caught_up()
            spent = await asyncio.to_thread(ledger.sums_of_worker, budget, row.created_at_s, window.ends_s, self.boot)
            for who, amount in spent.items():
                self.accounts.charge(budget, who, amount)

    async def caught_up(self) -> None:
        """Returns when the ledger has everything that is on record now."""
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.follow)

    async def _recover(self, keeper: Bookkeeper) -> None:
        for boot in await asyncio.to_thread(keeper.recover):
            _log.warning("finished the journal of a process that had died (%s)", boot)
            self._dead.append(boot)

    async def finish_dead(self) -> None:
        """Once the budgets are known: what dead processes truly spent goes to the shared bank, or once it is back."""
        self._may_finish = True
        while self._dead and self._finish is not None:
            try:
                await self._finish(self._dead[-1])
                self._dead.pop()
            except BankAway:
                return

    async def _tend_on(self) -> None:
        async for _ in _ticks(TEND_S):
            if self._file is not None:
                with contextlib.suppress(JournalFailed):
                    self._file.catch_up()
            with contextlib.suppress(BankAway):
                await self.accounts.tend()
            if self._may_finish:
                await self.finish_dead()
            if self._own is not None:
                self._own.prune()

    async def _follow_on(self, keeper: Bookkeeper) -> None:
        """The ledger may be away for long: the journal waits on disk."""
        broken = False
        async for _ in _ticks(FOLLOW_S):
            if not keeper.behind:
                continue
            try:
                await asyncio.to_thread(keeper.follow)
            except Exception as error:  # noqa: BLE001  # whatever the database says, the books go on from here
                if not broken:
                    _log.error("the ledger cannot be written, the journal keeps what is charged: %s", error)
                broken = True
            else:
                broken = False


async def _ticks(every_s: float) -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(every_s)
        yield
