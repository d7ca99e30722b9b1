"""The kept-alive connections to one origin: last in first out, bounded, waited for in order."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain.failure import FailureKind, Sent
from gateway.outbox import Outbox
from gateway.upstream.connection import READ_BYTES, Connection
from gateway.upstream.failures import failed

WAITERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class PoolStats:
    """`open` counts idle, busy and dialling ones: all that use up `connections_max`."""

    open: int
    idle: int
    waiting: int


class Pool:
    """A slot is the right to have one connection.

    Invariant: while somebody waits, no slot and no connection is free: both are handed over, never put down.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        *,
        outbox: Outbox,
        connections_max: int,
        idle_s: float,
        waiters_max: int = WAITERS_MAX,
    ) -> None:
        self.connections_max = connections_max
        self.outbox = outbox
        self.inbox = memoryview(bytearray(READ_BYTES))
        self._loop = loop
        self._now = now
        self._idle_s = idle_s
        self._waiters_max = waiters_max
        self._idle: list[Connection] = []  # the oldest first
        self._slots = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._adopted: set[Connection] = set()
        self._sockets: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._retired = False
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    def stats(self) -> PoolStats:
        return PoolStats(self._slots, len(self._idle), len(self._waiters))

    def take_idle(self) -> Connection | None:
        """The one used last, as it is the least likely to have gone stale."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable and self._now() - connection.idle_since_s < self._idle_s:
                return connection
            connection.drop()
        return None

    async def take(self, until_s: float, *, fresh: bool = False) -> Connection | None:
        """A connection, or None for a slot to dial in; a slot is given back by `give_back` or by its connection.

        With `fresh`, a connection that has been idle will not do.
        """
        while True:
            if self._closed:
                raise failed(FailureKind.POOL_FULL, "the gateway is closing its connections", Sent.NO)
            if fresh and self._slots >= self.connections_max and self._idle:
                self._idle[0].drop()
            connection = None if fresh else self.take_idle()
            if connection is not None:
                return connection
            if self._slots < self.connections_max:
                self._slots += 1
                return None
            connection = await self._wait(until_s - self._now())
            if connection is None or connection.usable:
                return connection
            connection.drop()  # it has closed since it was handed over

    def adopt(self, connection: Connection) -> None:
        """The connection takes over the slot that it was dialled in."""
        self._adopted.add(connection)
        self._sockets.add(connection)

    def give_back(self) -> None:
        """A slot is free."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._slots -= 1

    def freed(self, connection: Connection) -> None:
        """Connection.Owner: it can serve again."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
            return
        if self._retired:
            connection.drop()
            return
        connection.idle_since_s = self._now()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_s, self._sweep)

    def lost(self, connection: Connection) -> None:
        """Connection.Owner: it has closed. One that was never adopted has no slot to give back."""
        if connection not in self._adopted:
            return
        self._adopted.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self.give_back()

    def gone(self, connection: Connection) -> None:
        """Connection.Owner: its descriptor is closed."""
        self._sockets.discard(connection)
        if not self._sockets and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def drop_idle(self) -> None:
        for connection in list(self._idle):
            connection.drop()

    def retire(self) -> None:
        """Keeps no connection from now on; calls under way and waiting go on."""
        self._retired = True
        self.drop_idle()

    async def close(self, wait_s: float) -> None:
        """Closes everything, busy ones too, and waits until the sockets are gone."""
        self._closed = self._retired = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(failed(FailureKind.POOL_FULL, "the gateway is closing its connections", Sent.NO))
        for connection in list(self._adopted):
            connection.drop()
        if self._sockets:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=wait_s)

    async def _wait(self, wait_s: float) -> Connection | None:
        if len(self._waiters) >= self._waiters_max:
            raise failed(FailureKind.POOL_FULL, f"{self._waiters_max} calls wait for a connection already", Sent.NO)
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(max(wait_s, 0.0), self._give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        finally:
            timer.cancel()

    def _give_up(self, waiter: asyncio.Future[Connection | None]) -> None:
        if not waiter.done():
            self._waiters.remove(waiter)
            waiter.set_exception(failed(FailureKind.POOL_FULL, f"{self._slots} connections are busy", Sent.NO))

    def _pass_on(self, waiter: asyncio.Future[Connection | None]) -> None:
        """The one who waited is cancelled, after something may have been handed to it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self.give_back()
        elif connection.usable:
            self.freed(connection)
        else:
            connection.drop()

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _sweep(self) -> None:
        self._sweeper = None
        due_s = self._now() - self._idle_s + 0.001
        for connection in list(self._idle):
            if connection.idle_since_s > due_s:
                break
            connection.drop()
        if self._idle:
            left_s = self._idle[0].idle_since_s + self._idle_s - self._now()
            self._sweeper = self._loop.call_later(max(left_s, 0.001), self._sweep)
