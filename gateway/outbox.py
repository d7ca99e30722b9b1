"""What is written within one turn of the event loop goes out side by side."""

import asyncio
import logging

_log = logging.getLogger("meterway")

MANY = 16
"""Writes that do not wait for the end of their turn: their reader should not either."""

FEW = 2
"""Fewer in a turn are not worth the wait."""

AT_ONCE = 64
"""After a turn with few, so many are written as they come, before another turn is looked at."""


class Outbox:
    """Writes in their order, each to its transport.

    A write wakes the reader at the other end, which costs as much as the write itself where that sleeps on another
    core. Under load it is woken once for several: what is written within a turn of the loop waits for the turn's end.
    A turn is only counted first, so that a caller who is alone never waits. Whoever closes a transport flushes first.
    """

    __slots__ = ("_at_once", "_bunches", "_turn_writes", "_waiting")

    def __init__(self) -> None:
        self._at_once = AT_ONCE
        self._bunches = FEW == 0
        self._turn_writes = 0
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        if self._at_once > 0:
            self._at_once -= 1
            transport.write(data)
            return
        if not self._turn_writes:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._turn_writes += 1
        if not self._bunches:
            transport.write(data)
            return
        self._waiting.append((transport, data))
        if len(self._waiting) >= MANY:
            self.flush()

    def holds(self, transport: asyncio.Transport) -> bool:
        """Whether something is still to be written to it."""
        return any(waiting is transport for waiting, _ in self._waiting)

    def flush(self) -> None:
        """Writes what waits; what is left of a connection that was lost takes nothing, and costs no other its write."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                try:
                    transport.write(data)
                except RuntimeError:
                    _log.exception("a connection that takes nothing more is closed")
                    transport.abort()

    def _end_turn(self) -> None:
        self._bunches = self._turn_writes >= FEW
        if not self._bunches:
            self._at_once = AT_ONCE
        self._turn_writes = 0
        self.flush()
