"""One accepted socket: HTTP/1.1 requests in, calls played one after the other."""

import asyncio
from collections import deque
from typing import Final, Protocol, cast

import httptools

from gateway.sim.call import Call, reset
from gateway.sim.recorded import BODY_BYTES_KEPT, Recorded
from gateway.sim.step import End

BACKLOG_MAX: Final = 64
"""Pipelined requests on one connection; beyond it the connection is closed."""
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
WRITE_BUFFER_BYTES: Final = 65_536


class House(Protocol):
    """The simulator, as a connection sees it."""

    def joined(self, connection: "Connection") -> None: ...
    def left(self, connection: "Connection") -> None: ...
    def answer(self, request: Recorded, body: bytes, connection: "Connection") -> Call | None:
        """None if the answer has already been written."""
        ...

    def settled(self, call: Call, *, left: bool) -> None: ...
    def gate(self, name: str, call: Call) -> bool: ...


class Connection(asyncio.Protocol):
    """Takes the next request only when the answer before it is complete, so that answers keep their order."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self._house = house
        self.loop = loop
        self.number = 0
        self.requests = 0
        self.transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._call: Call | None = None
        self._backlog: deque[tuple[Recorded, bytes, bool]] = deque()
        self._keep = True
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._house.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self._backlog.clear()
        self._house.left(self)

    def eof_received(self) -> bool | None:
        """A client that sends FIN is taken to be gone, as providers do."""
        self._gone()
        return None

    def pause_writing(self) -> None:
        if self._call is not None:
            self._call.paused = True

    def resume_writing(self) -> None:
        if self._call is not None:
            self._call.resume()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.transport.close()
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._body_bytes = b"", [], [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if any(name == "expect" and value.lower() == "100-continue" for name, value in self._headers):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self.transport.abort()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        path, _, query = self._url.decode("latin-1").partition("?")
        kept = body if len(body) <= BODY_BYTES_KEPT else body[:BODY_BYTES_KEPT]
        method = self._parser.get_method().decode()
        request = Recorded(method, path, query, tuple(self._headers), kept, len(body), self.number)
        self._backlog.append((request, body, self._parser.should_keep_alive()))
        if len(self._backlog) > BACKLOG_MAX:
            self.transport.abort()
        elif self._call is None:
            self._next()

    def gate(self, name: str, call: Call) -> bool:
        return self._house.gate(name, call)

    def finished(self, call: Call, end: End) -> None:
        self._call = None
        self._house.settled(call, left=False)
        if end is End.RESET:
            reset(self.transport)
        elif end is End.FIN or not self._keep:
            self.transport.close()
        else:
            self._next()

    def _next(self) -> None:
        """Invariant: `_call` is None; each turn either starts a call or empties the backlog by one."""
        while self._backlog and self._call is None and not self.transport.is_closing():
            request, body, self._keep = self._backlog.popleft()
            self.requests += 1
            call = self._house.answer(request, body, self)
            if call is not None:
                self._call = call
                call.advance()
                return
            if not self._keep:
                self.transport.close()

    def _gone(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.stop()
            self._house.settled(call, left=True)
