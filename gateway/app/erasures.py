"""Orders to forget a user, looked at again and again: budgets may hold a name, and entries may come late."""

import asyncio
import logging
from functools import partial
from types import TracebackType

from gateway.domain.tenancy import AuditLine, ErasureRow
from gateway.filing import DirectoryStore, LedgerReports, NotThere, StaleRevision
from gateway.ports import Clock
from gateway.stores.erasure import carry_out
from gateway.upkeep import keep_up

LOOK_S = 600.0
LATE_S = 86_400.0
"""An entry comes that late at most: from the journal of a process that died, or of a call that ran for long."""

PAGE = 100

_log = logging.getLogger("meterway")


class Erasures:
    """`async with`: looks at all orders every LOOK_S, and ends those of which nothing can be left."""

    def __init__(self, clock: Clock, directory: DirectoryStore, ledger: LedgerReports) -> None:
        self._clock = clock
        self._directory = directory
        self._ledger = ledger
        self._done_s: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Erasures":
        trouble = "orders to forget a user are not carried out now, they stay"
        look = partial(asyncio.to_thread, self.look)
        self._looking = asyncio.create_task(keep_up(trouble, look, lambda: asyncio.sleep(LOOK_S)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def look(self) -> None:
        """Every order. Blocks; raises StoreFailed."""
        after = ""
        while orders := self._directory.page(ErasureRow, None, after, PAGE):
            for order in orders:
                self._see_to(order)
            after = orders[-1].id

    def _see_to(self, order: ErasureRow) -> None:
        """What was done is not looked through again, but for the last time."""
        now_s = self._clock.wall_s()
        last = now_s >= order.created_at_s + LATE_S
        from_s = 0.0 if last else self._done_s.get(order.id, 0.0) - LATE_S
        _, done_s = carry_out(order, self._directory, self._ledger, now_s, from_s)
        if last and done_s >= order.created_at_s:
            self._end(order, now_s)
        else:
            self._done_s[order.id] = done_s

    def _end(self, order: ErasureRow, now_s: float) -> None:
        line = AuditLine(now_s, "gateway", "admin", "erased", "erasure", order.id, order.tenant)
        try:
            self._directory.delete(ErasureRow, order.id, order.revision, line)
        except (NotThere, StaleRevision):
            _log.debug("the erasure %s was ended by another process", order.id)
        self._done_s.pop(order.id, None)
