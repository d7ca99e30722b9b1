"""The gateway's accounts while it runs: bank, counters, journal, and the tasks that carry them on."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from gateway.domain.budget import Budget, Crossing
from gateway.domain.ledger import CORRECTIONS
from gateway.domain.period import Window
from gateway.domain.tenancy import BudgetRow
from gateway.ports import Bank, BankAway, Clock, Journal, JournalFailed, Ledger, StoreFailed
from gateway.stores.accounts import CreditAccounts
from gateway.stores.bank import OwnBank
from gateway.stores.bookkeeper import Bookkeeper
from gateway.stores.journal import FileJournal, NoJournal
from gateway.upkeep import keep_up

FOLLOW_S = 0.25
"""The ledger is so much behind: each of its turns costs, also requests that wait for the interpreter."""
TEND_S = 0.25
SETTLE_S = 10.0
LOOKS = 5
LOOK_S = 0.4
"""How often and how far apart counters are held against the ledger: other processes report in the meantime."""

_T = TypeVar("_T")
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
        self._rows: Sequence[BudgetRow] = ()
        self._corrected: dict[str, int] = {}
        self._correct: Callable[[str | None], Awaitable[None]] | None = None
        self._uncorrected = False
        self._dead: list[str] = []
        self._may_finish = False
        self._finishing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = ThreadPoolExecutor(1, "books")

    def share(
        self,
        bank: Bank,
        finish: Callable[[str], Awaitable[None]],
        adopt: Callable[[Sequence[BudgetRow]], Awaitable[None]],
        correct: Callable[[str | None], Awaitable[None]],
    ) -> None:
        """With other processes; `finish` is told of each dead one whose journal was read, `adopt` of budgets, `correct`
        when the ledger was put right."""
        self._own = None
        self._adopt = adopt
        self._correct = correct
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
            self._begin("the ledger is not written, the journal keeps what is charged", self._follow, FOLLOW_S)
        self._begin("what was spent is not reported to the bank", self._tend, TEND_S)
        self._begin("what dead processes spent is not told to the bank", self._finish_known, TEND_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            with contextlib.suppress(BankAway, TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._finish_known()
                    await self.accounts.give_back()
        finally:
            if self._keeper is not None:
                await self._in_thread(self._keeper.finish)
                self._thread.shutdown(wait=False)

    async def adopt(self, rows: Sequence[BudgetRow]) -> None:
        """Budgets that are new begin with what the ledger says was charged in their window."""
        own, ledger = self._own, self._ledger
        self._rows = rows
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
            found = await asyncio.to_thread(ledger.sums_by_worker, budget, window.starts_s, window.ends_s)
            spent: dict[str, int] = {}
            for worker, amounts in found.items():
                for who, amount in amounts.items():
                    counter = budget.counter(who, window)
                    spent[counter] = spent.get(counter, 0) + amount
                    if worker == CORRECTIONS:
                        self._corrected[counter] = amount
            own.open(spent, window.ends_s)
            self._known.add((budget.id, window.id))

    async def correct(self, tenant: str | None) -> None:
        """The counters follow what was put right in the ledger: at once, or when the shared bank is back.

        Of one tenant, or of all.
        """
        rows = [row for row in self._rows if tenant in (None, row.budget.tenant)]
        if self._correct is None:
            await self._correct_own(rows)
            return
        with contextlib.suppress(BankAway):
            await self._tell_corrections(tenant)

    async def _tell_corrections(self, tenant: str | None) -> None:
        """To the shared bank; whatever keeps it from them, it is told again."""
        try:
            if self._correct is not None:
                await self._correct(tenant)
        except BaseException:
            self._uncorrected = True
            raise

    async def _correct_own(self, rows: Sequence[BudgetRow]) -> None:
        ledger, now_s = self._ledger, self._clock.wall_s()
        if ledger is None:
            return
        for budget in (row.budget for row in rows):
            window = budget.window(now_s)
            read = ledger.sums_of_worker
            found = await asyncio.to_thread(read, budget, window.starts_s, window.ends_s, CORRECTIONS)
            for who, amount in found.items():
                counter = budget.counter(who, window)
                before, self._corrected[counter] = self._corrected.get(counter, 0), amount
                if amount != before:
                    self.accounts.charge(budget, who, amount - before)

    async def astray(self) -> list[str]:
        """Counters that do not say what the ledger says, in words; what runs meanwhile is given time to arrive.

        Raises BankAway.
        """
        apart, found = self._rows, list[str]()
        for look in range(LOOKS):
            await asyncio.sleep(LOOK_S if look else 0.0)
            try:
                apart, found = await self._apart(apart)
            except BankAway:
                if look == LOOKS - 1:
                    raise
            if not apart:
                break
        return found

    async def _apart(self, rows: Sequence[BudgetRow]) -> tuple[Sequence[BudgetRow], list[str]]:
        apart: list[BudgetRow] = []
        found: list[str] = []
        await self.caught_up()
        for row in rows:
            budget, window = row.budget, row.budget.window(self._clock.wall_s())
            told = await asyncio.to_thread(self._sums, budget, window)
            counted = await self.accounts.counted(budget, told)
            wrong = [who for who, amount in counted.items() if told.get(who, 0) != amount]
            apart += [row] if wrong else []
            found += [
                f"budget {budget.id} of {budget.tenant} ({who}, {window.id}): the counter says {counted[who]} "
                f"{budget.unit.value}, the ledger {told.get(who, 0)}"
                for who in wrong
            ]
        return apart, found

    def _sums(self, budget: Budget, window: Window) -> dict[str, int]:
        return {} if self._ledger is None else self._ledger.sums(budget, window.starts_s, window.ends_s)

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
            await self._in_thread(self._keeper.follow)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """One thread: the keeper asks for it, and those who wait for the ledger leave the loop its own."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _recover(self, keeper: Bookkeeper) -> None:
        for boot in await self._in_thread(keeper.recover):
            _log.warning("finished the journal of a process that had died (%s)", boot)
            self._dead.append(boot)

    async def finish_dead(self) -> None:
        """Once the budgets are known: what dead processes truly spent goes to the shared bank, or once it is back."""
        self._may_finish = True
        async with self._finishing:
            while self._dead:
                boot = self._dead[-1]
                try:
                    if self._finish is not None:
                        await self._finish(boot)
                except (BankAway, StoreFailed):
                    return
                if self._keeper is not None:
                    self._keeper.forget(boot)
                self._dead.pop()

    def _begin(self, trouble: str, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._tasks.append(asyncio.create_task(keep_up(trouble, work, lambda: asyncio.sleep(every_s))))

    async def _tend(self) -> None:
        if self._file is not None:
            with contextlib.suppress(JournalFailed):
                self._file.catch_up()
        await self.accounts.tend()
        if self._uncorrected:
            self._uncorrected = False
            await self._tell_corrections(None)
        if self._own is not None:
            self._own.prune()

    async def _finish_known(self) -> None:
        if self._may_finish:
            await self.finish_dead()

    async def _follow(self) -> None:
        """The ledger may be away for long: the journal waits on disk."""
        if self._keeper is not None and self._keeper.behind:
            await self._in_thread(self._keeper.follow)
