"""What the desk and the drivers ask of others: models, logs, stores, time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Failure, Message, Principal, RunRef, Usage

TurnStatus = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ToolCard:
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a model. The key is the same whenever the same turn is asked again."""

    ref: RunRef
    turn: int
    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolCard, ...]
    output_tokens: int
    idempotency_key: str
    timeout_s: float = 0.0
    output_schema: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    priority: Literal["interactive", "autonomous"] = "interactive"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    message: Message
    usage: Usage
    finish_reason: str = "stop"
    target: str = ""
    reasoning: str = ""


class LLMTrouble(Exception):
    """A model call failed, as data."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


Heard = Callable[[str], Awaitable[None]]
"""Is given each piece of text of a streamed answer."""


class LLM(Protocol):
    """Raises LLMTrouble."""

    async def complete(self, ask: Ask, heard: Heard | None = None) -> Answer: ...


class Clock(Protocol):
    def now_s(self) -> float: ...
    async def sleep_s(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """`key` makes it the same entry, however often it is appended."""

    key: str
    event: Shown


class Shared(Protocol):
    """Whether other processes see the same."""

    @property
    def distributed(self) -> bool: ...


class EventLog(Protocol):
    """The events of a run, numbered from 0 without a gap, kept for a while after the end."""

    @property
    def distributed(self) -> bool: ...

    async def append(self, run_id: str, entries: Sequence[Entry]) -> None:
        """What is there already, or comes after the terminal event, is left out."""
        ...

    async def read(self, run_id: str, offset: int, wait_s: float) -> list[tuple[int, Shown]]:
        """From `offset` on; waits up to so long for the first of them."""
        ...

    async def erase(self, run_ids: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation: the run that it was, and its messages."""

    run_id: str
    status: TurnStatus
    messages: tuple[Message, ...]


class Conversations(Protocol):
    """Whose conversations: every call says so, and nobody sees another's."""

    @property
    def distributed(self) -> bool: ...

    async def claim(self, whose: Principal, conversation: str, run_id: str, ttl_s: float) -> str:
        """The run that has the floor: this one, or the one that had it before."""
        ...

    async def release(self, whose: Principal, conversation: str, run_id: str) -> None: ...
    async def keep(self, whose: Principal, conversation: str, turn: Turn) -> None:
        """Adds the turn of this run, or replaces it."""
        ...

    async def turns(self, whose: Principal, conversation: str) -> list[Turn]: ...
    async def clear(self, whose: Principal, conversation: str) -> None: ...
    async def erase(self, whose: Principal) -> list[str]:
        """Everything of this user, or of the tenant if no user is given; the runs that were in it."""
        ...


@dataclass(frozen=True, slots=True)
class RunEntry:
    """What is known of a run, for those who ask later.

    `until_s` (wall clock) is when it has ended at the latest, unless it `pauses` while it asks; None: nobody has said.
    """

    ref: RunRef
    input: str
    outcome: Outcome | None = None
    until_s: float | None = None
    pauses: bool = False

    def overdue(self, now_s: float) -> bool:
        """Of one without an outcome."""
        return self.until_s is not None and now_s > self.until_s


class Runs(Protocol):
    @property
    def distributed(self) -> bool: ...

    async def find(self, request: str) -> str | None:
        """The run that this request began."""
        ...

    async def begin(self, entry: RunEntry, request: str | None) -> str:
        """The run of this request: a new one, or the one that it began before."""
        ...

    async def take_place(self, run_id: str, bounds: Mapping[str, int], now_s: float, until_s: float) -> str | None:
        """One of `bounds` places in each scope, until it is left or that time has come; else the scope that is full."""
        ...

    async def leave_place(self, run_id: str, scopes: Collection[str]) -> None: ...
    async def end(self, outcome: Outcome) -> None: ...
    async def get(self, run_id: str) -> RunEntry | None: ...
    async def result_of_call(self, run_id: str, key: str) -> str | None: ...
    async def keep_result(self, run_id: str, key: str, text: str) -> None:
        """What a tool call gave, so that a repetition need not run it."""
        ...

    async def erase(self, whose: Principal) -> list[str]:
        """Everything of this user, or of the tenant if no user is given; the runs that it was."""
        ...


@dataclass(frozen=True, slots=True)
class Recollection:
    text: str
    kind: str = "note"
    score: float = 1.0
    id: str = ""


class Roster(Protocol):
    """Which workers are there, for which queue; a worker that says nothing for a while is not."""

    @property
    def distributed(self) -> bool: ...
    async def beat(self, queue: str, worker: str, ttl_s: float) -> None: ...
    async def leave(self, queue: str, worker: str) -> None: ...
    async def present(self, queue: str) -> list[str]: ...


class Blobs(Protocol):
    """Where large payloads lie, as `run/hash of the content`: to put one again is harmless."""

    async def put(self, name: str, data: bytes) -> None: ...
    async def get(self, name: str) -> bytes:
        """Raises ConfigError where it is not any more."""
        ...

    async def erase(self, run_ids: Collection[str]) -> None:
        """With those of the runs below them."""
        ...

    async def close(self) -> None: ...


class Memory(Protocol):
    @property
    def distributed(self) -> bool: ...

    async def recall(
        self, whose: Principal, agent: str, query: str, limit: int, score_min: float
    ) -> list[Recollection]: ...
    async def store(self, whose: Principal, agent: str, one: Recollection) -> str: ...
    async def erase(self, whose: Principal) -> None: ...


@dataclass(frozen=True, slots=True)
class Document:
    content: str
    source: str = ""
    score: float = 1.0


class Retriever(Protocol):
    name: str

    async def search(self, query: str) -> list[Document]: ...


class Treasurer(Protocol):
    """Keeps the budgets of trees of runs where they hold against every process."""

    async def open(self, ref: RunRef, nano_usd: int) -> None: ...
    async def top_up(self, ref: RunRef, nano_usd: int) -> None: ...

    async def close_run(self, ref: RunRef) -> None: ...


Knowledge = Literal["retriever", "memory.recall", "memory.store"]


class Recorder(Protocol):
    """Tells operators; it can fail no run."""

    @property
    def tracer(self) -> Any:
        """OpenTelemetry's, with which `span` is made: a driver takes the trace to other processes."""
        ...

    def run_started(self, ref: RunRef) -> None: ...
    def run_ended(self, outcome: Outcome, duration_s: float) -> None: ...
    def llm_call(self, ref: RunRef, model: str, usage: Usage | None, duration_s: float, error: str | None) -> None: ...
    def tool_call(self, ref: RunRef, tool: str, duration_s: float, error: str | None) -> None: ...
    def knowledge_call(self, what: Knowledge, duration_s: float, *, failed: bool, **about: str) -> None: ...
    def counted(self, name: str, **attributes: str) -> None: ...
    def measured(self, name: str, value: float, **attributes: str) -> None:
        """What stands at this value now."""
        ...

    def span(self, name: str, ref: RunRef, **attributes: str) -> Any: ...
    def flush(self) -> None:
        """The process ends: send what was not sent yet, and wait for no more than a few seconds."""
        ...


Events = AsyncIterator[tuple[int, Shown]]
