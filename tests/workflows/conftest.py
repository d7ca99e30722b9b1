"""A Temporal development server, and runtimes that use it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.temporal.devserver import answers, development_server
from agent_runtime.temporal.runtime import TemporalRuntime, connect
from agent_runtime.temporal.shapes import Settings
from agent_runtime.temporal.workers import Crew
from tests.agent_runtime.lab import Lab, running
from tests.e2e.processes import lab as lab_of_clients
from tests.redis import Server

QUICK = Settings(queue="test", heartbeat_s=3.0)


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with development_server(tmp_path_factory.mktemp("temporal")) as address:
        asyncio.run(answers(address))
        yield address


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    server = Server(tmp_path_factory.mktemp("gateway-redis"))
    try:
        with running(tmp_path_factory.mktemp("workflow-lab"), server.url) as own:
            yield own
    finally:
        server.kill()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab_of_clients(tmp_path_factory.mktemp("gateway")) as environ:
        yield environ


@pytest.fixture
async def client(temporal: str) -> Client:
    return await connect(temporal)


class Stage:
    """One agent with a worker in this process; `agent` runs on Temporal."""

    def __init__(self, client: Client, folder: Path, settings: Settings = QUICK) -> None:
        self.client = client
        self.folder = folder
        self.settings = settings

    @asynccontextmanager
    async def playing(self, agent: Agent) -> AsyncIterator[Agent]:
        assert agent.services is not None
        services = agent.services
        async with Crew(self.client, agent.spec.below(), services, self.settings.queue):
            yield agent.on(TemporalRuntime(self.client, services, self.settings))

    def services(self, llm: Any) -> Any:
        return sqlite_services(llm, self.folder / "agents.db")


@pytest.fixture
def stage(client: Client, tmp_path: Path) -> Stage:
    return Stage(client, tmp_path, replace(QUICK, queue=f"test-{tmp_path.name}"))
