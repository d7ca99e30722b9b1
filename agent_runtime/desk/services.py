"""Everything from outside that an agent works with, in one value."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent_runtime.ports import (
    LLM,
    Blobs,
    Clock,
    Conversations,
    EventLog,
    Memory,
    Recorder,
    Roster,
    Runs,
    Shared,
    Treasurer,
)
from agent_runtime.tools.access import Authorizer


@dataclass(frozen=True, slots=True)
class Services:
    """`authorizers` hold for every agent. `closers` give back what these services opened themselves."""

    llm: LLM
    events: EventLog
    conversations: Conversations
    runs: Runs
    roster: Roster
    clock: Clock
    recorder: Recorder
    memory: Memory | None = None
    blobs: Blobs | None = None
    treasurer: Treasurer | None = None
    authorizers: tuple[Authorizer, ...] = ()
    runs_max: int = 1_000
    runs_per_tenant_max: int = 1_000
    runs_per_agent_max: int = 1_000
    tags: dict[str, str] = field(default_factory=dict)
    closers: tuple[Callable[[], Awaitable[None]], ...] = ()

    async def close(self) -> None:
        """The last opened first; after that nothing here may be used."""
        await asyncio.to_thread(self.recorder.flush)
        for closer in reversed(self.closers):
            await closer()

    def local_stores(self) -> list[str]:
        """Those that other processes cannot see."""
        stores: dict[str, Shared | None] = {
            "events": self.events,
            "conversations": self.conversations,
            "runs": self.runs,
            "roster": self.roster,
            "memory": self.memory,
        }
        return [name for name, store in stores.items() if store is not None and not store.distributed]
