"""The simulator: sockets, script, records and bill brought together."""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Container
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

from gateway.clock import SystemClock
from gateway.listening import listen
from gateway.ports import Clock
from gateway.sim import door, gemini, models
from gateway.sim.ask import ANTHROPIC, PATHS, Ask, BadRequest, Dialect, read_ask
from gateway.sim.bill import Bill, fingerprint
from gateway.sim.call import Call, reset
from gateway.sim.choice import Facts, Progress, bare, choose, choose_at_accept
from gateway.sim.connection import Connection
from gateway.sim.fault import Hint, Reset, Status
from gateway.sim.limits import Limiter, Verdict
from gateway.sim.recorded import REQUESTS_KEPT, Recorded
from gateway.sim.script import Behaviour, Script
from gateway.sim.stage import Reply, Scene, perform, plain, refusal

STOP_S: Final = 5.0
RESPONSES_KEPT: Final = 10_000


class Simulator:
    """A provider on a port.

    `bill` has a line for each call that ended, `requests` the latest requests, `script` may be assigned at any time
    (its counters then start anew).
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        bill_path: str | None = None,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.bill = Bill(bill_path)
        self.requests: deque[Recorded] = deque(maxlen=REQUESTS_KEPT)
        self.arrived_count = 0
        self.port = 0
        self.base = ""
        self._clock: Clock = SystemClock() if clock is None else clock
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop
        self._connections: set[Connection] = set()
        self._calls: set[Call] = set()
        self._connection_count = self._call_count = 0
        self._changed: asyncio.Event
        self._script = Script() if script is None else script
        self.reset()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; the base address, without `/v1`."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._servers = await listen(lambda: Connection(self, self._loop), host, port, backlog=1024, tls=self._tls)
        self.port = self._servers[0].sockets[0].getsockname()[1]
        self.base = f"{'http' if self._tls is None else 'https'}://{host}:{self.port}"
        return self.base

    async def stop(self) -> None:
        """Drop every connection; calls still open are billed as cut."""
        if self._servers:
            for server in self._servers:
                server.close()
            for connection in list(self._connections):
                connection.transport.abort()
            async with asyncio.timeout(STOP_S):
                while self._connections:
                    await self._change()
            for server in self._servers:
                await server.wait_closed()
            self._servers = []
        self.bill.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def script(self) -> Script:
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script = script
        self._restart_script()

    def reset(self) -> None:
        """Forget requests, bill, counters and gates; the script stays."""
        self.requests.clear()
        self.bill.clear()
        self.arrived_count = 0
        self._responses: dict[str, None] = {}
        self._opened: set[str] = set()
        self._waiting: dict[str, list[Call]] = {}
        self._restart_script()

    def open(self, gate: str) -> None:
        """Let everything through that waits, or will wait, at this gate of the script."""
        self._opened.add(gate)
        for call in self._waiting.pop(gate, []):
            call.released()

    async def arrived(self, count: int, timeout_s: float = 5.0) -> None:
        """Wait until so many requests have been read since the start or the last reset."""
        async with asyncio.timeout(timeout_s):
            while self.arrived_count < count:
                await self._change()

    async def idle(self, timeout_s: float = 5.0) -> None:
        """Wait until no call is in progress: the bill is then complete."""
        async with asyncio.timeout(timeout_s):
            while self._calls:
                await self._change()

    def under_way(self, ports: Container[int]) -> dict[str, int]:
        """Output tokens produced so far, by `x-request-id`, of calls in progress that came from these ports."""
        return {call.request.header("x-request-id"): call.tokens for call in self._calls if call.client_port in ports}

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def connections_total(self) -> int:
        """Accepted since the start."""
        return self._connection_count

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._connection_count += 1
        connection.number = self._connection_count
        rule = choose_at_accept(self._script, self._progress, self._elapsed_s())
        if rule is not None and isinstance(rule.fault, Reset):
            if rule.fault.how == "reset":
                reset(connection.transport)
            else:
                connection.transport.close()

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def answer(self, request: Recorded, body: bytes, connection: Connection) -> Call | None:
        if request.path.startswith(door.PREFIX):
            connection.transport.write(door.answer(self, request, body))
            return None
        self.requests.append(request)
        self.arrived_count += 1
        self._changed.set()
        started = (self._clock.monotonic_s(), self._clock.wall_s())
        ask, reply = self._decide(request, body, connection.requests)
        call = Call(connection.transport, connection.loop, connection, request, ask, reply, started)
        self._calls.add(call)
        return call

    def settled(self, call: Call, *, left: bool) -> None:
        self._calls.discard(call)
        key = fingerprint(_key(dict(call.request.headers)))
        self.bill.post(call.line(key, self._clock.monotonic_s(), left=left))
        self._changed.set()

    def gate(self, name: str, call: Call) -> bool:
        if name in self._opened:
            return True
        self._waiting.setdefault(name, []).append(call)
        return False

    def _decide(self, request: Recorded, body: bytes, connection_request: int) -> tuple[Ask | None, Reply]:
        self._call_count += 1
        path, headers = bare(request.path), dict(request.headers)
        more: dict[str, object] | None = None
        if (deployed := _DEPLOYED.fullmatch(path)) is not None and "api-version=" in request.query:
            path, more = deployed["path"], {"model": unquote(deployed["model"])}
        if (found := gemini.PATH.fullmatch(path)) is not None:
            more = _spoken(found)
        dialect = PATHS.get(path, Dialect.CHAT) if found is None else Dialect.GEMINI
        scene = Scene(_BLANK[dialect], Behaviour(), self._script.seed, self._call_count, self._clock.wall_s())
        if found is None and request.method == "GET" and path.startswith("/models"):
            return None, self._models(path, headers, scene)
        if path not in PATHS and found is None:
            return None, refusal(dialect, Status(404, message=f"Unknown request URL: {request.path}"), scene)
        if request.method != "POST":
            return None, refusal(dialect, Status(405, code="method_not_allowed"), scene)
        try:
            ask = read_ask(dialect, body, more)
            return ask, self._perform(ask, path, headers, connection_request)
        except BadRequest as error:
            details = None if dialect in ANTHROPIC else {"param": error.param}
            return None, refusal(dialect, Status(400, message=str(error), details=details), scene)

    def _perform(self, ask: Ask, path: str, headers: dict[str, str], connection_request: int) -> Reply:
        key = _key(headers)
        facts = Facts(path, ask.model, key, headers, ask.said, ask.stream, connection_request, self._elapsed_s())
        behaviour = choose(self._script, self._progress, facts)
        wall_s = self._clock.wall_s()
        verdict = self._admit(ask, key, wall_s)
        scene = Scene(ask, behaviour, self._script.seed, self._call_count, wall_s, verdict.headers)
        turned_away = self._turned_away(ask, key, headers)
        if turned_away is None and verdict.wait_s is not None:
            hints = (
                Hint("retry-after-ms", verdict.wait_s * 1000 // 1 / 1000),
                Hint("retry-after", -(-verdict.wait_s // 1)),
            )
            turned_away = Status(429, code="rate_limit_exceeded", hints=hints)
        if turned_away is not None:
            return refusal(ask.dialect, turned_away, scene)
        reply = perform(scene)
        if ask.dialect is Dialect.RESPONSES:
            self._remember(f"resp_{reply.reply_id}")
        return reply

    def _models(self, path: str, headers: dict[str, str], scene: Scene) -> Reply:
        names = self._script.models or models.DEFAULT
        anthropic = "anthropic-version" in headers
        name = path.removeprefix("/models").strip("/")
        if name and name not in names:
            return refusal(Dialect.MESSAGES if anthropic else Dialect.CHAT, Status(404), scene)
        return plain(
            scene, models.one(name, anthropic=anthropic) if name else models.listing(names, anthropic=anthropic)
        )

    def _admit(self, ask: Ask, key: str, wall_s: float) -> Verdict:
        tokens = ask.input_tokens + (ask.output_tokens_max or 0)
        return self._limiter.admit(ask.dialect, (key, ask.model), tokens, self._clock.monotonic_s(), wall_s)

    def _turned_away(self, ask: Ask, key: str, headers: dict[str, str]) -> Status | None:
        """What every provider checks before it looks at the script's rules."""
        script = self._script
        if script.keys is not None and key not in script.keys:
            return Status(401)
        if script.models is not None and ask.model not in script.models and not ask.model.startswith("sim-"):
            return Status(404, message=f"The model `{ask.model}` does not exist or you do not have access to it.")
        if ask.dialect in ANTHROPIC and not headers.get("anthropic-version"):
            return Status(400, message="anthropic-version: header is required")
        before = ask.body.get("previous_response_id")
        if ask.dialect is Dialect.RESPONSES and before is not None and before not in self._responses:
            return Status(400, code="previous_response_not_found", message=f"Previous response {before!r} not found.")
        return None

    def _remember(self, response_id: str) -> None:
        self._responses[response_id] = None
        if len(self._responses) > RESPONSES_KEPT:
            del self._responses[next(iter(self._responses))]

    def _restart_script(self) -> None:
        self._progress = Progress()
        self._limiter = Limiter(self._script.limits)
        self._script_since_s = self._clock.monotonic_s()

    def _elapsed_s(self) -> float:
        return self._clock.monotonic_s() - self._script_since_s

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


_DEPLOYED: Final = re.compile(r"/openai/deployments/(?P<model>[^/]+)(?P<path>/chat/completions|/embeddings)")
"""Azure names the deployment in the path, and its API by a version."""

_BLANK: Final = {dialect: Ask(dialect, "", {}, 0) for dialect in Dialect}


def _spoken(found: re.Match[str]) -> dict[str, object]:
    """What Gemini says in its path."""
    return {"model": unquote(found["model"]), "stream": found["method"] == "streamGenerateContent"}


def _key(headers: dict[str, str]) -> str:
    own = headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("api-key")
    return own or headers.get("authorization", "").removeprefix("Bearer ").strip()
