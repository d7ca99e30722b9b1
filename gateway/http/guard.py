"""Keeps an idle stream alive with comments."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.http.cycle import DoorCycle

PING = b": ping\n\n"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class StreamGuard:
    """One timer for a stream, however many chunks pass: the chunks only note the time."""

    __slots__ = ("_cycle", "_handle", "_heartbeat_s", "_loop", "_send", "_touched_s")

    def __init__(self, send: Send, cycle: DoorCycle | None, heartbeat_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._cycle = cycle
        self._heartbeat_s = heartbeat_s
        self._touched_s = self._loop.time()
        self._handle = self._loop.call_later(heartbeat_s, self._check)

    async def send(self, body: bytes, *, more: bool = True) -> None:
        self._touched_s = self._loop.time()
        if self._cycle is not None and self._cycle.push(body, more=more):
            return
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def close(self) -> None:
        self._handle.cancel()

    def _check(self) -> None:
        now_s = self._loop.time()
        if now_s >= self._touched_s + self._heartbeat_s and self._cycle is not None:
            self._cycle.comment(PING)
            self._touched_s = now_s
        self._handle = self._loop.call_at(self._touched_s + self._heartbeat_s, self._check)
