"""Notices when the event loop is held up, and writes down what held it."""

import asyncio
import logging
import sys
import threading
import time
import traceback

BLOCK_S = 0.1
_BEAT_S = BLOCK_S / 2
_FRAMES_MAX = 12
_QUIET_S = 10.0

_log = logging.getLogger("meterway.watchdog")


class Watchdog:
    """The loop beats, a thread watches; a beat later than 100 ms is a block. At most one stack in ten seconds."""

    def __init__(self) -> None:
        self.blocks = 0
        self._beat_s = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beat()
        watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, args=(watched,), name="meterway-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._handle is not None:
            self._handle.cancel()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _beat(self) -> None:
        self._beat_s = time.monotonic()
        if self._loop is not None:
            self._handle = self._loop.call_later(_BEAT_S, self._beat)

    def _watch(self, thread_id: int) -> None:
        told_s = -_QUIET_S
        seen_s = 0.0
        while not self._stopped.wait(_BEAT_S):
            beat_s, now_s = self._beat_s, time.monotonic()
            if now_s - beat_s < BLOCK_S + _BEAT_S or beat_s == seen_s:
                continue
            seen_s = beat_s
            self.blocks += 1
            if now_s - told_s >= _QUIET_S:
                told_s = now_s
                _log.warning(
                    "the event loop is blocked for %.0f ms at:\n%s", (now_s - beat_s) * 1000, _stack(thread_id)
                )


def _stack(thread_id: int) -> str:
    """Places only: no values, so no secret and no prompt."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001  # the documented way to another thread's stack
    return "".join(traceback.format_stack(frame, limit=_FRAMES_MAX)) if frame else "(gone)"
