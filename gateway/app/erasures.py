"""Orders to forget a user, carried out as far as budgets let them: at once, and when a window that held one ends."""

import asyncio
import logging
from types import TracebackType

from gateway.domain.tenancy import AuditLine, ErasureRow
from gateway.ports import Clock, DirectoryStore, LedgerReports, NotThere, StaleRevision

LOOK_S = 600.0
LATE_S = 86_400.0
"""An entry comes that late at most: from the journal of a process that died, or of a call that ran for long."""

PAGE = 100

_log = logging.getLogger("meterway")


class Erasures:
    """`async with`: looks at all orders every LOOK_S. `carry_out` does what can be done for one now."""

    def __init__(self, clock: Clock, directory: DirectoryStore, ledger: LedgerReports) -> None:
        self._clock = clock
        self._directory = directory
        self._ledger = ledger
        self._done_s: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Erasures":
        self._looking = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def carry_out(self, order: ErasureRow) -> int:
        """How many entries have lost the name now. Raises StoreFailed."""
        return await asyncio.to_thread(self._carry_out, order)

    async def look(self) -> None:
        """Every order. Raises StoreFailed."""
        after = ""
        while orders := await asyncio.to_thread(self._directory.page, ErasureRow, None, after, PAGE):
            for order in orders:
                await self.carry_out(order)
            after = orders[-1].id

    def _carry_out(self, order: ErasureRow) -> int:
        now_s = self._clock.wall_s()
        budgets = [row.budget for row in self._directory.snapshot().budgets if row.budget.tenant == order.tenant]
        held_by = order.held_by(budgets, now_s)
        to_s = min([order.created_at_s, *(budget.window(now_s).starts_s for budget in held_by)])
        named = [budget.id for budget in budgets if budget.per != "user"]
        from_s = self._done_s.get(order.id, 0.0) - LATE_S
        count = self._ledger.forget(order, from_s, to_s, named)
        self._done_s[order.id] = to_s
        if not held_by and now_s >= order.created_at_s + LATE_S:
            self._end(order, now_s)
        return count

    def _end(self, order: ErasureRow, now_s: float) -> None:
        line = AuditLine(now_s, "gateway", "admin", "erased", "erasure", order.id, order.tenant)
        try:
            self._directory.delete(ErasureRow, order.id, order.revision, line)
        except (NotThere, StaleRevision):
            _log.debug("the erasure %s was ended by another process", order.id)
        self._done_s.pop(order.id, None)

    async def _look_on(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  # whatever the database says, the order stays
                _log.error("orders to forget a user cannot be carried out now, they stay: %s", error)
            await asyncio.sleep(LOOK_S)
