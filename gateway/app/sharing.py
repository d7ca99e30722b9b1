"""What this process shares with others through Redis: budgets, rates, health, pins, runs, and the end of the dead."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence

from gateway.domain.budget import Crossing, Unit
from gateway.domain.ledger import CORRECTIONS, Entry, EntryKind
from gateway.domain.period import Window
from gateway.domain.record import Provenance
from gateway.domain.tenancy import BudgetRow
from gateway.ports import Bank, BankAway, Clock, Ledger, Standing
from gateway.stores.health import MemoryHealth
from gateway.stores.pins import MemoryPins
from gateway.stores.redis.answers import SharedAnswers
from gateway.stores.redis.bank import Expired, RedisBank
from gateway.stores.redis.link import Link, StoreEvicts
from gateway.stores.redis.pins import SharedPins
from gateway.stores.redis.quota import LeasedQuota
from gateway.stores.redis.rebuild import Rebuilt
from gateway.stores.redis.runs import SharedRuns
from gateway.stores.redis.shared_health import HealthMirror
from gateway.stores.runs import MemoryRuns
from gateway.upkeep import keep_up

SWEEP_S = 1.0
TEND_S = 0.1

_log = logging.getLogger("meterway")

Budgets = Callable[[], Iterable[BudgetRow]]


class Shared:
    """`secret` is the same in all processes, `budgets` are those in force.

    The ledger is asked in threads, and only when Redis has lost what it knew.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        boot: str,
        *,
        secret: bytes,
        health: MemoryHealth,
        ledger: Ledger,
        budgets: Budgets,
    ) -> None:
        self._clock = clock
        self._boot = boot
        self._ledger = ledger
        self._budgets = budgets
        self._link = Link(url, clock)
        self._bank = RedisBank(self._link, boot, self._rebuilt)
        self._tasks: list[asyncio.Task[None]] = []
        self._adopted: set[tuple[str, str]] = set()
        self.quota = LeasedQuota(clock, self._link, boot, processes=lambda: self._bank.alive)
        self.pins = SharedPins(self._link, MemoryPins(clock))
        self.answers = SharedAnswers(self._link, secret)
        self.runs = SharedRuns(self._link, MemoryRuns())
        self._mirror = HealthMirror(clock, self._link, health, boot)

    @property
    def bank(self) -> Bank:
        return self._bank

    async def begin(self) -> None:
        """Starts also while Redis is away (R1). Raises StoreEvicts where it may forget what it is told (R7)."""
        try:
            await self._link.greet()
        except StoreEvicts:
            raise
        except BankAway:
            pass
        works = (
            keep_up("the credit of dead processes is not booked", self._sweep, self._sweep_pause),
            keep_up("what rates have left is not shared", self.quota.tend, _tend_pause),
            keep_up("pins are not shared", self.pins.tend, _tend_pause),
            self._mirror.run(),
        )
        self._tasks = [asyncio.create_task(work) for work in works]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(BankAway):
            await self.quota.tend()
        await self._bank.close()
        await self._link.close()

    async def first(self, crossing: Crossing) -> bool:
        """Whether this process shall tell of it; when Redis cannot say, it is told once too often."""
        counter = crossing.budget.counter(crossing.who, crossing.window)
        try:
            return await self._bank.first(crossing.budget.tenant, counter, crossing.percent)
        except BankAway:
            return True

    async def adopt(self, rows: Iterable[BudgetRow]) -> None:
        """Budgets that were made in the middle of their window begin with what was spent in it before."""
        now_s = self._clock.wall_s()
        for row in rows:
            window = row.budget.window(now_s)
            if (row.budget.id, window.id) in self._adopted or row.created_at_s <= window.starts_s:
                continue
            spent = await self._spent_before(row, window)
            try:
                await self._bank.before(row.budget.tenant, spent)
                await self._correct(row)
            except BankAway:
                continue  # what is not there is put together from the ledger
            self._adopted.add((row.budget.id, window.id))

    async def correct(self, tenant: str | None) -> None:
        """The counters follow what was put right in the ledger. Raises BankAway."""
        for row in self._budgets():
            if tenant in (None, row.budget.tenant):
                await self._correct(row)

    async def _correct(self, row: BudgetRow) -> None:
        known: dict[str, tuple[int, float]] = {}
        while (found := await self._corrections(row)) != known:  # another process may put right more meanwhile
            known = found
            await self._bank.correct(row.budget.tenant, known)

    async def _corrections(self, row: BudgetRow) -> dict[str, tuple[int, float]]:
        """By counter, with its end."""
        budget, window = row.budget, row.budget.window(self._clock.wall_s())
        sums = self._ledger.sums_of_worker
        found = await asyncio.to_thread(sums, budget, window.starts_s, window.ends_s, CORRECTIONS)
        return {budget.counter(who, window): (amount, window.ends_s) for who, amount in found.items()}

    async def _spent_before(self, row: BudgetRow, window: Window) -> dict[str, tuple[int, float]]:
        """By counter, with its end."""
        if row.created_at_s <= window.starts_s:
            return {}
        sums: dict[str, tuple[int, float]] = {}
        read = self._ledger.sums_by_worker
        for worker, amounts in (await asyncio.to_thread(read, row.budget, window.starts_s, row.created_at_s)).items():
            for who, amount in amounts.items() if worker != CORRECTIONS else ():
                counter = row.budget.counter(who, window)
                sums[counter] = (sums.get(counter, (0, 0.0))[0] + amount, window.ends_s)
        return sums

    async def finish(self, boot: str) -> None:
        """A dead process, whose journal is in the ledger now: its figures become what it truly spent."""
        now_s = self._clock.wall_s()
        by_tenant: dict[str, list[BudgetRow]] = {}
        for row in self._budgets():
            by_tenant.setdefault(row.budget.tenant, []).append(row)
        for tenant, rows in by_tenant.items():
            standings: list[Standing] = []
            for row in rows:
                budget, window = row.budget, row.budget.window(now_s)
                since_s = max(window.starts_s, row.created_at_s)
                spent = await asyncio.to_thread(self._ledger.sums_of_worker, budget, since_s, window.ends_s, boot)
                for who, amount in spent.items():
                    counter = budget.counter(who, window)
                    standings.append(Standing(counter, amount, 0, budget.amount, window.ends_s))
            await self._bank.finalise(tenant, boot, standings)

    async def _rebuilt(self, tenant: str) -> Rebuilt:
        now_s = self._clock.wall_s()
        spent: dict[str, int] = {}
        by_worker: dict[str, dict[str, int]] = {}
        ends_s: dict[str, float] = {}
        for row in self._budgets():
            budget, window = row.budget, row.budget.window(now_s)
            if budget.tenant != tenant:
                continue
            for counter, (amount, _) in (await self._spent_before(row, window)).items():
                spent[counter] = spent.get(counter, 0) + amount
                ends_s[counter] = window.ends_s
            since_s = max(window.starts_s, row.created_at_s)
            sums = await asyncio.to_thread(self._ledger.sums_by_worker, budget, since_s, window.ends_s)
            sums.pop(CORRECTIONS, None)
            shares = {
                worker: {budget.counter(who, window): amount for who, amount in amounts.items()}
                for worker, amounts in sums.items()
            }
            shares[CORRECTIONS] = {name: amount for name, (amount, _) in (await self._corrections(row)).items()}
            for worker, amounts in shares.items():
                for counter, amount in amounts.items():
                    spent[counter] = spent.get(counter, 0) + amount
                    by_worker.setdefault(worker, {})[counter] = amount
                    ends_s[counter] = window.ends_s
        return Rebuilt(spent, by_worker, ends_s)

    async def _sweep_pause(self) -> None:
        await asyncio.sleep(SWEEP_S * (0.75 + 0.5 * self._clock.dice()))

    async def _sweep(self) -> None:
        """Takes in the credit of the dead, once it is on record."""
        expired = await self._bank.sweep()
        if expired:
            await asyncio.to_thread(self._ledger.append, self._entries(expired))
            await self._bank.acknowledge(expired)

    def _entries(self, expired: Sequence[Expired]) -> list[Entry]:
        """One for each counter, beside the usage: it is trued up when the dead process's journal is found."""
        known = {row.budget.id: row.budget for row in self._budgets()}
        entries: list[Entry] = []
        for one in expired:
            budget_id, who, _ = one.counter.split("|", 2)
            budget = known.get(budget_id)
            if budget is None:
                continue
            usd = budget.unit is Unit.NANO_USD
            now_s = self._clock.wall_s()
            entries.append(
                Entry(
                    # Not the counter itself: it may hold a user's name, of any letters and length.
                    attempt_id=f"lease:{one.boot}:{hashlib.sha256(one.counter.encode()).hexdigest()}",
                    kind=EntryKind.EXPIRE,
                    request_id="",
                    tenant=one.tenant,
                    key_id="",
                    reserved_at_s=now_s,
                    posted_at_s=now_s,
                    worker=one.boot,
                    cost_nano_usd=one.amount if usd else 0,
                    tokens=0 if usd else one.amount,
                    provenance=Provenance.ESTIMATED,
                    budget_id=budget_id,
                    budget_who=who,
                    actor=self._boot,
                    cause="credit_of_a_dead_process",
                )
            )
        return entries


async def _tend_pause() -> None:
    await asyncio.sleep(TEND_S)
