"""A listening uvicorn server that drains: no new connections, streams until the grace ends, then a proper end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import uvicorn

from gateway.http.limits import DoorLimits
from gateway.http.protocol import door_protocol

STOP_S = 1.5
"""How long interrupted requests have to say their last word and settle."""

_log = logging.getLogger("meterway.server")


class DrainingServer(uvicorn.Server):
    """`interrupt` is called when the grace is over, just before the requests that remain are cancelled."""

    def __init__(
        self, config: uvicorn.Config, *, grace_s: float, interrupt: Callable[[], None], shared_port: bool = False
    ) -> None:
        super().__init__(config)
        self._shared_port = shared_port
        self._grace_s = grace_s
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

    @property
    def refused(self) -> dict[str, int]:
        """How many connections were refused, by the cap that they were over."""
        kind: Any = self.config.http
        counted: dict[str, int] = kind.refused
        return counted

    async def open(self) -> None:
        """Listens, and accepts. Raises OSError."""
        self.config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._protocol,
            self.config.host,
            self.config.port,
            backlog=self.config.backlog,
            reuse_port=self._shared_port,
            start_serving=True,
        )
        self.servers = [server]
        await self.on_tick(0)
        self.started = True

    async def serve_until_stopped(self) -> None:
        await self.main_loop()
        await self.shutdown()

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state={})
        return protocol

    def stop(self) -> None:
        """The first call drains, a second one ends the grace; neither skips settlement."""
        if self.should_exit:
            self._hurry.set()
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Once a second the date header changes; a stop is seen at once."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: object = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            _log.info("draining %d requests for at most %g s", len(self.server_state.tasks), self._grace_s)
        await self._idle_or(self._hurry, self._grace_s)
        if self.server_state.tasks:
            self._interrupt()
            for task in list(self.server_state.tasks):
                task.cancel()
            await self._idle_or(asyncio.Event(), STOP_S)
        for connection in list(self.server_state.connections):
            connection.transport.close()

    async def _idle_or(self, event: asyncio.Event, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.server_state.tasks and not event.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), 0.05)


def server_for(
    app: object,
    *,
    host: str,
    port: int,
    limits: DoorLimits,
    plain_paths: frozenset[bytes],
    interrupt: Callable[[], None],
    shared_port: bool = False,
) -> DrainingServer:
    """A server of ours on uvloop and httptools; it logs nothing by itself."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # a plain ASGI callable
        host=host,
        port=port,
        http=door_protocol(limits, plain_paths),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=4096,
        interface="asgi3",
    )
    return DrainingServer(config, grace_s=limits.grace_s, interrupt=interrupt, shared_port=shared_port)
