"""One request and its response on a connection: uvicorn's cycle with a shorter way out and a hang-up call."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.domain.errors import GatewayError, InternalError
from gateway.http import heads
from gateway.wire import failures


class HeaderUnsafe(ValueError):
    """A response header that would break out of its line."""


class Connection(Protocol):
    """What a finished response asks of its connection."""

    def close_written(self) -> None: ...
    def linger(self) -> None: ...


class DoorCycle(RequestResponseCycle):
    """`on_gone` is called once when the client leaves before the response is complete.

    `fault` is why the connection gave the request up, if that was not the client's leaving. `event_stream` allows
    comments between the pieces of the body.
    """

    connection: Connection
    task: asyncio.Task[None]
    tasks: set[asyncio.Task[None]]
    on_gone: Callable[[], None] | None = None
    fault: GatewayError | None = None
    event_stream = False
    _head = b""

    def lose(self, fault: GatewayError | None = None) -> None:
        """The client cannot be answered any more: it has left, or `fault` has been said to it instead."""
        if self.response_complete:
            return
        self.disconnected = True
        self.fault = fault
        self.message_event.set()
        self.gone()

    def gone(self) -> None:
        if self.on_gone is not None:
            call, self.on_gone = self.on_gone, None
            call()

    def probe(self) -> None:
        """Writes what a client that is there ignores, and one that is gone answers with a reset."""
        if self.event_stream:
            self.comment(b":\n\n")
        elif not self.response_started and self.scope["http_version"] != "1.0":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def comment(self, text: bytes) -> None:
        """Invariant: every piece of an event stream ends with its event, so that a comment never stands inside one."""
        open_now = self.event_stream and self.response_started and not (self.response_complete or self._head)
        if open_now and not self.disconnected and not self.flow.write_paused:
            self.transport.write(self._framed(text))

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._send_head(message)
        elif not self.response_complete:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']!r} after the response was complete")

    def whole_body(self) -> bytes | None:
        """The request's body if it has arrived whole, as most have: the short way past `receive`."""
        if self.more_body or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.message_event.clear()
        return body

    def answer(self, status: int, headers: heads.Headers, body: bytes) -> bool:
        """The whole response at once; False where it has to wait for the client, thus for `send`."""
        if self.disconnected:
            return True
        if self.flow.write_paused or self.response_started:
            return False
        self._send_head({"status": status, "headers": headers})
        self._send_body(body, more=False)
        return True

    async def run_asgi(self, app: Any) -> None:
        """As uvicorn's, less what an application of ours never does."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.close()
            raise
        except Exception:
            self.logger.exception("the application failed")
        finally:
            self.tasks.discard(self.task)
            self.on_response = _nothing
        if not (self.response_complete or self.disconnected):
            if self.response_started:
                self.transport.close()
            else:
                await self.send_500_response()

    async def send_500_response(self) -> None:
        if not self.disconnected:
            self.transport.write(whole(InternalError("the gateway failed; the operator finds the request by its id")))
            self.response_started = True
            self.keep_alive = False
            self._complete()

    def _send_head(self, message: Any) -> None:
        """Invariant: a head without a content-length is followed by a stream, one with it by one body."""
        self.waiting_for_100_continue = False
        status: int = message["status"]
        streamed = self.scope["method"] != "HEAD" and status not in (204, 304)
        content = [STATUS_LINE[status]]
        lines = 2
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if name == b"content-length":
                streamed = False
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
                continue
            content += (name, b": ", value, b"\r\n")
            lines += 1
        if self.more_body:
            self.keep_alive = False
        self.chunked_encoding = streamed and self.scope["http_version"] != "1.0"
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
            lines += 1
        if self.chunked_encoding:
            content.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        content.append(b"\r\n")
        head = b"".join(content)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise HeaderUnsafe("a response header holds a control byte")
        self.response_started = True
        if streamed or self.scope["method"] == "HEAD":
            self.transport.write(head)
        else:
            self._head = head

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.chunked_encoding:
            pieces = self._framed(body) if body else b""
            self.transport.write(pieces if more else pieces + b"0\r\n\r\n")
        elif self.scope["method"] != "HEAD":
            self.transport.write(self._head + body)
            self._head = b""
        if not more:
            self._complete()

    def _framed(self, body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if self.chunked_encoding else body

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            if self.more_body:
                self.connection.linger()
            else:
                self.connection.close_written()
        self.on_response()


def _nothing() -> None:
    pass


def watch(scope: MutableMapping[str, Any], on_gone: Callable[[], None] | None) -> DoorCycle | None:
    """Asks to be told when the client of this request leaves; None on a server that is not ours.

    Taken out of the scope, which the cycle holds: each request would otherwise leave a ring for the collector.
    """
    cycle: DoorCycle | None = scope.pop("meterway.cycle", None)
    if cycle is not None:
        cycle.on_gone = on_gone
        if on_gone is not None and cycle.disconnected:
            asyncio.get_running_loop().call_soon(cycle.gone)
    return cycle


def whole(error: GatewayError) -> bytes:
    """An answer and the end of its connection, for what the application does not see or could not answer."""
    body = failures.body_of(error)
    headers: heads.Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", heads.new_request_id().encode()),
        *heads.retry_headers(error.retry_after_s, again=error.again),
        (b"connection", b"close"),
    ]
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return STATUS_LINE[failures.status_of(error)] + lines + b"\r\n" + body
