"""The server's side of a client connection: uvicorn's protocol with deadlines, caps and half-close probes."""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.cycle import DoorCycle
from gateway.http.limits import BODY_BYTES_PER_S, DoorLimits

LINGER_S = 2.0
LINGER_BYTES = 4 * 1024 * 1024
PROBE_S = (0.02, 0.03, 1.0)

_SUSPECT = (b"//", b"\\", b"/.", b"%00", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%5C", b"#")
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class DoorProtocol(HttpToolsProtocol):
    """`limits` and `plain_paths` (paths that need no inspection) are set by `door_protocol`."""

    limits = DoorLimits()
    plain_paths: frozenset[bytes] = frozenset()

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _body_bytes = 0
    _body_started_s = 0.0
    _hosts = 0
    _refused = False
    _lingering = -1
    _probes = 0

    @property
    def _current(self) -> DoorCycle | None:
        cycle: Any = self.cycle
        return cycle if isinstance(cycle, DoorCycle) else None

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "gateway_overloaded", "too many connections; try again later")
            return
        self._arm(self.limits.head_timeout_s, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        cycle = self._current
        super().connection_lost(exc)
        if cycle is not None:
            cycle.gone()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn closes on every end of input
        """A client that only closed its writing side is still there; one that is gone answers a probe with a reset."""
        cycle = self._current
        if cycle is None or cycle.response_complete or self._in_head or cycle.more_body:
            return None
        self._probes = 0
        self._probe()
        return True

    def _probe(self) -> None:
        cycle = self.cycle
        if self.transport.is_closing() or cycle.response_complete:
            self.transport.close()
            return
        if not cycle.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif cycle.chunked_encoding:
            self.transport.write(b"3\r\n:\n\n\r\n")
        delay_s = PROBE_S[min(self._probes, len(PROBE_S) - 1)]
        self._probes += 1
        self._timer = self.loop.call_later(delay_s, self._probe)

    # Incoming bytes

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
            return
        if self._in_head:
            self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400, "invalid_request", "the request is not valid HTTP/1.1")
            return
        except httptools.HttpParserUpgrade:
            self._refuse(400, "invalid_request", "protocol upgrades are not supported")
            return
        if self._in_head:
            if self._head_bytes > self.limits.headers_bytes:
                self._refuse(431, "headers_too_large", f"the head is larger than {self.limits.headers_bytes} bytes")
            elif self._timer is None:
                self._arm(self.limits.head_timeout_s, self._head_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._hosts = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head_bytes += len(url)
        if len(self.url) > self.limits.header_bytes:
            self._refuse(431, "headers_too_large", "the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        limits = self.limits
        self._head_bytes += len(name) + len(value)
        if len(value) > limits.header_bytes or self._head_bytes > 2 * limits.headers_bytes:
            self._refuse(431, "headers_too_large", f"a header is larger than {limits.header_bytes} bytes")
        elif len(self.headers) >= limits.headers_max:
            self._refuse(431, "headers_too_large", f"more than {limits.headers_max} headers")
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            self._refuse(400, "invalid_request", "the only transfer-encoding served is 'chunked'")
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        if self._refused:
            return
        version = self.parser.get_http_version()
        if self._hosts != 1 and not (self._hosts == 0 and version == "1.0"):
            self._refuse(400, "invalid_request", f"a request has exactly one Host header, this one has {self._hosts}")
            return
        path, _, query = self.url.partition(b"?")
        if path not in self.plain_paths and not _plain(path):
            self._refuse(400, "invalid_request", "the request target is not a plain absolute path")
            return
        self._begin(path, query, version)

    def _begin(self, path: bytes, query: bytes, version: str) -> None:
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        scope["path"] = path.decode("ascii")
        scope["raw_path"] = path
        scope["query_string"] = query
        before = self._current
        cycle = self.cycle = DoorCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.linger = self._linger
        scope["meterway.cycle"] = cycle
        self._body_bytes = 0
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        if self._timer is None and self.cycle.more_body:
            self._body_started_s = self.loop.time()
            self._arm(self.limits.body_timeout_s, self._body_late)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        if not self._refused and self._current is not None:
            super().on_message_complete()

    # Deadlines and refusals

    def _arm(self, delay_s: float, late: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(408, "request_timeout", f"the head did not arrive within {self.limits.head_timeout_s:g} s")
        else:
            self.transport.close()

    def _body_late(self) -> None:
        """Reading that we paused ourselves does not count against the client."""
        self._timer = None
        allowed_s = self.limits.body_timeout_s + self._body_bytes / BODY_BYTES_PER_S
        left_s = self._body_started_s + allowed_s - self.loop.time()
        if left_s > 0:
            self._arm(left_s, self._body_late)
        elif (cycle := self._current) is not None and not cycle.response_started:
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.gone()
            self._refuse(408, "request_timeout", "the body did not arrive in time")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answers without the application and ends the connection; nothing of the request is used."""
        if self._refused:
            return
        self._refused = True
        self._disarm()
        body = (
            b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"%b",'
            b'"fault":"caller","retryable":false}}' % (message.encode(), code.encode())
        )
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-should-retry: false\r\n"
        self.transport.write(head % (status, _PHRASES[status], len(body)) + b"connection: close\r\n\r\n" + body)
        self._linger()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_request", msg)

    def _linger(self) -> None:
        """Closing with unread input would reset the connection and could destroy the answer: read a little on."""
        self._refused = True
        self._lingering = LINGER_BYTES
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._arm(LINGER_S, self.transport.close)

    def _discard(self, size: int) -> None:
        self._lingering -= size
        if self._lingering < 0:
            self.transport.close()


def _plain(path: bytes) -> bool:
    return path.startswith(b"/") and path.isascii() and not any(mark in path for mark in _SUSPECT)


def door_protocol(limits: DoorLimits, plain_paths: frozenset[bytes]) -> type[DoorProtocol]:
    """uvicorn wants a class; this one knows its limits."""
    return type("BoundDoorProtocol", (DoorProtocol,), {"limits": limits, "plain_paths": plain_paths})
