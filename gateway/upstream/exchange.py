"""One call and its answer on a connection: what has arrived, who waits for more, and how it ended."""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.domain.call import UpstreamCall
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.symbol import Symbol
from gateway.ports import UpstreamReply
from gateway.upstream.failures import failed, malformed
from gateway.upstream.inflate import ENCODINGS, Inflater
from gateway.upstream.watch import Watch

UNREAD_BYTES_MAX = 16 * 1024
"""Of a stream; beyond it come the bytes of one read."""

STREAM_BYTES_MAX = 256 * 1024 * 1024


class Phase(Symbol):
    HEAD = "waiting for the final head"
    BODY = "body arriving"
    DONE = "all arrived"
    FAILED = "over"


class Wire(Protocol):
    """What an exchange needs of its connection."""

    @property
    def watch(self) -> Watch: ...
    def hold_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def drop(self) -> None:
        """Close the socket at once and give the pool its slot back."""
        ...


class Exchange(UpstreamReply):
    """One answer, as far as it has arrived.

    Invariant: `_wire` is set while the connection is ours, that is until DONE or FAILED. The connection's watch then
    always has a due time, so that an exchange that nobody reads still ends at its deadline. `whole` says that its
    reader waits for all of the body, so that nothing is held back.
    """

    __slots__ = (
        "_deadline_s",
        "_encoding",
        "_failure",
        "_idle_s",
        "_inflater",
        "_limit_bytes",
        "_loop",
        "_now",
        "_passed_bytes",
        "_waiter",
        "_wire",
        "content_length",
        "headers",
        "phase",
        "pieces",
        "stale",
        "status",
        "unread_bytes",
        "whole",
    )

    def __init__(
        self, call: UpstreamCall, wire: Wire, loop: asyncio.AbstractEventLoop, now: Callable[[], float]
    ) -> None:
        self.phase = Phase.HEAD
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.content_length = -1
        self.pieces: list[bytes] = []
        self.unread_bytes = 0
        self.stale = False
        self.whole = False
        self._idle_s = call.timeouts.idle_s
        self._deadline_s = call.deadline_s
        self._wire: Wire | None = wire
        self._loop = loop
        self._now = now
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Failure | None = None
        self._encoding = b""
        self._inflater: Inflater | None = None
        self._limit_bytes: int | None = None
        self._passed_bytes = 0

    # What the caller does.

    async def read(self, limit_bytes: int) -> bytes:
        self._limit_bytes = limit_bytes
        self.whole = True
        if self.phase is Phase.BODY:
            self._check_limit()
            if self._wire is not None:
                self._wire.resume_reading()
                await self.wait(min(self._now() + self._idle_s, self._deadline_s))
        if self.phase is Phase.DONE:
            self._check_limit()
        self.raise_failure()
        pieces = self.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.pieces = []
        return body if not self._encoding else self._decode_all(body, limit_bytes)

    async def next_chunk(self, timeout_s: float) -> bytes:
        due_s = 0.0
        while True:
            if self.pieces or (self._inflater is not None and self._inflater.pending):
                chunk = self._take()
                if chunk:
                    return chunk
            elif self.phase is Phase.BODY:
                due_s = due_s or min(self._now() + timeout_s, self._deadline_s)
                await self.wait(due_s)
            else:
                return self._end()

    def close(self) -> None:
        if self._wire is not None:
            self.fail(FailureKind.RESET, "closed by its reader", Sent.YES)
        self.pieces = []

    # What the client and the connection do.

    def begin(self, status: int, headers: list[tuple[bytes, bytes]], content_length: int, encoding: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content_length = content_length
        self._encoding = encoding
        self.phase = Phase.BODY

    def advanced(self) -> None:
        """Something arrived and the exchange is not over."""
        if self._limit_bytes is not None:
            self._check_limit()
            if self._wire is not None:
                self._wire.watch.until(min(self._now() + self._idle_s, self._deadline_s))
            return
        if self.unread_bytes > UNREAD_BYTES_MAX and self._wire is not None:
            self._wire.hold_reading()
        if self.pieces or self.phase is not Phase.HEAD:
            self.wake()

    def done(self) -> None:
        """The whole answer is here; the connection is free again."""
        self._wire = None
        self.wake()

    def due(self, *, heard: bool) -> None:
        """The watch's time is up; `heard` says if the provider has sent anything at all."""
        sent = Sent.YES if heard or self.phase is not Phase.HEAD else Sent.MAYBE
        if self._now() >= self._deadline_s - 0.001:
            self.fail(FailureKind.DEADLINE, "the deadline of the request has passed", sent)
        elif self.phase is Phase.HEAD:
            self.fail(FailureKind.HEAD_TIMEOUT, "no response head in time", sent)
        else:
            self.fail(FailureKind.STALLED, "no more of the body in time", sent)

    def fail(self, kind: FailureKind, message: str, sent: Sent) -> None:
        self.fail_as(Failure(kind, message, sent=sent))

    def fail_as(self, failure: Failure) -> None:
        """Ends the exchange and its connection."""
        if self.phase is Phase.FAILED:
            return
        self.phase = Phase.FAILED
        self._failure = failure
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.drop()
        self.wake()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self, due_s: float) -> None:
        """Until something worth knowing has happened; a cancelled wait closes the socket at once."""
        wire = self._wire
        if wire is None:
            return
        wire.watch.until(due_s)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._wire is not None:
                self.fail(FailureKind.RESET, "cancelled by its reader", Sent.MAYBE)
            raise
        finally:
            self._waiter = None
        if self._wire is not None:
            wire.watch.until(self._deadline_s)

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise AttemptFailed(self._failure)

    # Leaves.

    def _check_limit(self) -> None:
        limit = self._limit_bytes
        if limit is not None and (self.unread_bytes > limit or self.content_length > limit):
            self.pieces = []
            self._too_large(f"body of more than {limit} bytes")

    def _too_large(self, message: str) -> None:
        self.fail(FailureKind.RESPONSE_TOO_LARGE, message, Sent.YES)

    def _take(self) -> bytes:
        """Everything that has arrived, or, of an encoded body, its next decoded piece."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if pieces:
            self.pieces = []
            self.unread_bytes = 0
            self._passed_bytes += len(data)
            if self._wire is not None:
                self._wire.resume_reading()
        if self._passed_bytes > STREAM_BYTES_MAX:
            self._too_large(f"stream of more than {STREAM_BYTES_MAX} bytes")
            self.raise_failure()
        return data if not self._encoding else self._decode(data)

    def _decode(self, data: bytes) -> bytes:
        if self._inflater is None:
            if self._encoding not in ENCODINGS:
                self.fail(FailureKind.MALFORMED_BODY, f"content-encoding {self._encoding!r} is unknown", Sent.YES)
                self.raise_failure()
            self._inflater = Inflater(self._encoding)
        try:
            if data:
                self._inflater.feed(data)
            return self._inflater.take() if self._inflater.pending else b""
        except zlib.error as error:
            self.fail_as(malformed(error))
        except AttemptFailed as error:
            self.fail_as(error.failure)
        self.raise_failure()
        return b""

    def _decode_all(self, body: bytes, limit_bytes: int) -> bytes:
        decoded = [self._decode(body)] if body else []
        decoded_bytes = len(decoded[0]) if decoded else 0
        while self._inflater is not None and self._inflater.pending and decoded_bytes <= limit_bytes:
            decoded.append(self._decode(b""))
            decoded_bytes += len(decoded[-1])
        if decoded_bytes > limit_bytes:
            raise failed(FailureKind.RESPONSE_TOO_LARGE, f"decoded body of more than {limit_bytes} bytes", Sent.YES)
        self._end()
        return b"".join(decoded)

    def _end(self) -> bytes:
        self.raise_failure()
        if self._inflater is not None and not self._inflater.finished:
            self.fail(FailureKind.TRUNCATED, "the encoded body has no end", Sent.YES)
            self.raise_failure()
        return b""
