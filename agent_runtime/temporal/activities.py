"""The desk's work as Temporal activities."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from agent_runtime.desk.desk import AWAY, Desk
from agent_runtime.domain.happened import Checked, LLMFailed, MoreGranted, Prepared, Replied, ToolDone, ToppedUp
from agent_runtime.domain.values import Failure
from agent_runtime.spec.fingerprint import fingerprint
from agent_runtime.temporal.shapes import Job

BEATS_PER_TIMEOUT = 3
_T = TypeVar("_T")


class Activities:
    """For the agents of one worker. `models_max` and `tools_max`: how many calls of each kind at the same time."""

    def __init__(self, desks: Iterable[Desk], *, models_max: int | None = None, tools_max: int | None = None) -> None:
        self._models, self._tools = slots(models_max), slots(tools_max)
        known = list(desks)
        self._recorder = known[0].services.recorder
        self._desks = {(desk.spec.name, fingerprint(desk.spec)): desk for desk in known}

    def all(self) -> list[Callable[..., Any]]:
        before = [self.prepare, self.think, self.check, self.act, self.top_up, self.more]
        return [*before, self.notify, self.publish, self.conclude]

    def _desk(self, job: Job) -> Desk:
        desk = self._desks.get((job.ref.agent, job.fingerprint))
        if desk is None:
            known = sorted(f"{name} {made[:12]}" for name, made in self._desks)
            self._recorder.counted("agent.fingerprint.mismatch", agent=job.ref.agent)
            text = f"run {job.ref.run_id!r} is of {job.ref.agent} {job.fingerprint[:12]}; this worker has {known}"
            raise ApplicationError(text, type="fingerprint", non_retryable=True)
        return desk

    @activity.defn(name="agent.prepare")
    async def prepare(self, job: Job) -> Prepared:
        async with beating():
            return await self._desk(job).prepare(job.ref, given(job.prepare))

    @activity.defn(name="agent.think")
    async def think(self, job: Job) -> Replied | LLMFailed:
        attempt = activity.info().attempt
        async with beating(), self._models:
            event = await self._desk(job).think(
                job.ref, given(job.think), job.deadline_s, attempt=attempt, patient=False
            )
        if isinstance(event, LLMFailed) and event.failure.code in AWAY:
            raise away(event.failure)
        return event

    @activity.defn(name="agent.check")
    async def check(self, job: Job) -> Checked:
        async with beating():
            return await self._desk(job).check(job.ref, given(job.check))

    @activity.defn(name="agent.act")
    async def act(self, job: Job) -> ToolDone:
        async with beating(), self._tools:
            return await self._desk(job).act(job.ref, given(job.act))

    @activity.defn(name="agent.top_up")
    async def top_up(self, job: Job) -> ToppedUp:
        async with beating():
            return await self._desk(job).top_up(job.ref, given(job.top_up))

    @activity.defn(name="agent.more")
    async def more(self, job: Job) -> MoreGranted:
        async with beating():
            return await self._desk(job).ask_more(job.ref, given(job.more))

    @activity.defn(name="agent.notify")
    async def notify(self, job: Job) -> None:
        async with beating():
            await self._desk(job).notify(job.ref, given(job.notify))

    @activity.defn(name="agent.publish")
    async def publish(self, job: Job) -> None:
        for emit in job.publish:
            await self._desk(job).publish(job.ref, emit)

    @activity.defn(name="agent.conclude")
    async def conclude(self, job: Job) -> None:
        async with beating():
            await self._desk(job).conclude(given(job.conclude), job.started_s)


def slots(count: int | None) -> AbstractAsyncContextManager[None]:
    return nullcontext() if count is None else asyncio.Semaphore(count)


def given(one: _T | None) -> _T:
    if one is None:
        raise ApplicationError("a job without its task", type="bug", non_retryable=True)
    return one


def away(failure: Failure) -> ApplicationError:
    """The gateway is away: Temporal waits, as long as the gateway asks for if it does."""
    wait_s = failure.retry_after_s
    delay = None if wait_s is None else timedelta(seconds=wait_s)
    return ApplicationError(failure.message, asdict(failure), type=failure.kind, next_retry_delay=delay)


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Tells the server that this worker lives, several times within the time after which it would not believe so."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    beats = asyncio.ensure_future(_beat(timeout.total_seconds() / BEATS_PER_TIMEOUT))
    try:
        yield
    finally:
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)


async def _beat(every_s: float) -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(every_s)
