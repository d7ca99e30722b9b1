"""One HTTP/1.1 connection as an asyncio protocol, with at most one exchange at a time."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

import httptools

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Origin
from gateway.domain.failure import Failure, FailureKind, Sent
from gateway.outbox import Outbox
from gateway.upstream.exchange import Exchange, Phase
from gateway.upstream.failures import describe, failed, malformed
from gateway.upstream.watch import NEVER_S, Watch

HEAD_BYTES_MAX = 32 * 1024
HEADER_BYTES_MAX = 8 * 1024
HEADERS_MAX = 128
INFORMATIONAL_MAX = 8
WRITE_BYTES = 64 * 1024
READ_BYTES = 256 * 1024
STREAM_READ_BYTES = 32 * 1024
"""A stream is read in small pieces: what has been read when its reader stops is what it holds (C4)."""

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
_BODILESS = frozenset({204, 304})


class Owner(Protocol):
    """Whom a connection goes back to. `inbox` is where its connections read into, each for a moment."""

    @property
    def inbox(self) -> memoryview: ...
    @property
    def outbox(self) -> Outbox: ...
    def freed(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...
    def gone(self, connection: "Connection") -> None:
        """The transport is closed for good."""
        ...


class Refused(Exception):
    """Raised inside a parser callback to stop the parser; carries what is wrong with the answer."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message, sent=Sent.YES)


