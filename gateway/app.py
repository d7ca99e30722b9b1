"""The composition root: the only place where collaborators are named and introduced to each other."""

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from gateway.clock import SystemClock
from gateway.config.load import load
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Loaded, Server
from gateway.config.sims import bind_sims
from gateway.config.watch import changes
from gateway.domain.catalog import Catalog, Origin
from gateway.domain.errors import InvalidKey
from gateway.http.door import ENDPOINTS, Door
from gateway.http.limits import DoorLimits
from gateway.http.other import other_routes
from gateway.http.server import DrainingServer, server_for
from gateway.pipeline.desk import Desk
from gateway.ports import Recorder
from gateway.providers import openai
from gateway.stores.health import MemoryHealth
from gateway.stores.pins import MemoryPins
from gateway.stores.quota import MemoryQuota
from gateway.upstream.client import HttpUpstream

_log = logging.getLogger("meterway")

DIALECTS = {"openai": openai}
PLAIN_PATHS = frozenset(path.encode() for path in (*ENDPOINTS, "/v1/models", "/health/live", "/health/ready", "/"))
RESERVED_FILES = 64


class Gateway:
    """One configured gateway; `run` serves until it is told to stop."""

    def __init__(self, loaded: Loaded, reload: Callable[[int], Loaded], recorder: Recorder) -> None:
        self.loaded = loaded
        self._reload = reload
        self._origins: dict[str, Origin] = {}
        clock = SystemClock()
        self._health = MemoryHealth(clock)
        self._upstream = HttpUpstream(clock)
        self._desk = Desk(
            clock=clock,
            upstream=self._upstream,
            health=self._health,
            quota=MemoryQuota(clock),
            pins=MemoryPins(clock),
            recorder=recorder,
            dialects=DIALECTS,
        )
        self._limits = limits_of(loaded.settings.server)
        other = other_routes(names=self._names, ready=self._not_ready, created_s=int(clock.wall_s()))
        self.door = Door(self._desk, loaded.catalog, self._limits, other)
        self._server: DrainingServer | None = None

    @property
    def port(self) -> int:
        """The data plane's port, once it listens."""
        if self._server is None:
            raise RuntimeError("the gateway has not been started")
        return self._server.port

    async def run(self) -> None:
        listen = self.loaded.settings.listen
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._upstream.aclose)
            self._adopt(self.loaded)
            self._server = server_for(
                self.door,
                host=listen.host,
                port=listen.port,
                limits=self._limits,
                plain_paths=PLAIN_PATHS,
                interrupt=self._interrupt,
            )
            await self._server.serve()

    def stop(self) -> None:
        """Drains; a second call ends the grace."""
        self.door.draining = True
        if self._server is not None:
            self._server.stop()

    def reload(self) -> None:
        """A new configuration whole, or the one before with a word about why."""
        try:
            loaded = self._reload(self.loaded.catalog.version + 1)
        except ConfigInvalid as error:
            _log.error("the configuration was not changed:\n%s", error)
            return
        self._adopt(loaded)
        _log.info("configuration %d is in force", loaded.catalog.version)

    def _adopt(self, loaded: Loaded) -> None:
        catalog = bind_sims(loaded.catalog, self._origins)
        self._upstream.configure(catalog.providers.values())
        self._health.adopt(catalog)
        self.loaded = loaded
        self.door.catalog = catalog

    def _interrupt(self) -> None:
        self.door.interrupted = True

    def _not_ready(self) -> str | None:
        return "draining" if self.door.draining else None

    def _names(self, key: bytes | None) -> list[str]:
        catalog: Catalog = self.door.catalog
        known = None if key is None else catalog.keys.get(hashlib.sha256(key).digest())
        if known is None:
            raise InvalidKey("this API key is not known here; send 'Authorization: Bearer <key>'")
        allowed = known.tenant.models
        return [name for name in catalog.routes if not allowed or name in allowed]


def limits_of(server: Server) -> DoorLimits:
    """The door's limits, with no more connections than this process has files for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return DoorLimits(
        body_bytes=server.body_bytes,
        head_timeout_s=server.head_timeout_s,
        body_timeout_s=server.body_timeout_s,
        keep_alive_s=server.keep_alive_s,
        grace_s=server.grace_s,
        connections=max(1, min(server.connections, (soft - RESERVED_FILES) // 2)),
        headers_max=server.headers_max,
        headers_bytes=server.headers_bytes,
        header_bytes=server.header_bytes,
    )


def settle_memory() -> None:
    """What start-up made stays for good, so the collector need not walk it; requests free theirs by reference count."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(path: Path) -> None:
    """`meterway serve`: until SIGTERM or SIGINT; SIGHUP and a changed file reload."""
    gateway = Gateway(load(path, os.environ), lambda version: load(path, os.environ, version=version), _Silent())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    stop = asyncio.Event()

    async def follow() -> None:
        async for _ in changes(path, stop):
            gateway.reload()

    following = asyncio.create_task(follow())
    settle_memory()
    try:
        await gateway.run()
    finally:
        stop.set()
        await following


class _Silent:
    def record(self, record: object) -> None:
        pass
