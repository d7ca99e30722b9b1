"""The usual sets of services: all in memory, in one SQLite file, in Redis."""

from pathlib import Path
from typing import Any

from agent_runtime.connectors.gateway import GatewayLLM
from agent_runtime.desk.services import Services
from agent_runtime.ports import LLM
from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.memory import MemoryConversations, MemoryEvents, MemoryRuns
from agent_runtime.stores.recollections import SqliteMemory
from agent_runtime.stores.redis import RedisConversations, RedisEvents, RedisRuns, connect
from agent_runtime.stores.sqlite import SqliteConversations, SqliteEvents, SqliteFile, SqliteRuns
from agent_runtime.telemetry.recorder import OtelRecorder
from sdk_client import LLMClient


def behind(llm: LLM | LLMClient) -> LLM:
    return GatewayLLM(llm) if isinstance(llm, LLMClient) else llm


def local_services(llm: LLM | LLMClient, **more: Any) -> Services:
    """Gone with the process."""
    clock = more.pop("clock", None) or SystemClock()
    conversations = MemoryConversations(clock)
    recorder = more.pop("recorder", None) or OtelRecorder()
    return Services(behind(llm), MemoryEvents(), conversations, MemoryRuns(), clock, recorder, **more)


def sqlite_services(llm: LLM | LLMClient, path: Path | str, **more: Any) -> Services:
    """For one machine: any number of its processes share the file."""
    file, clock = SqliteFile(path), more.pop("clock", None) or SystemClock()
    recorder = more.pop("recorder", None) or OtelRecorder()
    more.setdefault("memory", SqliteMemory(file, clock))
    events, conversations = SqliteEvents(file, clock), SqliteConversations(file, clock)
    return Services(behind(llm), events, conversations, SqliteRuns(file), clock, recorder, **more)


def redis_services(llm: LLM | LLMClient, url: str, **more: Any) -> Services:
    """For any number of machines."""
    redis, clock = connect(url), more.pop("clock", None) or SystemClock()
    recorder = more.pop("recorder", None) or OtelRecorder()
    events, conversations = RedisEvents(redis), RedisConversations(redis)
    return Services(behind(llm), events, conversations, RedisRuns(redis), clock, recorder, **more)
