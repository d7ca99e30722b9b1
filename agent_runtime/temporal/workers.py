"""Temporal workers for agents: one queue for each agent and make of it."""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.desk.desk import Desk
from agent_runtime.desk.services import Services
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.spec.fingerprint import fingerprint
from agent_runtime.temporal import lines
from agent_runtime.temporal.activities import Activities
from agent_runtime.temporal.codec import Codec, converter
from agent_runtime.temporal.shapes import queue_of
from agent_runtime.temporal.workflow import AgentRun

PASSED_THROUGH = ("agent_runtime", "sdk_client", "httpx", "opentelemetry", "cryptography", "redis", "jsonschema")
GRACE_S = 30.0
STICKY = timedelta(seconds=5)
"""How long a killed worker is waited for before another one takes its runs."""
BEAT_S = 5.0
BEAT_TTL_S = 16.0
LOG = logging.getLogger("meterway.agent")


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much one process takes on, for each of its queues. None is Temporal's default."""

    workflow_tasks: int | None = None
    activities: int | None = None
    activities_per_second: float | None = None
    models: int | None = None
    tools: int | None = None
    cached_workflows: int = 1_000
    grace_s: float = GRACE_S


def runner() -> SandboxedWorkflowRunner:
    """The loop is pure, and what is imported beside it is not run again for each workflow."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def queues(specs: Iterable[AgentSpec], base: str) -> dict[str, AgentSpec]:
    """Refuses two different agents of one name: their runs could not be told apart."""
    found: dict[str, AgentSpec] = {}
    names: dict[str, str] = {}
    for spec in specs:
        made = fingerprint(spec)
        if names.setdefault(spec.name, made) != made:
            raise ConfigError(f"agents has two different agents named {spec.name!r}; rename one")
        found[queue_of(base, spec.name, made)] = spec
    return found


class Crew:
    """The workers of one process, one for each queue; while they work, the roster says so."""

    def __init__(
        self, client: Client, specs: Iterable[AgentSpec], services: Services, base: str, tuning: Tuning | None = None
    ) -> None:
        self.queues = queues(specs, base)
        self.name = f"worker-{secrets.token_hex(6)}"
        self._client = client
        self._services = services
        self._workers = _workers(client, self.queues, services, tuning or Tuning())

    async def __aenter__(self) -> Self:
        """What waits is told before anybody takes of it."""
        await self._measure()
        self._group = await asyncio.TaskGroup().__aenter__()
        self._running = [self._group.create_task(worker.run()) for worker in self._workers]
        await self._beat()
        self._beats = self._group.create_task(self._keep_beating())
        return self

    async def __aexit__(self, *_: object) -> None:
        """No more work is taken; what is under way is given its time; then the loop is told to go elsewhere."""
        self._beats.cancel()
        for queue in self.queues:
            await self._services.roster.leave(queue, self.name)
        await asyncio.gather(*(worker.shutdown() for worker in self._workers))
        await self._group.__aexit__(None, None, None)

    async def wait(self) -> None:
        """Until a worker ends by itself, which it only does when it fails."""
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _keep_beating(self) -> None:
        while True:
            await self._services.clock.sleep_s(BEAT_S)
            try:
                await self._beat()
            except OSError:
                LOG.warning("the roster cannot be reached; callers may believe that %s is gone", self.name)
            await self._measure()

    async def _beat(self) -> None:
        for queue in self.queues:
            await self._services.roster.beat(queue, self.name, BEAT_TTL_S)

    async def _measure(self) -> None:
        """More workers are wanted while the backlog grows."""
        try:
            for queue in self.queues:
                waiting = await lines.backlog(self._client, queue)
                self._services.recorder.measured("agent.queue.backlog", waiting, queue=queue)
        except RPCError:
            LOG.warning("Temporal does not tell how much waits for %s", self.name)


def _workers(client: Client, known_queues: Mapping[str, AgentSpec], services: Services, known: Tuning) -> list[Worker]:
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=[AgentRun],
            activities=Activities([Desk(spec, services)], models_max=known.models, tools_max=known.tools).all(),
            workflow_runner=runner(),
            max_cached_workflows=known.cached_workflows,
            sticky_queue_schedule_to_start_timeout=STICKY,
            max_concurrent_workflow_tasks=known.workflow_tasks,
            max_concurrent_activities=known.activities,
            max_task_queue_activities_per_second=known.activities_per_second,
            graceful_shutdown_timeout=timedelta(seconds=known.grace_s),
        )
        for queue, spec in known_queues.items()
    ]


def replayer(codec: Codec | None = None) -> Replayer:
    return Replayer(workflows=[AgentRun], workflow_runner=runner(), data_converter=converter(codec))