class Connection(asyncio.BufferedProtocol):
    """Invariant: `exchange` is None while idle, and an idle connection that hears anything closes."""

    __slots__ = (
        "_head_bytes",
        "_headers",
        "_inbox",
        "_informational",
        "_keep_alive",
        "_loop",
        "_now",
        "_outbox",
        "_owner",
        "_parser",
        "_quiet_bytes",
        "_reading_held",
        "_small_inbox",
        "_spoiled",
        "_transport",
        "_unsent",
        "_until_eof",
        "_writing_held",
        "closed",
        "exchange",
        "idle_since_s",
        "origin",
        "served",
        "watch",
    )

    def __init__(self, origin: Origin, owner: Owner, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self.origin = origin
        self.exchange: Exchange | None = None
        self.closed = False
        self.served = 0
        self.idle_since_s = 0.0
        self.watch = Watch(loop, now, self._due)
        self._owner = owner
        self._inbox = owner.inbox
        self._outbox = owner.outbox
        self._small_inbox = owner.inbox[:STREAM_READ_BYTES]
        self._loop = loop
        self._now = now
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._informational = 0
        self._quiet_bytes = 0
        self._until_eof = False
        self._keep_alive = False
        self._spoiled = False
        self._unsent = False
        self._reading_held = False
        self._writing_held = False

    # What the pool and the client do.

    @property
    def usable(self) -> bool:
        return not self.closed and self._transport is not None and not self._transport.is_closing()

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    def secured(self, transport: asyncio.Transport) -> None:
        """TLS now stands between us and the socket; it must not hold more than we do."""
        self._transport = transport
        cast(Any, transport).set_read_buffer_limits(STREAM_READ_BYTES)  # only those of TLS have it

    def start(self, call: UpstreamCall, head: bytes) -> Exchange:
        """Writes the request, or of a large one the first piece; `finish_writing` does the rest."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise failed(FailureKind.RESET, "the connection closed before it was used", Sent.NO)
        exchange = self.exchange = Exchange(call, self, self._loop, self._now)
        self._headers = []
        self._informational = 0
        self._quiet_bytes = 0
        self._spoiled = False
        if len(call.body) <= WRITE_BYTES:
            self._outbox.put(transport, head + call.body)
        else:
            self._unsent = True
            transport.write(head)
        return exchange

    async def finish_writing(self, exchange: Exchange, body: bytes, due_s: float) -> None:
        """In pieces, no faster than the socket takes them, and no further once an answer or an end has come."""
        view = memoryview(body)
        for start in range(0, len(view), WRITE_BYTES):
            while self._writing_held and exchange.phase is Phase.HEAD:
                await exchange.wait(due_s)
            if exchange.phase is not Phase.HEAD or self._transport is None:
                return
            self._transport.write(view[start : start + WRITE_BYTES])
        self._unsent = False

    def drop(self) -> None:
        """Closes the socket at once. Invariant: the pool hears of it exactly once."""
        if self.closed:
            return
        self.closed = True
        self._parser = None  # parser and connection hold each other
        self.watch.stop()
        exchange, self.exchange = self.exchange, None
        if self._transport is not None:
            self._transport.abort()
        self._owner.lost(self)
        if exchange is not None:
            exchange.fail(FailureKind.RESET, "connection closed by the gateway", Sent.MAYBE)

    def hold_reading(self) -> None:
        if not self._reading_held and self._transport is not None and not self._transport.is_closing():
            self._reading_held = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_held and self._transport is not None and not self._transport.is_closing():
            self._reading_held = False
            self._transport.resume_reading()

    # What the loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are Transports in all but descent
        if self.closed:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Invariant: what is read into it is parsed, thus copied, before the loop turns to another connection."""
        exchange = self.exchange
        return self._small_inbox if exchange is None or not exchange.whole else self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._inbox[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        exchange = self.exchange
        if exchange is None:
            self.drop()
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broken(exchange, error)
            return
        if exchange.phase is Phase.DONE:
            self._finish(exchange)
        elif self._quiet_bytes > HEAD_BYTES_MAX:
            exchange.fail(FailureKind.RESPONSE_TOO_LARGE, f"more than {HEAD_BYTES_MAX} bytes of head", Sent.YES)
        else:
            exchange.advanced()

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._transport = None
        self._owner.gone(self)

    def pause_writing(self) -> None:
        self._writing_held = True

    def resume_writing(self) -> None:
        self._writing_held = False
        if self.exchange is not None:
            self.exchange.wake()

    # What the parser does.

    def on_message_begin(self) -> None:
        if self.exchange is None or self.exchange.phase is not Phase.HEAD:
            self._spoiled = True  # an answer that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        headers.append((name.lower(), value))
        if len(headers) > HEADERS_MAX:
            raise Refused(FailureKind.RESPONSE_TOO_LARGE, f"more than {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.phase is not Phase.HEAD:
            return
        if self._quiet_bytes > HEADER_BYTES_MAX:
            self._check_sizes()
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > INFORMATIONAL_MAX:
                kind = FailureKind.MALFORMED_BODY if status == 101 else FailureKind.RESPONSE_TOO_LARGE
                raise Refused(kind, f"informational response {status}, number {self._informational}")
            return
        headers, self._headers = self._headers, []  # what follows is trailers: counted, not kept
        length, encoding = self._framing(status, headers)
        exchange.begin(status, headers, length, encoding)

    def on_body(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.phase is Phase.BODY:
            exchange.pieces.append(data)
            exchange.unread_bytes += len(data)
            self._quiet_bytes = 0

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.phase is Phase.HEAD:
            self._headers = []
        elif exchange.phase is Phase.BODY:
            self._keep_alive = self._parser.should_keep_alive()
            exchange.phase = Phase.DONE

    # Leaves.

    def _framing(self, status: int, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        length, chunked, encoding = -1, False, b""
        for name, value in headers:
            if name not in _FRAMING:
                continue
            if name == b"content-length":
                length = int(value)  # the parser has checked it
            elif name == b"content-encoding":
                encoding = encoding + b"," + value.lower() if encoding else value.lower()
            elif chunked or value.lower() != b"chunked":
                raise Refused(FailureKind.MALFORMED_BODY, f"transfer-encoding {value[:40]!r} is not chunked")
            else:
                chunked = True
        self._until_eof = length < 0 and not chunked and status not in _BODILESS
        return length if status not in _BODILESS else -1, b"" if encoding == b"identity" else encoding

    def _check_sizes(self) -> None:
        total = 0
        for name, value in self._headers:
            line_bytes = len(name) + len(value) + 4
            if line_bytes > HEADER_BYTES_MAX:
                raise Refused(FailureKind.RESPONSE_TOO_LARGE, f"header {name[:40]!r} of {line_bytes} bytes")
            total += line_bytes
        if total > HEAD_BYTES_MAX:
            raise Refused(FailureKind.RESPONSE_TOO_LARGE, f"head of {total} bytes")

    def _finish(self, exchange: Exchange) -> None:
        transport = self._transport
        self.exchange = None
        self.served += 1
        again = self._keep_alive and not self._spoiled and not self._unsent
        if again and transport is not None and not transport.is_closing() and self._written(transport):
            self.watch.due_s = NEVER_S
            self.resume_reading()
            self._owner.freed(self)
        else:
            self.drop()
        exchange.done()

    def _written(self, transport: asyncio.Transport) -> bool:
        return not transport.get_write_buffer_size() and not self._outbox.holds(transport)

    def _broken(self, exchange: Exchange, error: Exception) -> None:
        """Not HTTP. An answer that was complete before stands; the connection never does."""
        if exchange.phase is Phase.DONE:
            self._spoiled = True
            self._finish(exchange)
            return
        cause = error.__context__
        exchange.fail_as(cause.failure if isinstance(cause, Refused) else malformed(error))

    def _ended(self, exc: Exception | None) -> None:
        """The peer has closed, or the network has."""
        exchange = self.exchange
        if exchange is not None and exchange.phase is Phase.HEAD:
            silent = not self._quiet_bytes
            exchange.stale = bool(self.served) and silent
            sent = Sent.MAYBE if silent else Sent.YES
            reason = describe(exc) if exc is not None else "end of file"
            exchange.fail(FailureKind.RESET, f"connection lost before the response head: {reason}", sent)
        elif exchange is not None and exchange.phase is Phase.BODY:
            if self._until_eof and exc is None:
                exchange.phase = Phase.DONE
                self._keep_alive = False
                self._finish(exchange)
            else:
                exchange.fail(FailureKind.TRUNCATED, "connection lost within the response body", Sent.YES)
        self.drop()

    def _due(self) -> None:
        if self.exchange is not None:
            self.exchange.due(heard=self._quiet_bytes > 0)
