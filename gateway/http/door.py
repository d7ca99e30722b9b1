"""The data plane's door: a request's bytes in, one exchange, its answer out."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from gateway.domain.catalog import CallerKey, Catalog, Tenant
from gateway.domain.errors import (
    ClientGone,
    Draining,
    GatewayError,
    InvalidKey,
    KeyReused,
    MethodNotAllowed,
    Overloaded,
)
from gateway.domain.money import usd_digits
from gateway.domain.request import Caller, Dialect, ModelRequest, Operation, Priority
from gateway.http import bodies, heads, once, response_head
from gateway.http.cycle import DoorCycle, Message
from gateway.http.endpoints import BY_PATH, Endpoint
from gateway.http.guard import StreamGuard
from gateway.http.limits import DoorLimits
from gateway.http.response_head import Lines
from gateway.pipeline.desk import Desk
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.replays import Claimed, Mismatch, SharedAnswer
from gateway.pipeline.trace import Trace, record_of
from gateway.wire import failures

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

NOBODY = CallerKey("", b"", Tenant(""))


class Door:
    """Serves every request, `other` those that are no model operation.

    `catalog` is one pointer, read once for each request and swapped whole by a reload.
    """

    def __init__(self, desk: Desk, catalog: Catalog, limits: DoorLimits, other: App) -> None:
        self.desk = desk
        self.catalog = catalog
        self.limits = limits
        self.draining = False
        self.shed: frozenset[Priority] = frozenset()
        # Of its own: the loop's threads may all wait for SQL.
        self.parsers = ThreadPoolExecutor(bodies.PARSERS, "parser")
        self._other = other

    def serve(self, cycle: DoorCycle) -> Awaitable[None]:
        endpoint = BY_PATH.get(cycle.head.path)
        if endpoint is None:
            return self._other(cycle.scope(), cycle.receive, cycle.send)
        return Visit(self, endpoint, cycle, cycle.send).serve()


class Visit:
    """One request at the door. `shared`: its answer goes to `send` alone, and the client is only one who reads it."""

    __slots__ = (
        "_catalog",
        "_cycle",
        "_desk",
        "_door",
        "_endpoint",
        "_head",
        "_id",
        "_send",
        "_shared",
        "_started_s",
    )

    def __init__(self, door: Door, endpoint: Endpoint, cycle: DoorCycle, send: Send, *, shared: bool = False) -> None:
        self._door = door
        self._desk = door.desk
        self._catalog = door.catalog
        self._endpoint = endpoint
        self._cycle = cycle
        self._send = send
        self._shared = shared
        self._started_s = door.desk.clock.monotonic_s()
        self._id = heads.new_request_id()
        self._head: dict[bytes, bytes] = dict(cycle.head.headers)

    async def serve(self) -> None:
        self._cycle.end_with_client(wanted=True)
        try:
            await self._admit_and_exchange()
        except asyncio.CancelledError:
            await self._cancelled()
        finally:
            self._cycle.end_with_client(wanted=False)

    @property
    def _task(self) -> asyncio.Task[Any]:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a request is served inside a task")
        return task

    @property
    def _gone(self) -> bool:
        return self._cycle.disconnected and not self._shared

    async def _cancelled(self) -> None:
        """The client left, or the gateway is going down before the answer began; anything else is not ours."""
        if self._gone:
            self._task.uncancel()
        elif self._desk.interrupted:
            self._task.uncancel()
            if self._shared or not self._cycle.response_started:
                await self._refuse(Draining("the gateway is shutting down; send the request again", retry_after_s=1.0))
        else:
            raise asyncio.CancelledError

    async def _admit_and_exchange(self) -> None:
        key = NOBODY
        try:
            self._check_method()
            key = self._key()
            caller = self._caller(key)
            if caller.priority in self._door.shed:
                raise Overloaded("the gateway's memory is nearly full; retry shortly", retry_after_s=1.0)
            limit = self._door.limits.body_bytes
            bodies.check(self._head, limit)
            request = bodies.at_hand(self._cycle, self._endpoint.parse, limit)
            if request is None:
                request = await bodies.awaited(self._cycle, self._endpoint.parse, limit, self._door.parsers)
        except GatewayError as error:
            self._record_refusal(key, error)
            await self._refuse(error)
            return
        except asyncio.CancelledError:
            self._record_refusal(key, self._why_cancelled())
            raise
        if self._endpoint.headers:
            spoken = tuple([(name, self._head[name]) for name in self._endpoint.headers if name in self._head])
            request = replace(request, headers=spoken)
        given = self._head.get(once.HEADER)
        if request.operation is Operation.COUNT_TOKENS:
            await self._count(caller, request)
        elif given is None:
            await self._exchange(caller, request)
        else:
            await self._exchange_once(caller, request, given)

    async def _count(self, caller: Caller, request: ModelRequest) -> None:
        """Estimated here: nothing is sent, and nothing is charged."""
        exchange = Exchange(self._desk, self._catalog, caller, request)
        try:
            body = b'{"input_tokens":%d}' % exchange.counted()
        except GatewayError as error:
            self._record_refusal(caller.key, error)
            await self._refuse(error)
            return
        await self._answer(200, [response_head.JSON, response_head.length(body), *self._named()], b"", body)
        self._desk.recorder.record(record_of(exchange.trace, caller, request, self._desk.clock.monotonic_s()))

    async def _exchange(self, caller: Caller, request: ModelRequest) -> bool:
        """Whether the answer is whole and good."""
        exchange = Exchange(self._desk, self._catalog, caller, request)
        try:
            async with exchange:
                if exchange.reply is None:
                    await self._stream(exchange)
                    return exchange.trace.error is None
        except GatewayError as error:
            await self._refuse(error, exchange)
            return False
        lines, figures, body = self._whole(exchange)
        if not self._answered(200, lines, figures, body):
            await self._answer(200, lines, figures, body)
        return True

    async def _exchange_once(self, caller: Caller, request: ModelRequest, given: bytes) -> None:
        """Runs the call, joins the one that runs, or gives its answer again; also the first caller only reads."""
        replays = self._desk.replays
        try:
            seal = once.seal(caller.key.tenant.id, given)
            identity = once.identity(seal)
            found = await replays.claim(identity, seal, once.fingerprint(request), self._id)
            if isinstance(found, Mismatch):
                raise KeyReused("this idempotency-key was used with another request; send a new key")
        except GatewayError as error:
            self._record_refusal(caller.key, error)
            await self._refuse(error)
            return
        answer = found.answer
        if isinstance(found, Claimed):
            self._desk.begin(self._detached(answer)._run_once(identity, caller, request))  # noqa: SLF001 - a twin
            await self._pass_on(answer, replay=None)
            return
        exchange = Exchange(self._desk, self._catalog, caller, request)
        await exchange.replayed(answer.request_id)
        await self._pass_on(answer, replay=answer.done)
        self._desk.recorder.record(record_of(exchange.trace, caller, request, self._desk.clock.monotonic_s()))

    def _detached(self, answer: SharedAnswer) -> "Visit":
        """The same request, answered into `answer`, whoever of its callers stays."""
        twin = Visit(self._door, self._endpoint, self._cycle, answer.send, shared=True)
        twin._id, twin._started_s = self._id, self._started_s
        return twin

    async def _run_once(self, identity: bytes, caller: Caller, request: ModelRequest) -> None:
        keep = False
        try:
            keep = await self._exchange(caller, request)
        except asyncio.CancelledError:
            await self._cancelled()
        finally:
            self._desk.replays.ended(identity, keep=keep)

    async def _pass_on(self, answer: SharedAnswer, *, replay: bool | None) -> None:
        """To this caller; `replay` is None for the one that began it, else whether the answer had ended before."""
        at = 0
        while (message := await answer.message(at)) is not None:
            at += 1
            if at == 1 and response_head.EVENTS in message["headers"]:
                self._cycle.event_stream = True
            shown = message if replay is None else once.replayed(message, answer, self._id, ended=replay)
            await self._send(shown)
        if at == 0:
            words = "the call under this idempotency-key ended without an answer; send the request again"
            await self._refuse(Draining(words, retry_after_s=1.0))

    def _check_method(self) -> None:
        head = self._cycle.head
        if head.method != b"POST":
            raise MethodNotAllowed(f"{head.path.decode()} serves POST, not {head.method.decode()}")

    def _why_cancelled(self) -> GatewayError:
        if self._cycle.disconnected:
            return self._cycle.fault or ClientGone("the client left before it had sent its request")
        return Draining("the gateway is shutting down; send the request again")

    def _key(self) -> CallerKey:
        given = heads.bearer(self._head)
        if given is None:
            raise InvalidKey("no API key; send 'Authorization: Bearer <key>' or 'x-api-key: <key>'")
        client = self._cycle.client
        known = self._desk.keys.find(given, client[0] if client else "")
        if known is None:
            raise InvalidKey("this API key is not known here; check the key and the gateway's URL")
        return known

    def _caller(self, key: CallerKey) -> Caller:
        head, started_s = self._head, self._started_s
        started_at_s = self._desk.clock.wall_s()
        if heads.SPOKEN.isdisjoint(head):
            return Caller(key, self._id, started_s, started_at_s)
        timeout_s = heads.timeout_s(head)
        return Caller(
            key=key,
            request_id=self._id,
            started_s=started_s,
            started_at_s=started_at_s,
            deadline_s=None if timeout_s is None else started_s + timeout_s,
            session=heads.session_of(head),
            run_id=heads.text_of(head, b"x-run-id"),
            parent_run_id=heads.text_of(head, b"x-parent-run-id"),
            tags=heads.tags_of(head),
            priority=heads.priority_of(head),
            traceparent=heads.traceparent_of(head),
        )

    def _whole(self, exchange: Exchange) -> tuple[Lines, bytes, bytes]:
        """Head and body. The exchange is settled by now: what the client receives is on record."""
        reply = exchange.reply
        if reply is None:
            raise AssertionError("a whole answer is sent after its exchange")
        lines = [response_head.JSON, response_head.length(reply.body)]
        figures = self._account(exchange, lines)
        if (cost := exchange.trace.cost_nano_usd) is not None:
            figures += b"x-gateway-cost-usd: %b\r\n" % usd_digits(cost)
        return lines, figures, reply.body

    def _named(self) -> Lines:
        """The request's id, by the name that the dialect's clients look for too."""
        request_id = self._id.encode()
        named = b"x-request-id: " + request_id
        return [named, b"request-id: " + request_id] if self._endpoint.dialect is Dialect.ANTHROPIC else [named]

    def _account(self, exchange: Exchange, lines: Lines) -> bytes:
        overhead_s = self._desk.clock.monotonic_s() - self._started_s - exchange.trace.upstream_s
        lines += self._named()
        return response_head.account(exchange, self._desk.quota, overhead_s, lines)

    async def _stream(self, exchange: Exchange) -> None:
        lines = list(response_head.STREAM)
        figures = self._account(exchange, lines)
        cycle = None if self._shared else self._cycle
        if cycle is not None:
            cycle.event_stream = True
        if cycle is None or not cycle.open(200, lines, figures):
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": response_head.pairs(lines, figures)}
            )
        exchange.trace.committed = True
        guard = StreamGuard(self._send, cycle, self._door.limits.heartbeat_s)
        try:
            await self._pump(exchange, guard)
        except GatewayError as error:
            await self._end_with(error, exchange, guard)
        except asyncio.CancelledError:
            if not self._desk.interrupted or self._gone:
                raise
            self._task.uncancel()
            going_down = Draining("the gateway is shutting down; send the request again")
            await self._end_with(going_down, exchange, guard)
        finally:
            guard.close()

    async def _pump(self, exchange: Exchange, guard: StreamGuard) -> None:
        """Settled before the last bytes go out: what the client has received whole is on record."""
        ended = False
        while not ended:
            chunk = await exchange.next()
            ended = exchange.ended
            if ended:
                exchange.settle()
            await guard.send(chunk, more=not ended)

    async def _end_with(self, error: GatewayError, exchange: Exchange, guard: StreamGuard) -> None:
        """An event in the stream says what happened; a silent end would look complete."""
        exchange.settle(error)
        await guard.send(failures.event_of(error, self._endpoint.dialect, self._id), more=False)

    async def _refuse(self, error: GatewayError, exchange: Exchange | None = None) -> None:
        body = failures.body_of(error, self._endpoint.dialect, self._id)
        attempts = len(exchange.trace.attempts) if exchange is not None else 0
        lines, figures = [response_head.JSON, response_head.length(body)], b""
        if exchange is None:
            lines += self._named()
        else:
            figures = self._account(exchange, lines)
        again = response_head.retry_headers(error.retry_after_s, again=error.again and attempts == 0)
        lines += [response_head.line(header) for header in again]
        if error.status == 401:
            lines.append(b"www-authenticate: Bearer")
        elif error.status == 405:
            lines.append(b"allow: POST")
        await self._answer(failures.status_of(error), lines, figures, body)

    def _answered(self, status: int, lines: Lines, figures: bytes, body: bytes) -> bool:
        return not self._shared and self._cycle.answer(status, lines, body, figures)

    async def _answer(self, status: int, lines: Lines, figures: bytes, body: bytes) -> None:
        if self._answered(status, lines, figures, body):
            return
        await self._send(
            {"type": "http.response.start", "status": status, "headers": response_head.pairs(lines, figures)}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, status: int, lines: Lines, figures: bytes) -> None:
        headers = response_head.pairs(lines, figures)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _record_refusal(self, key: CallerKey, error: GatewayError) -> None:
        clock = self._desk.clock
        trace = Trace()
        trace.error = error
        caller = Caller(key, self._id, self._started_s, clock.wall_s())
        self._desk.recorder.record(record_of(trace, caller, self._endpoint.unread(), clock.monotonic_s()))
