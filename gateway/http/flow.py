"""The bytes of one client connection: written no faster than the client takes them, read when somebody wants them."""

import asyncio
from typing import Any

from gateway.outbox import Outbox

STALL_BYTES = 16 * 1024
"""A reader that takes less than this within the stall time has stopped reading."""

Address = tuple[str, int]


class Flow:
    """Of a transport. `client` and `server` are the two ends' addresses."""

    __slots__ = (
        "_drained",
        "_loop",
        "_outbox",
        "_stall",
        "_stall_s",
        "_unsent_bytes",
        "client",
        "read_paused",
        "server",
        "transport",
        "write_paused",
    )

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, outbox: Outbox, stall_s: float
    ) -> None:
        self.transport = transport
        self.client = _address(transport.get_extra_info("peername"))
        self.server = _address(transport.get_extra_info("sockname"))
        self.read_paused = False
        self.write_paused = False
        self._loop = loop
        self._outbox = outbox
        self._stall_s = stall_s
        self._stall: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._drained: asyncio.Future[None] | None = None

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._watch()

    def resume_writing(self) -> None:
        self._wake()
        if not self.transport.is_closing():
            self._forget()

    def lost(self) -> None:
        """The connection is gone: whoever waits to write need not wait."""
        self._wake()
        self._forget()

    def write(self, data: bytes) -> None:
        """At the end of the turn at the latest."""
        self._outbox.put(self.transport, data)

    def flush(self) -> None:
        """Everything is with the transport now."""
        self._outbox.flush()

    async def drain(self) -> None:
        """Until more may be written. Invariant: only the request that is being answered waits."""
        while self.write_paused:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self) -> None:
        """Once everything is written."""
        self.flush()
        self.transport.close()

    def close_written(self) -> None:
        """Closes once everything is written, though not for a client that never takes it."""
        self.close()
        if self._stall is None and self.transport.get_write_buffer_size():
            self._watch()

    def _wake(self) -> None:
        self.write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _watch(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._forget()
        self._stall = self._loop.call_later(self._stall_s, self._unread)

    def _forget(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _unread(self) -> None:
        """Whether the client has taken anything since the last look."""
        self._stall = None
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and self._unsent_bytes - unsent_bytes < STALL_BYTES:
            self.transport.abort()
        elif unsent_bytes:
            self._watch()


def _address(given: Any) -> Address | None:
    return (str(given[0]), int(given[1])) if isinstance(given, tuple) else None
