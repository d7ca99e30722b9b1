"""The server's side of a client connection: uvicorn's protocol with deadlines, caps and half-close probes."""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.domain.errors import BodyTooSlow, GatewayError, HeadersTooLarge, InvalidRequest, Overloaded
from gateway.http.addresses import Addresses
from gateway.http.cycle import DoorCycle, whole
from gateway.http.limits import BODY_BYTES_PER_S, DoorLimits

LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
TURNED_AWAY_MAX = 32
"""Connections beyond the cap that get a word about it; the others are only closed."""

STALL_BYTES = 16 * 1024
"""A reader that takes less than this within the stall time has stopped reading."""

PROBE_S = (0.02, 0.03, 0.05, 0.2, 1.0)
HEAD_EXTRA_BYTES = 256
"""Of a head on the wire: method, version and line ends, which its limit does not count."""

_FRAMING = frozenset({b"host", b"transfer-encoding", b"upgrade", b"expect"})
_UPGRADING = frozenset({b"connection", b"upgrade", b"http2-settings"})
_SUSPECT = (b"//", b"\\", b"/.", b"%00", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%5C", b"#")


class DoorProtocol(HttpToolsProtocol):
    """What all connections of a listener share is set by `door_protocol`; `plain_paths` need no inspection.

    `cycle` is the latest request, `_running` the one that is being answered; they differ when requests are pipelined.
    """

    limits = DoorLimits()
    plain_paths: frozenset[bytes] = frozenset()
    addresses: Addresses
    refused: dict[str, int]

    _address: str | None = None
    _running: DoorCycle | None = None
    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _unsent_bytes = 0
    _idle_since_s = 0.0
    _in_head = False
    _raw_head_bytes = 0
    _body_bytes = 0
    _body_started_s = 0.0
    _upgrade = False
    _deaf = False
    _discarded_bytes = 0
    _last_word = b""
    _probes = 0

    @property
    def _latest(self) -> DoorCycle | None:
        cycle: Any = self.cycle
        return cycle if isinstance(cycle, DoorCycle) else None

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        over = len(self.connections) - self.limits.connections
        if over > TURNED_AWAY_MAX or not self._enter("" if self.client is None else self.client[0]):
            self.refused["all" if over > TURNED_AWAY_MAX else "address"] += 1
            self._deaf = True
            transport.abort()
        elif over > 0:
            self.refused["all"] += 1
            self._refuse(Overloaded("too many connections are open; try again later", retry_after_s=1.0))
        else:
            self._arm(self.limits.head_timeout_s, self._head_late)

    def _enter(self, address: str) -> bool:
        if not self.addresses.enter(address):
            return False
        self._address = address
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self.addresses.leave(self._address)
        self._disarm()
        self._unset_keepalive_if_required()
        if self._stall is not None:
            self._stall.cancel()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._running is not None:
            self._running.lose()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn closes on every end of input
        """A client that only closed its writing side is still there; one that is gone answers a probe with a reset."""
        running, latest = self._running, self._latest
        if running is None or running.response_complete or self._in_head or latest is None or latest.more_body:
            return None
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
        self.flow.pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        if self._stall is not None and not self.transport.is_closing():
            self._stall.cancel()
            self._stall = None

    def _watch_writing(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        if self._stall is not None:
            self._stall.cancel()
        self._stall = self.loop.call_later(self.limits.send_stall_s, self._unread)

    def _unread(self) -> None:
        """Whether the client has taken anything since the last look."""
        self._stall = None
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and self._unsent_bytes - unsent_bytes < STALL_BYTES:
            self.transport.abort()
        elif unsent_bytes:
            self._watch_writing()

    def close_written(self) -> None:
        """Closes once everything is written, though not for a client that never takes it."""
        self.transport.close()
        if self._stall is None and self.transport.get_write_buffer_size():
            self._watch_writing()

    def timeout_keep_alive_handler(self) -> None:
        """One timer for a connection, however many requests pass: they only note the time."""
        self.timeout_keep_alive_task = None
        running = self._running
        if self._in_head or (running is not None and not running.response_complete):
            return
        left_s = self._idle_since_s + self.limits.keep_alive_s - self.loop.time()
        if self.flow.write_paused:
            self._await_next()
        elif left_s > 0.001:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            self.close_written()

    def _await_next(self) -> None:
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.limits.keep_alive_s, self.timeout_keep_alive_handler
            )

    # Incoming bytes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._discard(len(data))
            return
        if self._in_head:
            self._raw_head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(InvalidRequest("the request is not valid HTTP/1.1"))
            return
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        if self._in_head or self._running is None or self.cycle.more_body:
            self._incomplete()
        elif self.cycle.response_complete and self.timeout_keep_alive_task is None:
            self._await_next()

    def _incomplete(self) -> None:
        """Only a request that does not arrive whole pays for a deadline."""
        limits = self.limits
        if self._in_head and self._raw_head_bytes > limits.headers_bytes + HEAD_EXTRA_BYTES:
            self._refuse(HeadersTooLarge(f"the head is larger than {limits.headers_bytes} bytes"))
        elif self._timer is not None or self._deaf:
            pass
        elif self._in_head:
            self._arm(limits.head_timeout_s, self._head_late)
        else:
            self._body_started_s = self.loop.time()
            self._arm(limits.body_timeout_s, self._body_late)

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._raw_head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """What is one too many is still taken, so that the whole head can be refused for it."""
        if len(self.headers) <= self.limits.headers_max:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        if self._deaf:
            return
        version = self.parser.get_http_version()
        path, _, query = self.url.partition(b"?")
        fault = self._fault_in_head(version)
        if fault is None and path not in self.plain_paths and not _plain(path):
            fault = InvalidRequest("the request target is not a plain absolute path")
        if self._upgrade and self.parser.should_upgrade() and not isinstance(fault, HeadersTooLarge):
            return
        if fault is not None:
            self._refuse(fault)
        else:
            self._begin(path, query, version)

    def _fault_in_head(self, version: str) -> GatewayError | None:
        """One look at every header: sizes, the one host, the one framing."""
        limits, headers = self.limits, self.headers
        total = len(self.url)
        framing: list[tuple[bytes, bytes]] = []
        if total > limits.header_bytes:
            return HeadersTooLarge(f"the request target is longer than {limits.header_bytes} bytes")
        if len(headers) > limits.headers_max:
            return HeadersTooLarge(f"there are more than {limits.headers_max} headers")
        for header in headers:
            name, value = header
            size = len(name) + len(value)
            total += size + 4
            if size > limits.header_bytes:
                return HeadersTooLarge(f"a header is larger than {limits.header_bytes} bytes")
            if name in _FRAMING:
                framing.append(header)
        if total > limits.headers_bytes:
            return HeadersTooLarge(f"the head is larger than {limits.headers_bytes} bytes")
        return self._fault_in_framing(framing, version)

    def _fault_in_framing(self, framing: list[tuple[bytes, bytes]], version: str) -> GatewayError | None:
        hosts = 0
        encodings: list[bytes] = []
        self._upgrade = False
        for name, value in framing:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                encodings.append(value.lower())
            elif name == b"upgrade":
                self._upgrade = True
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True
        if encodings and encodings != [b"chunked"]:
            return InvalidRequest("the only transfer-encoding served is 'chunked', once")
        if version not in ("1.1", "1.0") or (version == "1.0" and encodings):
            return InvalidRequest("only HTTP/1.1 is served, and HTTP/1.0 without transfer-encoding")
        if hosts != 1 and not (hosts == 0 and version == "1.0"):
            return InvalidRequest(f"a request has exactly one Host header, this one has {hosts}")
        return None

    def _begin(self, path: bytes, query: bytes, version: str) -> None:
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": {},
            "method": self.parser.get_method().decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
        }
        self.headers = []  # those of a trailer are not the request's
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
        cycle.connection = self
        scope["meterway.cycle"] = cycle
        self._body_bytes = 0
        if self._running is None or self._running.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        cycle.tasks = self.tasks
        task = cycle.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._deaf or cycle.response_complete:
            return
        cycle.body += body
        self._body_bytes += len(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Reads on, or else a client that leaves would not be noticed."""
        self._disarm()
        cycle = self._latest
        if self._deaf or cycle is None or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.message_event.set()
        if not self.pipeline:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """The next request of a pipeline, the refusal that waited for its turn, or the wait for a request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_word:
            self._say(self._last_word)
        elif not self._deaf:
            self._await_next()
        if not self.pipeline:
            self.flow.resume_reading()

    # Deadlines and refusals

    def _arm(self, delay_s: float, late: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        """Reading that we paused ourselves does not count against the client."""
        self._timer = None
        if self.flow.read_paused:
            self._arm(self.limits.head_timeout_s, self._head_late)
        elif self._in_head:
            self._refuse(BodyTooSlow(f"the head did not arrive within {self.limits.head_timeout_s:g} s"))
        else:
            self.transport.close()

    def _body_late(self) -> None:
        """A pipelined request has all its time once it is its turn, as nothing of it is read before."""
        self._timer = None
        if self._running is not self.cycle:
            self._body_started_s = self.loop.time()
        allowed_s = self.limits.body_timeout_s + self._body_bytes / BODY_BYTES_PER_S
        left_s = self._body_started_s + allowed_s - self.loop.time()
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
        running = self._running
        if running is None or running.response_complete:
            self._say(whole(error))
        elif running is not self.cycle or not running.more_body:
            if self.pipeline and self.cycle.more_body:
                self.pipeline.popleft()
            self._last_word = whole(error)
        elif running.response_started:
            running.keep_alive = False
        else:
            running.lose(error)
            self._say(whole(error))

    def _say(self, answer: bytes) -> None:
        self._last_word = b""
        self.transport.write(answer)
        self.linger()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(msg))

    def _stay(self, rest: bytes) -> None:
        """A wish for another protocol is not followed (RFC 9110 7.8): the same request without it, as the last one."""
        if self._deaf:
            return
        kept = [(name, value) for name, value in self.headers if name not in _UPGRADING]
        lines = b"".join([b"%b: %b\r\n" % header for header in [*kept, (b"connection", b"close")]])
        start = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(start + lines + b"\r\n" + rest)

    def linger(self) -> None:
        """Closing with unread input would reset the connection and could destroy the answer: read a little on."""
        self._deaf = True
        if self.transport.is_closing():
            return
        self._discarded_bytes = 0
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._arm(LINGER_S, self.close_written)

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES:
            self.flow.pause_reading()


def _plain(path: bytes) -> bool:
    return path.startswith(b"/") and path.isascii() and not any(mark in path for mark in _SUSPECT)


def door_protocol(limits: DoorLimits, plain_paths: frozenset[bytes]) -> type[DoorProtocol]:
    """uvicorn wants a class; this one knows its limits."""
    shared = {
        "limits": limits,
        "plain_paths": plain_paths,
        "addresses": Addresses(limits.connections_per_address),
        "refused": {"address": 0, "all": 0},
    }
    return type("BoundDoorProtocol", (DoorProtocol,), shared)
