"""A listening uvicorn server that drains: no new connections, streams until the grace ends, then a proper end."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from gateway.http.cycle import DoorCycle
from gateway.http.limits import DoorLimits
from gateway.http.listener import Listener
from gateway.http.protocol import DoorProtocol, Serve
from gateway.listening import listen

STOP_S = 1.5
"""How long interrupted requests have to say their last word and settle."""

App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger("meterway.server")


class DrainingServer(uvicorn.Server):
    """`interrupt` is called when the grace is over, just before the requests that remain are cancelled."""

    def __init__(
        self,
        config: uvicorn.Config,
        serve: Serve,
        listener: Listener,
        *,
        interrupt: Callable[[], None],
        shared_port: bool = False,
    ) -> None:
        super().__init__(config)
        self.listener = listener
        self._call = serve
        self._shared_port = shared_port
        self._interrupt = interrupt
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def host(self) -> str:
        return self.config.host

    @property
    def port(self) -> int:
        """The port that it listens on; after `open`."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Listens, and accepts. Raises OSError."""
        self.config.load()
        self.server_state.connections, self.server_state.tasks = self.listener.connections, self.listener.tasks
        loop = asyncio.get_running_loop()
        self.servers = await listen(
            lambda: DoorProtocol(self.listener, self._call, loop),
            self.config.host,
            self.config.port,
            backlog=self.config.backlog,
            reuse_port=self._shared_port,
        )
        await self._tick()
        self.started = True

    async def serve_until_stopped(self) -> None:
        await self.main_loop()
        await self.shutdown()

    async def _tick(self) -> None:
        """Once a second the Date header changes."""
        await self.on_tick(0)
        self.listener.date_line = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])

    def stop(self) -> None:
        """The first call drains, a second one ends the grace; neither skips settlement."""
        if self.should_exit:
            self._hurry.set()
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Ticks; a stop is seen at once."""
        while not self.should_exit:
            await self._tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: object = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            _log.info(
                "draining %d requests for at most %g s", len(self.server_state.tasks), self.listener.limits.grace_s
            )
        await self._idle_or(self._hurry, self.listener.limits.grace_s)
        if self.server_state.tasks:
            self._interrupt()
            for task in list(self.server_state.tasks):
                task.cancel()
            await self._idle_or(asyncio.Event(), STOP_S)
        for connection in list(self.listener.connections):
            connection.close()

    async def _idle_or(self, event: asyncio.Event, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.server_state.tasks and not event.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), 0.05)


def asgi(app: App) -> Serve:
    """An ASGI application as a server of ours calls it."""

    async def serve(cycle: DoorCycle) -> None:
        await app(cycle.scope(), cycle.receive, cycle.send)

    return serve


async def _nothing(scope: object, receive: object, send: object) -> None:
    """Stands where uvicorn wants an application: the protocol is ours, and calls `serve`."""


def server_for(
    serve: Serve,
    *,
    host: str,
    port: int,
    limits: DoorLimits,
    plain_paths: frozenset[bytes],
    interrupt: Callable[[], None],
    shared_port: bool = False,
) -> DrainingServer:
    """A server of ours; it logs nothing by itself."""
    config = uvicorn.Config(
        _nothing,
        host=host,
        port=port,
        http=DoorProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=4096,
        interface="asgi3",
    )
    listener = Listener(limits, plain_paths)
    return DrainingServer(config, serve, listener, interrupt=interrupt, shared_port=shared_port)
