"""What this process shares with others through Redis: the bank of budgets, its heartbeat, and the end of the dead."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from gateway.domain.budget import Budget, Crossing, Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.ports import Bank, BankAway, Clock, Ledger, Standing
from gateway.stores.redis.bank import Expired, RedisBank
from gateway.stores.redis.link import Link
from gateway.stores.redis.rebuild import Rebuilt

SWEEP_S = 1.0

_log = logging.getLogger("meterway")

Budgets = Callable[[], Iterable[Budget]]


class Shared:
    """`budgets` are those in force. The ledger is asked in threads, and only when Redis has lost what it knew."""

    def __init__(self, url: str, clock: Clock, boot: str, ledger: Ledger, budgets: Budgets) -> None:
        self._clock = clock
        self._boot = boot
        self._ledger = ledger
        self._budgets = budgets
        self._link = Link(url, clock)
        self._bank = RedisBank(self._link, boot, self._rebuilt)
        self._task: asyncio.Task[None] | None = None

    @property
    def bank(self) -> Bank:
        return self._bank

    async def begin(self) -> None:
        """Starts also while Redis is away (R1); warns when it may forget what it is told (R7)."""
        with contextlib.suppress(BankAway):
            if (warning := await self._link.eviction()) is not None:
                raise OSError(warning)
        self._task = asyncio.create_task(self._sweep_on())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._bank.close()
        await self._link.close()

    async def first(self, crossing: Crossing) -> bool:
        """Whether this process shall tell of it; when Redis cannot say, it is told once too often."""
        counter = crossing.budget.counter(crossing.who, crossing.window)
        try:
            return await self._bank.first(crossing.budget.tenant, counter, crossing.percent)
        except BankAway:
            return True

    async def finish(self, boot: str) -> None:
        """A dead process, whose journal is in the ledger now: its figures become what it truly spent."""
        now_s = self._clock.wall_s()
        by_tenant: dict[str, list[Budget]] = {}
        for budget in self._budgets():
            by_tenant.setdefault(budget.tenant, []).append(budget)
        for tenant, budgets in by_tenant.items():
            standings: list[Standing] = []
            for budget in budgets:
                window = budget.window(now_s)
                spent = await asyncio.to_thread(
                    self._ledger.sums_of_worker, budget, window.starts_s, window.ends_s, boot
                )
                for who, amount in spent.items():
                    counter = budget.counter(who, window)
                    standings.append(Standing(counter, amount, 0, budget.amount, window.ends_s))
            await self._bank.finalise(tenant, boot, standings)

    async def _rebuilt(self, tenant: str) -> Rebuilt:
        now_s = self._clock.wall_s()
        spent: dict[str, int] = {}
        by_worker: dict[str, dict[str, int]] = {}
        ends_s: dict[str, float] = {}
        for budget in self._budgets():
            if budget.tenant != tenant:
                continue
            window = budget.window(now_s)
            sums = await asyncio.to_thread(self._ledger.sums_by_worker, budget, window.starts_s, window.ends_s)
            for worker, amounts in sums.items():
                for who, amount in amounts.items():
                    counter = budget.counter(who, window)
                    spent[counter] = spent.get(counter, 0) + amount
                    by_worker.setdefault(worker, {})[counter] = amount
                    ends_s[counter] = window.ends_s
        return Rebuilt(spent, by_worker, ends_s)

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S * (0.75 + 0.5 * self._clock.dice()))
            try:
                expired = await self._bank.sweep()
                if expired:
                    await asyncio.to_thread(self._ledger.append, self._entries(expired))
                    await self._bank.acknowledge(expired)
            except BankAway:
                continue
            except Exception as error:  # noqa: BLE001  # the database is away: the dead are taken in next time
                _log.error("the credit of a dead process cannot be booked yet: %s", error)

    def _entries(self, expired: Sequence[Expired]) -> list[Entry]:
        """One for each counter, beside the usage: it is trued up when the dead process's journal is found."""
        known = {budget.id: budget for budget in self._budgets()}
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
                    attempt_id=f"lease:{one.boot}:{one.counter}",
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
