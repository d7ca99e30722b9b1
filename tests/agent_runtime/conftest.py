"""What the tests of the runtime share: a gateway with simulated providers, stores of every kind."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.memory import MemoryConversations, MemoryEvents, MemoryRoster, MemoryRuns
from agent_runtime.stores.redis import RedisConversations, RedisEvents, RedisRoster, RedisRuns, connect
from agent_runtime.stores.sqlite import SqliteConversations, SqliteEvents, SqliteFile, SqliteRoster, SqliteRuns
from tests.agent_runtime.lab import Lab, running
from tests.e2e.processes import lab
from tests.redis import Server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("lab")) as environ:
        yield environ


@pytest.fixture(scope="session")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("own-lab")) as own:
        yield own


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Server(tmp_path_factory.mktemp("redis"))
    try:
        yield server.url
    finally:
        server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """`events`, `conversations` and `runs` of one kind."""
    clock = SystemClock()
    match request.param:
        case "memory":
            yield SimpleNamespace(
                events=MemoryEvents(),
                conversations=MemoryConversations(clock, messages_max=10),
                runs=MemoryRuns(),
                roster=MemoryRoster(clock),
            )
        case "sqlite":
            file = SqliteFile(tmp_path / "agents.db")
            conversations = SqliteConversations(file, clock, messages_max=10)
            yield SimpleNamespace(
                events=SqliteEvents(file, clock),
                conversations=conversations,
                runs=SqliteRuns(file),
                roster=SqliteRoster(file, clock),
            )
            file.close()
        case "redis":
            redis = connect(request.getfixturevalue("redis_url"))
            await redis.flushall()
            conversations_ = RedisConversations(redis, messages_max=10)
            yield SimpleNamespace(
                events=RedisEvents(redis),
                conversations=conversations_,
                runs=RedisRuns(redis),
                roster=RedisRoster(redis),
            )
            await redis.aclose()
