"""Watches over one open stream: comments keep an idle connection alive, a reader that stopped reading is let go."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PING = b": ping\n\n"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class StreamGuard:
    """One timer for a stream, however many chunks pass: the chunks only note the time."""

    __slots__ = (
        "_handle",
        "_heartbeat_s",
        "_loop",
        "_pinging",
        "_send",
        "_stall_s",
        "_task",
        "_touched_s",
        "sending",
        "stalled",
    )

    def __init__(self, send: Send, task: asyncio.Task[Any], *, heartbeat_s: float, stall_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._task = task
        self._heartbeat_s = heartbeat_s
        self._stall_s = stall_s
        self._touched_s = self._loop.time()
        self._pinging: asyncio.Task[None] | None = None
        self.sending = False
        self.stalled = False
        self._handle = self._loop.call_later(min(heartbeat_s, stall_s), self._check)

    async def send(self, body: bytes, *, more: bool = True) -> None:
        self.sending = True
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self.sending = False
        self._touched_s = self._loop.time()

    def close(self) -> None:
        self._handle.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _check(self) -> None:
        quiet_s = self._loop.time() - self._touched_s
        if self.sending or (self._pinging is not None and not self._pinging.done()):
            if quiet_s >= self._stall_s:
                self.stalled = True
                self._task.cancel()
                return
        elif quiet_s >= self._heartbeat_s:
            self._touched_s = self._loop.time()
            self._pinging = self._loop.create_task(self._ping())
        self._handle = self._loop.call_later(min(self._heartbeat_s, self._stall_s) / 2, self._check)

    async def _ping(self) -> None:
        await self._send({"type": "http.response.body", "body": PING, "more_body": True})
