"""One configured gateway, put together from the rooms' implementations."""

import asyncio
import contextlib
import hashlib
import logging
import resource
import secrets
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway.app.books import Books
from gateway.app.dialects import DIALECTS
from gateway.app.doorkeeper import Doorkeeper, pepper_beside
from gateway.app.erasures import Erasures
from gateway.app.sims import Sims
from gateway.app.told import Told
from gateway.clock import SystemClock
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Admin, Loaded, Server
from gateway.config.sims import bind_sims
from gateway.domain.breaker import TripRule
from gateway.domain.budget import Crossing
from gateway.domain.catalog import Secret
from gateway.domain.errors import InvalidKey
from gateway.filing import DirectoryStore
from gateway.http.door import Door
from gateway.http.endpoints import BY_PATH
from gateway.http.limits import DoorLimits
from gateway.http.other import other_routes
from gateway.http.server import DrainingServer, asgi, server_for
from gateway.pipeline.desk import Desk
from gateway.ports import Clock, Ledger
from gateway.stores.health import MemoryHealth
from gateway.stores.keys import Peppers
from gateway.stores.pins import MemoryPins
from gateway.stores.quota import MemoryQuota
from gateway.stores.runs import MemoryRuns
from gateway.telemetry.memory import NOBODY, resident_bytes, shed_at
from gateway.telemetry.recorder import Sink
from gateway.upkeep import keep_up
from gateway.upstream.client import HttpUpstream
from gateway.upstream.names import Resolver, system_resolver

_log = logging.getLogger("meterway")

PLAIN_PATHS = frozenset({*BY_PATH, b"/v1/models", b"/health/live", b"/health/ready", b"/"})
ADMIN_PATHS = frozenset({b"/metrics", b"/health/live"})
MEMORY = "memory"
RESERVED_FILES = 128
ADMIN_CONNECTIONS = 32
MEMORY_LOOK_S = 0.25


