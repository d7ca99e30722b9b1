"""One request and its response on a connection: uvicorn's cycle with a shorter way out and a hang-up call."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class HeaderUnsafe(ValueError):
    """A response header that would break out of its line."""


class DoorCycle(RequestResponseCycle):
    """`on_gone` is called once when the client leaves before the response is complete."""

    on_gone: Callable[[], None] | None = None
    linger: Callable[[], None] | None = None

    def gone(self) -> None:
        """The connection is lost."""
        if self.on_gone is not None and not self.response_complete:
            call, self.on_gone = self.on_gone, None
            call()

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

    def _send_head(self, message: Any) -> None:
        """Invariant: a head without a content-length is a chunked stream, one with it is followed by one body."""
        self.response_started = True
        self.waiting_for_100_continue = False
        status: int = message["status"]
        self.chunked_encoding = self.scope["method"] != "HEAD" and status not in (204, 304)
        content = [STATUS_LINE[status]]
        lines = 2
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if name == b"content-length":
                self.chunked_encoding = False
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
                continue
            content += (name, b": ", value, b"\r\n")
            lines += 1
        if self.more_body:
            self.keep_alive = False
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
        if self.chunked_encoding or self.scope["method"] == "HEAD":
            self.transport.write(head)
        else:
            self._head = head

    _head = b""

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.transport.write(self._head)
        elif self.chunked_encoding:
            pieces = (b"%x\r\n" % len(body), body, b"\r\n") if body else ()
            self.transport.write(b"".join((*pieces, b"" if more else b"0\r\n\r\n")))
        else:
            self.transport.write(self._head + body)
            self._head = b""
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            if self.more_body and self.linger is not None:
                self.linger()
            else:
                self.transport.close()
        self.on_response()


def watch(scope: MutableMapping[str, Any], on_gone: Callable[[], None] | None) -> DoorCycle | None:
    """Asks to be told when the client of this request leaves; None on a server that is not ours."""
    cycle: DoorCycle | None = scope.get("meterway.cycle")
    if cycle is not None:
        cycle.on_gone = on_gone
        if on_gone is not None and cycle.disconnected:
            asyncio.get_running_loop().call_soon(cycle.gone)
    return cycle
