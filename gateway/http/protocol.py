"""The server's side of a client connection: requests in their order, with deadlines, caps and half-close probes."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools

from gateway.domain.errors import BodyTooSlow, GatewayError, HeadersTooLarge, InvalidRequest, Overloaded
from gateway.http.cycle import DoorCycle, whole
from gateway.http.flow import Flow
from gateway.http.inspection import RequestHead
from gateway.http.limits import BODY_BYTES_PER_S
from gateway.http.listener import Listener

UNREAD_BYTES_MAX = 64 * 1024
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
TURNED_AWAY_MAX = 32
"""Connections beyond the cap that get a word about it; the others are only closed."""

PROBE_S = (0.02, 0.03, 0.05, 0.2, 1.0)
HEAD_EXTRA_BYTES = 256
"""Of a head on the wire: method, version and line ends, which its limit does not count."""

_UPGRADING = frozenset({b"connection", b"upgrade", b"http2-settings"})

_log = logging.getLogger("meterway.server")

Serve = Callable[[DoorCycle], Awaitable[None]]


class DoorProtocol(asyncio.Protocol):
    """`cycle` is the latest request, `_running` the one that is answered; they differ when requests are pipelined.

    Invariant: `flow` is None only before the connection is made.
    """

    def __init__(self, listener: Listener, serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
        self.cycle: DoorCycle | None = None
        self.flow: Flow | None = None
        self._listener = listener
        self._limits = listener.limits
        self._serve = serve
        self._loop = loop
        self._parser: Any = None
        self._address: str | None = None
        self._running: DoorCycle | None = None
        self._pipeline: deque[DoorCycle] = deque()
        self._head = RequestHead()
        self._in_head = False
        self._raw_head_bytes = 0
        self._body_bytes = 0
        self._body_started_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = 0.0
        self._deaf = False
        self._discarded_bytes = 0
        self._last_word = b""
        self._probes = 0

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self._listener
        flow = Flow(cast(asyncio.Transport, transport), self._loop, listener.outbox, self._limits.send_stall_s)
        self.flow = flow
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # it is not read, and no fault
        listener.connections.add(self)
        over = len(listener.connections) - self._limits.connections
        if over > TURNED_AWAY_MAX or not self._enter("" if flow.client is None else flow.client[0]):
            listener.refused["all" if over > TURNED_AWAY_MAX else "address"] += 1
            self._deaf = True
            flow.transport.abort()
        elif over > 0:
            listener.refused["all"] += 1
            self._refuse(Overloaded("too many connections are open; try again later", retry_after_s=1.0))
        else:
            self._arm(self._limits.head_timeout_s, self._head_late)

    def _enter(self, address: str) -> bool:
        if not self._listener.addresses.enter(address):
            return False
        self._address = address
        return True

    @property
    def _line(self) -> Flow:
        if self.flow is None:
            raise AssertionError("nothing happens before the connection is made")
        return self.flow

    @property
    def transport(self) -> asyncio.Transport:
        return self._line.transport

    @property
    def _busy(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        if self._address is not None:
            self._listener.addresses.leave(self._address)
        self._disarm()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._pipeline.clear()
        if self._running is not None:
            self._running.lose()
        self._line.lost()
        self._parser = None  # parser and connection hold each other

    def shutdown(self) -> None:
        """The gateway is going down: what is being answered is the last."""
        if self.cycle is None or self.cycle.response_complete:
            self.close()
        else:
            self.cycle.keep_alive = False

    def close(self) -> None:
        self._line.close()

    def eof_received(self) -> bool:
        """A client that only closed its writing side is still there; one that is gone answers a probe with a reset."""
        self._line.flush()
        latest = self.cycle
        if not self._busy or self._in_head or latest is None or latest.more_body:
            return False
        latest.keep_alive = False
        self._disarm()
        self._probe()
        return True

    def _probe(self) -> None:
        running = self._running
        if running is None or running.response_complete or self.transport.is_closing():
            return
        running.probe()
        self._arm(PROBE_S[min(self._probes, len(PROBE_S) - 1)], self._probe)
        self._probes += 1

    def pause_writing(self) -> None:
        self._line.pause_writing()

    def resume_writing(self) -> None:
        self._line.resume_writing()

    def _await_next(self) -> None:
        self._idle_since_s = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._limits.keep_alive_s, self._idle)

    def _idle(self) -> None:
        """One timer for a connection, however many requests pass: they only note the time."""
        self._idle_timer = None
        if self._in_head or self._busy:
            return
        left_s = self._idle_since_s + self._limits.keep_alive_s - self._loop.time()
        if self._line.write_paused:
            self._await_next()
        elif left_s > 0.001:
            self._idle_timer = self._loop.call_later(left_s, self._idle)
        else:
            self._line.close_written()

    # Incoming bytes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._discard(len(data))
            return
        if self._in_head:
            self._raw_head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(InvalidRequest("the request is not valid HTTP/1.1"))
            return
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        cycle = self.cycle
        if self._in_head or cycle is None or cycle.more_body:
            self._incomplete()
        elif cycle.response_complete and self._idle_timer is None:
            self._await_next()

    def _incomplete(self) -> None:
        """Only a request that does not arrive whole pays for a deadline."""
        limits = self._limits
        if self._in_head and self._raw_head_bytes > limits.headers_bytes + HEAD_EXTRA_BYTES:
            self._refuse(HeadersTooLarge(f"the head is larger than {limits.headers_bytes} bytes"))
        elif self._timer is not None or self._deaf:
            pass
        elif self._in_head:
            self._arm(limits.head_timeout_s, self._head_late)
        else:
            self._body_started_s = self._loop.time()
            self._arm(limits.body_timeout_s, self._body_late)

    def on_message_begin(self) -> None:
        self._head = RequestHead()
        self._in_head = True
        self._raw_head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._head.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """What is one too many is still taken, so that the whole head can be refused for it; trailers are not."""
        headers = self._head.headers
        if self._in_head and len(headers) <= self._limits.headers_max:
            headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        if self._deaf:
            return
        head, parser = self._head, self._parser
        head.version = parser.get_http_version()
        head.method = parser.get_method()
        fault = head.inspect(self._limits, self._listener.plain_paths)
        if head.upgrades and parser.should_upgrade() and not isinstance(fault, HeadersTooLarge):
            return
        if fault is not None:
            self._refuse(fault)
        else:
            self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        keep_alive = head.version != "1.0" and self._parser.should_keep_alive()
        cycle = DoorCycle(self._listener, self._line, self._loop, head, self._answered, keep_alive=keep_alive)
        self.cycle = cycle
        self._body_bytes = 0
        if not self._busy:
            self._start(cycle)
        else:
            self._line.pause_reading()
            self._pipeline.append(cycle)

    def _start(self, cycle: DoorCycle) -> None:
        self._running = cycle
        task = cycle.task = asyncio.Task(self._run(cycle), loop=self._loop, name="request")  # a number costs 0.3 us
        self._listener.tasks.add(task)

    async def _run(self, cycle: DoorCycle) -> None:
        try:
            await self._serve(cycle)
        except asyncio.CancelledError:
            self._line.close()
            raise
        except Exception:  # noqa: BLE001 - the last line of defence
            _log.exception("the application failed")
        finally:
            if cycle.task is not None:
                self._listener.tasks.discard(cycle.task)
            cycle.on_answered = None
        if not (cycle.response_complete or cycle.disconnected):
            cycle.fail()
            self._answered(cycle)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._deaf or cycle is None or cycle.response_complete:
            return
        cycle.arrived(body)
        self._body_bytes += len(body)
        if cycle.unread_bytes > UNREAD_BYTES_MAX:
            self._line.pause_reading()

    def on_message_complete(self) -> None:
        """Reads on, or else a client that leaves would not be noticed."""
        self._disarm()
        cycle = self.cycle
        if self._deaf or cycle is None or cycle.response_complete:
            return
        cycle.arrived_whole()
        if not self._pipeline:
            self._line.resume_reading()

    def _answered(self, cycle: DoorCycle) -> None:
        """The next request of a pipeline, the refusal that waited for its turn, or the wait for a request."""
        flow = self._line
        if not cycle.keep_alive:
            if cycle.more_body:
                self._linger()
            else:
                flow.close_written()
        if flow.transport.is_closing():
            return
        if self._pipeline:
            self._start(self._pipeline.popleft())
        elif self._last_word:
            self._say(self._last_word)
        elif not self._deaf:
            self._await_next()
        if not self._pipeline:
            flow.resume_reading()

    # Deadlines and refusals

    def _arm(self, delay_s: float, late: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._loop.call_later(delay_s, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        """Reading that we paused ourselves does not count against the client."""
        self._timer = None
        if self._line.read_paused:
            self._arm(self._limits.head_timeout_s, self._head_late)
        elif self._in_head:
            self._refuse(BodyTooSlow(f"the head did not arrive within {self._limits.head_timeout_s:g} s"))
        else:
            self._line.close()

    def _body_late(self) -> None:
        """A pipelined request has all its time once it is its turn, as nothing of it is read before."""
        self._timer = None
        if self._running is not self.cycle:
            self._body_started_s = self._loop.time()
        allowed_s = self._limits.body_timeout_s + self._body_bytes / BODY_BYTES_PER_S
        left_s = self._body_started_s + allowed_s - self._loop.time()
        if left_s > 0:
            self._arm(left_s, self._body_late)
        else:
            self._refuse(BodyTooSlow("the body did not arrive in time"))

    def _refuse(self, error: GatewayError) -> None:
        """Ends the connection with an answer of its own, after those that are due before it."""
        if self._deaf:
            return
        self._deaf = True
        self._disarm()
        running, latest = self._running, self.cycle
        if running is None or running.response_complete:
            self._say(whole(error))
        elif running is not latest or not running.more_body:
            if self._pipeline and latest is not None and latest.more_body:
                self._pipeline.pop()
            self._last_word = whole(error)
        elif running.response_started:
            running.keep_alive = False
        else:
            running.lose(error)
            self._say(whole(error))

    def _say(self, answer: bytes) -> None:
        self._last_word = b""
        self._line.write(answer)
        self._linger()

    def _stay(self, rest: bytes) -> None:
        """A wish for another protocol is not followed (RFC 9110 7.8): the same request without it, as the last one."""
        if self._deaf:
            return
        head = self._head
        kept = [header for header in head.headers if header[0] not in _UPGRADING]
        lines = b"".join([b"%b: %b\r\n" % header for header in [*kept, (b"connection", b"close")]])
        start = b"%b %b HTTP/1.1\r\n" % (head.method, head.url)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(start + lines + b"\r\n" + rest)

    def _linger(self) -> None:
        """Closing with unread input would reset the connection and could destroy the answer: read a little on."""
        self._deaf = True
        flow = self._line
        if flow.transport.is_closing():
            return
        self._discarded_bytes = 0
        flow.resume_reading()
        flow.flush()
        if flow.transport.can_write_eof():
            flow.transport.write_eof()
        self._arm(LINGER_S, flow.close_written)

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES:
            self._line.pause_reading()
