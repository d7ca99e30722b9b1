"""What the commands need of Temporal: clients, crews, and a development server when asked for."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.service import TLSConfig

from agent_runtime.api.agent import Agent
from agent_runtime.api.config import RuntimeConfig, blobs_of
from agent_runtime.connectors import secrets
from agent_runtime.desk.services import Services
from agent_runtime.ports import Blobs
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.temporal.codec import Codec
from agent_runtime.temporal.devserver import temporary
from agent_runtime.temporal.lines import under_way
from agent_runtime.temporal.runtime import TemporalRuntime, connect
from agent_runtime.temporal.shapes import Settings
from agent_runtime.temporal.workers import Crew, Tuning, queues, replayer

DRAIN_LOOK_S = 1.0


def codec_of(config: RuntimeConfig, blobs: Blobs | None) -> Codec | None:
    if config.payload_key is None and blobs is None:
        return None
    key = None if config.payload_key is None else secrets.resolved(config.payload_key)
    return Codec(blobs=blobs, key=key)


def tls_of(config: RuntimeConfig) -> TLSConfig | None:
    """None is in the clear, as a development server speaks. A certificate of one's own needs its key."""
    files = (config.temporal_ca, config.temporal_cert, config.temporal_cert_key)
    authority, certificate, key = (None if path is None else Path(path).read_bytes() for path in files)
    if authority is None and certificate is None:
        return None
    return TLSConfig(server_root_ca_cert=authority, client_cert=certificate, client_private_key=key)


def settings_of(config: RuntimeConfig) -> Settings:
    return Settings(queue=config.queue, heartbeat_s=config.heartbeat_s)


async def client_of(config: RuntimeConfig, services: Services) -> Client:
    codec, tracer = codec_of(config, services.blobs), services.recorder.tracer
    return await connect(
        config.temporal,
        namespace=config.namespace,
        codec=codec,
        tracer=tracer,
        tls=await asyncio.to_thread(tls_of, config),
    )


def specs_of(agents: list[Agent]) -> list[AgentSpec]:
    return [spec for agent in agents for spec in agent.spec.below()]


def own_folder() -> Path:
    folder = Path(".meterway")
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def on_temporal(
    config: RuntimeConfig, agents: list[Agent], services: Services, *, development: bool
) -> AsyncIterator[TemporalRuntime]:
    """All agents run there. `development`: with a server and workers of its own."""
    async with AsyncExitStack() as stack:
        if development:
            address = await stack.enter_async_context(temporary(own_folder()))
            own = replace(config, temporal=address, namespace="default", temporal_ca=None, temporal_cert=None)
            client = await client_of(own, services)
            await stack.enter_async_context(Crew(client, specs_of(agents), services, config.queue))
        else:
            client = await client_of(config, services)
        runtime = TemporalRuntime(client, services, settings_of(config))
        for agent in agents:
            agent.on(runtime)
        yield runtime


def crew_of(client: Client, agents: list[Agent], services: Services, config: RuntimeConfig, tuning: Tuning) -> Crew:
    return Crew(client, specs_of(agents), services, config.queue, tuning)


async def replay(folder: Path, config: RuntimeConfig) -> list[tuple[str, str | None]]:
    """Each recorded history with what it says of this code: None if it goes the same way."""
    told: list[tuple[str, str | None]] = []
    blobs = blobs_of(config)
    codec = codec_of(config, blobs)
    for path in await asyncio.to_thread(lambda: sorted(folder.glob("*.json"))):
        history = WorkflowHistory.from_json(path.stem, await asyncio.to_thread(path.read_text))
        result = await replayer(codec).replay_workflow(history, raise_on_replay_failure=False)
        failure = result.replay_failure
        told.append((path.name, None if failure is None else str(failure).splitlines()[0]))
    if blobs is not None:
        await blobs.close()
    return told


async def drained(config: RuntimeConfig, agents: list[Agent], services: Services, wait_s: float) -> dict[str, int]:
    """How many runs of this make are still under way in each queue, when none is or the time is up."""
    client, clock = await client_of(config, services), services.clock
    until_s = clock.now_s() + wait_s
    while True:
        left = {queue: await under_way(client, queue) for queue in queues(specs_of(agents), config.queue)}
        if not any(left.values()) or clock.now_s() >= until_s:
            return left
        await clock.sleep_s(DRAIN_LOOK_S)


async def until_told() -> None:
    """SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def environ() -> dict[str, str]:
    return dict(os.environ)
