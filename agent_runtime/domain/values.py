"""The values that runs are made of; all of them are plain data that JSON can hold."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
Category = Literal["timeout", "provider", "logic", "config", "denied"]
FinishReason = Literal["complete", "length", "max_iterations", "budget_exceeded", "timeout", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it: `arguments` is a JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """`unpriced_calls` are those whose cost the gateway did not tell.

    `provider_switches` are those that another provider answered than the one that had the session, or was tried first.
    """

    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0
    unpriced_calls: int = 0
    provider_switches: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.llm_calls + other.llm_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cost_nano_usd + other.cost_nano_usd,
            self.unpriced_calls + other.unpriced_calls,
            self.provider_switches + other.provider_switches,
        )


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf: the tenant is mandatory everywhere."""

    tenant: str
    user: str = ""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as data, as it crosses processes. `message` is for operators; users get a text by `category`.

    `scope` is whose budget was used up, as the gateway says it: `tenant`, or `run:` and its id; none if it did not say.
    """

    kind: str
    message: str
    category: Category = "logic"
    retryable: bool = False
    retry_after_s: float | None = None
    code: str = ""
    scope: str = ""


def lineage(run_id: str) -> tuple[str, ...]:
    """The run and all above it: a child's id goes on from its parent's."""
    parts = run_id.split("-")
    return tuple("-".join(parts[:count]) for count in range(1, len(parts) + 1))


@dataclass(frozen=True, slots=True)
class RunRef:
    """Which run this is. A child's `root_run_id` is the run that the caller started."""

    run_id: str
    agent: str
    principal: Principal
    root_run_id: str
    parent_run_id: str | None = None
    conversation_id: str | None = None
    depth: int = 0
    stream: bool = False
    retry_of: str | None = None

    @property
    def thread_id(self) -> str:
        return self.conversation_id or self.root_run_id