class Gateway:
    """`start`, then `wait` until `stop` has been called; `reload` asks `read` for the next configuration.

    `sink` gets every record too. `worker` is the number of this process among several behind one port.
    """

    def __init__(
        self,
        loaded: Loaded,
        read: Callable[[int], Loaded],
        *,
        log_fd: int | None = None,
        clock: Clock | None = None,
        trip_rule: TripRule | None = None,
        resolver: Resolver = system_resolver,
        sink: Sink | None = None,
        worker: int | None = None,
    ) -> None:
        self._worker = worker
        self._loaded = loaded
        self._read = read
        self.kept: Any = None
        self._shared: Any = None
        self._sims = Sims(loaded.settings.sims)
        clock = SystemClock() if clock is None else clock
        self._clock = clock
        self.health = MemoryHealth(clock, trip_rule)
        self.upstream = HttpUpstream(clock, resolver=resolver)
        self._limits = limits_of(loaded.settings.server)
        self.told = Told(clock, loaded.settings.telemetry, log_fd, sink)
        self.books = Books(clock, self.told.crossed)
        self.doorkeeper = Doorkeeper(clock, peppers_of(loaded), self.books.adopt)
        self._runs = MemoryRuns()
        self._desk = Desk(
            clock=clock,
            keys=self.doorkeeper.ring,
            upstream=self.upstream,
            health=self.health,
            quota=MemoryQuota(clock),
            accounts=self.books.accounts,
            journal=self.books.journal,
            runs=self._runs,
            pins=MemoryPins(clock),
            recorder=self.told.recorder,
            dialects=DIALECTS,
            unpriced_allowed=loaded.settings.prices.unknown == "unpriced",
        )
        other = other_routes(names=self._names, ready=self._not_ready, created_s=int(clock.wall_s()))
        self.door = Door(self._desk, loaded.catalog, self._limits, other)
        self.server = self._data_plane(loaded)
        self.admin: DrainingServer | None = None
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Both listeners accept when this returns; raises OSError when one cannot listen."""
        try:
            self._stack.push_async_callback(self.upstream.aclose)
            await self._stack.enter_async_context(self._sims)
            directory = await self._open_books()
            await self._stack.enter_async_context(self.doorkeeper)
            await self.doorkeeper.begin(directory, self._loaded.catalog)
            await self.books.finish_dead()
            if directory is not None:
                await self._stack.enter_async_context(Erasures(self._clock, directory, self.kept.ledger))
            self.upstream.configure(self._loaded.catalog.providers.values())
            self._adopt(self._loaded)
            await self._stack.enter_async_context(self.told)
            minding = keep_up("memory is not minded", self._mind_memory, lambda: asyncio.sleep(MEMORY_LOOK_S))
            self._stack.callback(asyncio.create_task(minding).cancel)
            await self.told.tell(self._loaded.settings.webhooks, self._tells_first)
            self.told.watch(self.door, self.health, self.upstream, self.server)
            admin = self._loaded.settings.admin
            if admin is not None:
                self.admin = await self._admin_plane(admin, directory)
                await self.admin.open()
            await self.server.open()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _open_books(self) -> DirectoryStore | None:
        """The database, the journal and what they say; None where nothing is kept."""
        url = self._loaded.settings.database.reveal()
        directory: DirectoryStore | None = None
        if url != MEMORY:
            sql = await asyncio.to_thread(import_module, "gateway.stores.sql.opening")
            self.kept = await asyncio.to_thread(sql.Kept, url)
            self._stack.callback(self.kept.close)
            directory = self.kept.directory
            self.books.keep(self.kept.ledger, Path(self._loaded.settings.journal))
            self._desk.journal = self.books.journal
            await self._share(self.kept.ledger)
        await self._stack.enter_async_context(self.books)
        if directory is not None and self._loaded.settings.redis is None:
            for tenant, run, root in await asyncio.to_thread(self.kept.ledger.roots):
                self._runs.learn(tenant, run, root)
        return directory

    async def _share(self, ledger: Ledger) -> None:
        url, secret = self._loaded.settings.redis, self.doorkeeper.peppers.secret_for(b"answers")
        if url is None:
            answers = await asyncio.to_thread(self.kept.answers, secret, self._clock)
            self._desk.replays.share(answers, self._desk.begin)
            return
        room = await asyncio.to_thread(import_module, "gateway.app.sharing")
        shared = self._shared = room.Shared(
            url.reveal(),
            self._clock,
            self.books.boot,
            secret=secret,
            health=self.health,
            ledger=ledger,
            budgets=self.doorkeeper.budgets,
        )
        self._stack.push_async_callback(shared.close)
        await shared.begin()
        self.books.share(shared.bank, shared.finish, shared.adopt, shared.correct)
        desk = self._desk
        desk.quota, desk.pins, desk.runs = shared.quota, shared.pins, shared.runs
        desk.replays.share(shared.answers, desk.begin)

    async def wait(self) -> None:
        """Serves until stopped, drains, and gives everything back."""
        async with self._stack:
            await self.server.serve_until_stopped()
            await self._desk.close()
            if self.admin is not None:
                self.admin.stop()
                await self.admin.serve_until_stopped()

    def stop(self) -> None:
        """Drains; a second call ends the grace."""
        self.door.draining = True
        self.server.stop()

    def reload(self) -> list[str]:
        """A new configuration whole, or the one before and why."""
        try:
            loaded = self._read(self._loaded.catalog.version + 1)
        except ConfigInvalid as error:
            _log.error("the configuration stays as it was; the file has problems:\n%s", error)
            return [str(problem) for problem in error.problems]
        for name in ("listen", "admin", "server", "telemetry", "webhooks", "sims"):
            if getattr(loaded.settings, name) != getattr(self._loaded.settings, name):
                _log.warning("a change of %r takes effect at the next start", name)
        self._adopt(loaded)
        self.doorkeeper.follow(loaded.catalog)
        _log.info("configuration %d is in force", loaded.catalog.version)
        return []

    def _adopt(self, loaded: Loaded) -> None:
        """One pointer is swapped; requests that run keep the catalog that they began with."""
        catalog = bind_sims(loaded.catalog, self._sims.origins)
        if catalog.providers != self.door.catalog.providers:
            self.upstream.configure(catalog.providers.values())
        self.health.adopt(catalog)
        self._desk.unpriced_allowed = loaded.settings.prices.unknown == "unpriced"
        self._loaded = loaded
        self.door.catalog = catalog

    def _data_plane(self, loaded: Loaded) -> DrainingServer:
        listen = loaded.settings.listen
        return server_for(
            self.door.serve,
            host=listen.host,
            port=listen.port,
            limits=self._limits,
            plain_paths=PLAIN_PATHS,
            interrupt=self._interrupt,
            shared_port=self._worker is not None,
        )

    async def _admin_plane(self, admin: Admin, directory: DirectoryStore | None) -> DrainingServer:
        room = await asyncio.to_thread(import_module, "gateway.app.offices")
        foresight = room.Foresight(self._desk, self.doorkeeper, lambda: self.door.catalog)
        running = room.running_of(
            self.door, self.health, lambda: self._loaded, self.reload, self.told.recent.find, foresight
        )
        kept = None if directory is None else (directory, self.kept.ledger)
        told = {"key": admin.key, "metrics": self.told.prometheus}
        app = room.admin_app(self._clock, self.books, self.doorkeeper, kept, running, **told)
        limits = DoorLimits(grace_s=1.0, connections=ADMIN_CONNECTIONS)
        port = admin.port + (self._worker or 0) if admin.port else 0
        return server_for(
            asgi(app), host=admin.host, port=port, limits=limits, plain_paths=ADMIN_PATHS, interrupt=lambda: None
        )

    async def _mind_memory(self) -> None:
        mark = self._loaded.settings.server.memory_bytes
        self.door.shed = NOBODY if mark is None else shed_at(resident_bytes(), mark)

    async def _tells_first(self, crossing: Crossing) -> bool:
        return self._shared is None or await self._shared.first(crossing)

    def _interrupt(self) -> None:
        self._desk.interrupted = True

    def _not_ready(self) -> str | None:
        return "draining" if self.door.draining else None

    def _names(self, key: bytes | None) -> list[str]:
        catalog = self.door.catalog
        known = None if key is None else self.doorkeeper.ring.find(key)
        if known is None:
            raise InvalidKey("this API key is not known here; send 'Authorization: Bearer <key>'")
        allowed = known.tenant.models
        return [name for name in catalog.routes if not allowed or name in allowed]


def peppers_of(loaded: Loaded) -> Peppers:
    """Named by what they are, so that two processes name the same one alike."""
    given = loaded.settings.peppers
    if not given and loaded.settings.database.reveal() == MEMORY:
        given = (Secret(secrets.token_urlsafe(32)),)
    elif not given:
        given = (Secret(pepper_beside(Path(loaded.settings.journal))),)
    return Peppers({hashlib.sha256(b"pepper:" + p.reveal().encode()).hexdigest()[:8]: p for p in given})


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
        connections_per_address=server.connections_per_address,
        headers_max=server.headers_max,
        headers_bytes=server.headers_bytes,
        header_bytes=server.header_bytes,
        send_stall_s=server.send_stall_s,
        heartbeat_s=server.heartbeat_s,
    )
