"""One request and its answer on a connection."""

import asyncio
import http
from collections.abc import Callable, MutableMapping
from typing import Any

from gateway.domain.errors import GatewayError, InternalError
from gateway.http import heads, response_head
from gateway.http.flow import Address, Flow
from gateway.http.inspection import RequestHead
from gateway.http.listener import Listener
from gateway.wire import failures

Message = MutableMapping[str, Any]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")
_LF = 0x0A
_CR = 0x0D
_NUL = 0x00
"""A number is found in bytes at once; asked for bytes, `in` raises and catches an error inside first."""


_PHRASES = {one.value: one.phrase.encode() for one in http.HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 600)}


class HeaderUnsafe(ValueError):
    """A response header that would break out of its line."""


class DoorCycle:
    """`fault` is why the connection gave the request up, if that was not the client's leaving.

    `event_stream` allows comments between the pieces of the body. `on_answered` is called once the answer is whole.
    """

    __slots__ = (
        "_chunked",
        "_continue_due",
        "_ends_at_once",
        "_head",
        "_listener",
        "_loop",
        "_news",
        "_pieces",
        "_waiter",
        "disconnected",
        "event_stream",
        "fault",
        "flow",
        "head",
        "keep_alive",
        "more_body",
        "on_answered",
        "response_complete",
        "response_started",
        "task",
        "unread_bytes",
    )

    def __init__(
        self,
        listener: Listener,
        flow: Flow,
        loop: asyncio.AbstractEventLoop,
        head: RequestHead,
        on_answered: Callable[["DoorCycle"], None] | None,
        *,
        keep_alive: bool,
    ) -> None:
        self.flow = flow
        self.head = head
        self.task: asyncio.Task[None] | None = None
        self.on_answered = on_answered
        self.keep_alive = keep_alive
        self.fault: GatewayError | None = None
        self.disconnected = False
        self.event_stream = False
        self.more_body = True
        self.unread_bytes = 0
        self.response_started = False
        self.response_complete = False
        self._listener = listener
        self._loop = loop
        self._pieces: list[bytes] = []
        self._news = False
        self._waiter: asyncio.Future[None] | None = None
        self._continue_due = head.expects_continue
        self._ends_at_once = False
        self._chunked = False
        self._head = b""

    @property
    def client(self) -> Address | None:
        return self.flow.client

    # What the connection tells.

    def arrived(self, body: bytes) -> None:
        self._pieces.append(body)
        self.unread_bytes += len(body)
        self._tell()

    def arrived_whole(self) -> None:
        self.more_body = False
        self._tell()

    def lose(self, fault: GatewayError | None = None) -> None:
        """The client cannot be answered any more: it has left, or `fault` has been said to it instead."""
        if self.response_complete:
            return
        self.disconnected = True
        self.fault = fault
        self._tell()
        if self._ends_at_once:
            self._end_task()

    def probe(self) -> None:
        """Writes what a client that is there ignores, and one that is gone answers with a reset."""
        if self.event_stream:
            self.comment(b":\n\n")
        elif not self.response_started and self.head.version != "1.0":
            self.flow.write(CONTINUE)

    # What the application asks.

    def end_with_client(self, *, wanted: bool) -> None:
        """Whether the request's task is cancelled as soon as the client leaves."""
        self._ends_at_once = wanted
        if wanted and self.disconnected:
            self._loop.call_soon(self._end_task)

    def whole_body(self) -> bytes | None:
        """The request's body if it has arrived whole, as most have."""
        if self.more_body or self.disconnected:
            return None
        self._news = False
        return self._take()

    async def next_body(self) -> bytes | None:
        """What has come of the body since the last call, at least something; None when no more is to be had."""
        if self._continue_due and not self.flow.transport.is_closing():
            self.flow.write(CONTINUE)
            self._continue_due = False
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            if not self._news:
                self._waiter = self._loop.create_future()
                await self._waiter
            self._news = False
        return None if self.disconnected or self.response_complete else self._take()

    def answer(self, status: int, lines: response_head.Lines, body: bytes, figures: bytes = b"") -> bool:
        """The whole response at once; False where it has to wait for the client, thus for `send`.

        `figures` are whole lines that nobody else's text is in: they are sent as they are, `lines` are looked through.
        """
        if self.disconnected:
            return True
        if self.flow.write_paused or self.response_started:
            return False
        self._begin(status, lines, figures, sized=True)
        self._write_body(body, more=False)
        return True

    def open(self, status: int, lines: response_head.Lines, figures: bytes = b"") -> bool:
        """The head of a stream; False as for `answer`."""
        if self.disconnected:
            return True
        if self.flow.write_paused or self.response_started:
            return False
        self._begin(status, lines, figures, sized=False)
        return True

    def push(self, body: bytes, *, more: bool) -> bool:
        """A piece of a response that has begun; False as for `answer`."""
        if self.disconnected:
            return True
        if self.flow.write_paused or not self.response_started or self.response_complete:
            return False
        self._write_body(body, more=more)
        return True

    def comment(self, text: bytes) -> None:
        """Invariant: every piece of an event stream ends with its event, so that a comment never stands inside one."""
        open_now = self.event_stream and self.response_started and not (self.response_complete or self._head)
        if open_now and not self.disconnected and not self.flow.write_paused:
            self.flow.write(self._framed(text))

    def fail(self) -> None:
        """The application ended without an answer."""
        if self.response_started:
            self.flow.close()
        else:
            error = InternalError("the gateway failed; the operator finds the request by its id")
            self.flow.write(whole(error))
        self.response_started = self.response_complete = True
        self.keep_alive = False

    # The same in the form of ASGI.

    def scope(self) -> Message:
        head, flow = self.head, self.flow
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "server": flow.server,
            "client": flow.client,
            "scheme": "http",
            "root_path": "",
            "headers": head.headers,
            "state": {},
            "method": head.method.decode("ascii"),
            "path": head.path.decode("ascii"),
            "raw_path": head.path,
            "query_string": head.query,
        }

    async def receive(self) -> Message:
        body = await self.next_body()
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._begin_as_told(message["status"], list(message.get("headers", ())))
        elif not self.response_complete:
            self._write_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']!r} after the response was complete")

    # Leaves.

    def _tell(self) -> None:
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end_task(self) -> None:
        if self._ends_at_once and self.task is not None:
            self._ends_at_once = False
            self.task.cancel()

    def _take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        self.unread_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin_as_told(self, status: int, headers: response_head.Headers) -> None:
        """What an application says of the connection is ours to do."""
        if _CLOSE in headers:
            headers.remove(_CLOSE)
            self.keep_alive = False
        sized = any(name == b"content-length" for name, _ in headers)
        self._begin(status, [response_head.line(header) for header in headers], b"", sized=sized)

    def _begin(self, status: int, lines: response_head.Lines, figures: bytes, *, sized: bool) -> None:
        """`sized`: there is a content-length, and one body follows; otherwise a stream."""
        self._continue_due = False
        bodiless = self.head.method == b"HEAD"
        streamed = not (sized or bodiless or status in (204, 304))
        if self.more_body:
            self.keep_alive = False
        self._chunked = streamed and self.head.version != "1.0"
        if not self.keep_alive:
            lines.append(b"connection: close")
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        told = b"".join(lines)
        if _LF in told or _CR in told or _NUL in told:
            raise HeaderUnsafe("a response header holds a control byte")
        lines += (figures, b"")
        head = _STATUS_LINES[status] + self._listener.date_line + b"\r\n".join(lines)
        self.response_started = True
        if streamed or bodiless:
            self.flow.write(head)
        else:
            self._head = head

    def _write_body(self, body: bytes, *, more: bool) -> None:
        if self._chunked:
            pieces = self._framed(body) if body else b""
            self.flow.write(pieces if more else pieces + b"0\r\n\r\n")
        elif self.head.method != b"HEAD":
            self.flow.write(self._head + body)
            self._head = b""
        if not more:
            self._complete()

    def _framed(self, body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body

    def _complete(self) -> None:
        self.response_complete = True
        self._tell()
        if self.on_answered is not None:
            self.on_answered(self)


def whole(error: GatewayError) -> bytes:
    """An answer and the end of its connection, for what the application does not see or could not answer."""
    body = failures.body_of(error)
    headers: response_head.Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", heads.new_request_id().encode()),
        *response_head.retry_headers(error.retry_after_s, again=error.again),
        (b"connection", b"close"),
    ]
    lines = b"".join([response_head.line(header) + b"\r\n" for header in headers])
    return _STATUS_LINES[failures.status_of(error)] + lines + b"\r\n" + body
