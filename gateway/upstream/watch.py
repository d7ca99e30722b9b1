"""One timer that follows a moving deadline, so that a request or a chunk does not make a timer of its own."""

import asyncio
from collections.abc import Callable

NEVER_S = float("inf")
_GRAIN_S = 0.001  # loops round to milliseconds and may wake that much early


class Watch:
    """Calls `on_due` once the last deadline set is reached.

    A later deadline costs one attribute: the timer, when it fires early, is set again for what is left.
    """

    __slots__ = ("_fires_s", "_handle", "_loop", "_now", "_on_due", "due_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float], on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._now = now
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        self._fires_s = NEVER_S
        self.due_s = NEVER_S

    def until(self, due_s: float) -> None:
        self.due_s = due_s
        if due_s < self._fires_s:
            self._arm(due_s, due_s - self._now())

    def stop(self) -> None:
        self.due_s = self._fires_s = NEVER_S
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due_s: float, left_s: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._fires_s = due_s
        self._handle = self._loop.call_later(max(left_s, 0.0), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._fires_s = NEVER_S
        if self.due_s == NEVER_S:
            return
        left_s = self.due_s - self._now()
        if left_s > _GRAIN_S:
            self._arm(self.due_s, left_s)
        else:
            self.due_s = NEVER_S
            self._on_due()
