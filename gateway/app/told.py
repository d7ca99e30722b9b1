"""What operators are told: the recorder and all that it feeds, put together for one gateway."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gateway.config.settings import Telemetry
from gateway.domain.budget import Crossing
from gateway.domain.webhook import Webhook
from gateway.http.door import Door
from gateway.http.server import DrainingServer
from gateway.ports import Clock
from gateway.stores.health import MemoryHealth
from gateway.telemetry import names
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recent import Recent
from gateway.telemetry.recorder import Recorder, Sink
from gateway.telemetry.states import watch_limits, watch_states
from gateway.telemetry.watchdog import Watchdog
from gateway.upstream.client import HttpUpstream

if TYPE_CHECKING:
    from gateway.telemetry.export import Exporter

_log = logging.getLogger("meterway")


class Told:
    """A context: exports run for as long as its block."""

    def __init__(self, clock: Clock, telemetry: Telemetry, log_fd: int | None, sink: Sink | None = None) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._metrics = Metrics(telemetry.genai_semconv, telemetry.series_max)
        self._log = None if log_fd is None or telemetry.access_log == "off" else AccessLog(log_fd)
        sinks: dict[str, Sink] = {} if self._log is None else {"access_log": self._log.record}
        if sink is not None:
            sinks["other"] = sink
        self.recent = Recent()
        sinks["recent"] = self.recent.record
        self.recorder = Recorder(self._metrics, **sinks)
        self._exporter: Exporter | None = None
        self._sampling: asyncio.Task[None] | None = None
        self._watchdog = Watchdog()
        self._webhooks: Any = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Told":
        settings = self._telemetry
        room = await asyncio.to_thread(import_module, "gateway.telemetry.export")
        otlp = None
        if settings.otlp_endpoint is not None:
            headers = {name: value.reveal() for name, value in settings.otlp_headers}
            otlp = room.Otlp(settings.otlp_endpoint, headers, settings.otlp_interval_s)
        identity = room.Identity(settings.service_name, secrets.token_hex(8), version("meterway"), settings.environment)
        exporter: Exporter = room.Exporter(self._metrics, self._clock, identity, otlp)
        self._exporter = exporter
        self._sampling = asyncio.create_task(exporter.keep_sampled())
        self._watchdog.start(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._watchdog.stop()
        if self._sampling is not None:
            self._sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampling
        if self._exporter is not None:
            await self._exporter.close()
        if self._log is not None:
            self._log.close()

    async def prometheus(self) -> bytes:
        return b"" if self._exporter is None else await self._exporter.prometheus()

    async def tell(self, webhooks: tuple[Webhook, ...], first: Callable[[Crossing], Awaitable[bool]]) -> None:
        """From now on of thresholds too; `first` says whether it is this process that tells of one."""
        if webhooks:
            room = await asyncio.to_thread(import_module, "gateway.telemetry.webhooks")
            self._webhooks = await self._stack.enter_async_context(room.Webhooks(self._clock, webhooks, first))

    def crossed(self, crossing: Crossing) -> None:
        """A budget went over one of its thresholds."""
        if self._webhooks is not None:
            self._webhooks.crossed(crossing)
        budget = crossing.budget
        _log.warning(
            "budget %s of tenant %s (%s) is at %d %% for %s",
            budget.id,
            budget.tenant,
            crossing.who,
            crossing.percent,
            crossing.window.id,
        )

    def watch(self, door: Door, health: MemoryHealth, upstream: HttpUpstream, server: DrainingServer) -> None:
        """Names the sources of the pulled metrics."""

        def connections() -> dict[tuple[str, ...], int]:
            stats = upstream.stats()
            found: dict[tuple[str, ...], int] = {}
            for name, provider in door.catalog.providers.items():
                if (pool := stats.get(provider.origin)) is not None:
                    found[(name, "idle")] = pool.idle
                    found[(name, "busy")] = pool.open - pool.idle
            return found

        watch_states(self._metrics, lambda: health.lines(door.catalog))
        watch_limits(self._metrics, lambda: door.catalog, door.desk.quota.rooms)
        source = self._metrics.source
        source(names.UPSTREAM_CONNECTIONS, connections)
        source(names.IN_FLIGHT, lambda: {(): len(server.server_state.tasks)})
        source(names.LOG_DROPPED, lambda: {(): self._log.dropped if self._log else 0})
        source(
            names.CONNECTIONS_REFUSED, lambda: {(reason,): count for reason, count in server.listener.refused.items()}
        )
        source(names.LOOP_BLOCKS, lambda: {(): self._watchdog.blocks})
