"""The usual sets of services: all in memory, in one SQLite file, in Redis."""

from pathlib import Path
from typing import Any

from agent_runtime.connectors.gateway import GatewayLLM
from agent_runtime.desk.services import Services
from agent_runtime.ports import LLM
from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.memory import MemoryConversations, MemoryEvents, MemoryRoster, MemoryRuns
from agent_runtime.stores.recollections import SqliteMemory
from agent_runtime.stores.redis import TTL_S, RedisConversations, RedisEvents, RedisRoster, RedisRuns, connect
from agent_runtime.stores.retention import KEEP_S
from agent_runtime.stores.sqlite import SqliteConversations, SqliteEvents, SqliteFile, SqliteRoster, SqliteRuns
from agent_runtime.telemetry.recorder import OtelRecorder
from sdk_client import LLMClient


def behind(llm: LLM | LLMClient) -> LLM:
    return GatewayLLM(llm) if isinstance(llm, LLMClient) else llm


def local_services(llm: LLM | LLMClient, **more: Any) -> Services:
    """Gone with the process."""
    clock = more.pop("clock", None) or SystemClock()
    return Services(
        llm=behind(llm),
        events=MemoryEvents(),
        conversations=MemoryConversations(clock),
        runs=MemoryRuns(),
        roster=MemoryRoster(clock),
        clock=clock,
        recorder=more.pop("recorder", None) or OtelRecorder(),
        **more,
    )


def sqlite_services(llm: LLM | LLMClient, path: Path | str, **more: Any) -> Services:
    """For one machine: any number of its processes share the file. `keep_s`: how long a run is kept after its end."""
    clock = more.pop("clock", None) or SystemClock()
    file = SqliteFile(path, clock=clock, keep_s=more.pop("keep_s", KEEP_S))
    more.setdefault("memory", SqliteMemory(file, clock))
    return Services(
        llm=behind(llm),
        events=SqliteEvents(file, clock),
        conversations=SqliteConversations(file, clock),
        runs=SqliteRuns(file),
        roster=SqliteRoster(file, clock),
        closers=(*more.pop("closers", ()), file.aclose),
        clock=clock,
        recorder=more.pop("recorder", None) or OtelRecorder(),
        **more,
    )


def redis_services(llm: LLM | LLMClient, url: str, **more: Any) -> Services:
    """For any number of machines. `keep_s`: how long a run and a conversation are kept after they were last touched."""
    redis, clock = connect(url), more.pop("clock", None) or SystemClock()
    ttl_s = int(more.pop("keep_s", TTL_S))
    return Services(
        llm=behind(llm),
        events=RedisEvents(redis, ttl_s=ttl_s),
        conversations=RedisConversations(redis, ttl_s=ttl_s),
        runs=RedisRuns(redis, ttl_s=ttl_s),
        roster=RedisRoster(redis),
        closers=(*more.pop("closers", ()), redis.aclose),
        clock=clock,
        recorder=more.pop("recorder", None) or OtelRecorder(),
        **more,
    )
