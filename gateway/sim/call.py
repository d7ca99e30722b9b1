"""A call in progress: plays its steps on a connection, ends as one line of the bill."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from math import isinf
from typing import Final, Protocol

from gateway.sim.ask import Ask
from gateway.sim.bill import BillLine
from gateway.sim.recorded import Recorded
from gateway.sim.stage import Reply
from gateway.sim.step import End, Gate, Pause, Send, Step

STEPS_A_TURN: Final = 64
"""Then the loop gets its turn, so that an endless answer starves nobody."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Played(Protocol):
    """Who is told how a call went."""

    def gate(self, name: str, call: "Call") -> bool:
        """True if it is open; else `call.released` follows when it opens."""
        ...

    def finished(self, call: "Call", end: End) -> None: ...


class Call:
    """One request and the steps of its answer."""

    __slots__ = (
        "_held",
        "_loop",
        "_steps",
        "_timer",
        "_transport",
        "_watcher",
        "asked",
        "ended",
        "paused",
        "reply",
        "request",
        "sent_bytes",
        "started_s",
        "started_wall_s",
        "tokens",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        watcher: Played,
        request: Recorded,
        asked: Ask | None,
        reply: Reply,
        started: tuple[float, float],
    ) -> None:
        self._transport, self._loop, self._watcher = transport, loop, watcher
        self._steps: Iterator[Step] = reply.steps
        self._timer: asyncio.Handle | None = None
        self.request, self.asked, self.reply = request, asked, reply
        self.started_s, self.started_wall_s = started
        self.tokens = self.sent_bytes = 0
        self.paused = self.ended = self._held = False

    def advance(self) -> None:
        """Play until something must be waited for."""
        self._timer = None
        for _ in range(STEPS_A_TURN):
            if self.paused or self.ended:
                return
            step = next(self._steps, End.KEEP)
            if isinstance(step, Send):
                self._transport.write(step.data)
                self.tokens += step.tokens
                self.sent_bytes += len(step.data)
            elif isinstance(step, Pause):
                if isinf(step.seconds):
                    self._held = True
                else:
                    self._timer = self._loop.call_later(step.seconds, self.advance)
                return
            elif isinstance(step, Gate):
                if not self._watcher.gate(step.name, self):
                    self._held = True
                    return
            else:
                self._finish(step)
                return
        self._timer = self._loop.call_soon(self.advance)

    @property
    def client_port(self) -> int:
        """0 where its client has gone."""
        address: tuple[str, int] | None = self._transport.get_extra_info("peername")
        return 0 if address is None else address[1]

    def resume(self) -> None:
        """The client reads again. Invariant: neither a running timer nor a gate is passed over."""
        self.paused = False
        if self._timer is None and not self._held and not self.ended:
            self.advance()

    def released(self) -> None:
        """Its gate has opened."""
        self._held = False
        if not self.ended:
            self.advance()

    def stop(self) -> None:
        """The client went away: produce nothing more."""
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def line(self, key: str, ended_s: float, *, left: bool) -> BillLine:
        asked, reply, turn_over = self.asked, self.reply, self.reply.fate
        refused = turn_over == "refused" or reply.status == 0
        return BillLine(
            id=self.request.header("x-request-id"),
            reply_id=reply.reply_id,
            path=self.request.path,
            model=asked.model if asked is not None else "",
            key=key,
            outcome="cut" if left and turn_over == "completed" else turn_over,
            status=reply.status,
            input_tokens=0 if refused else reply.input_tokens,
            output_tokens=0 if refused else self.tokens,
            cached_tokens=0 if refused else reply.cached_tokens,
            reasoning_tokens=0 if refused else min(self.tokens, reply.reasoning_tokens),
            sent_bytes=self.sent_bytes,
            stream=asked is not None and asked.stream,
            started_s=self.started_s,
            ended_s=ended_s,
            started_wall_s=self.started_wall_s,
            client_left_s=ended_s if left else None,
        )

    def _finish(self, end: End) -> None:
        if end is End.RESET and self._transport.get_write_buffer_size():
            self._steps = iter((end,))
            self._timer = self._loop.call_later(0.001, self.advance)
            return
        self.ended = True
        self._watcher.finished(self, end)


def reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
