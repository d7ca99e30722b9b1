"""What the loop is told: one value for each thing that can happen to a run."""

from dataclasses import dataclass, field
from typing import Literal

from agent_runtime.domain.approval import Decision
from agent_runtime.domain.values import Failure, FinishReason, Message, Usage

Verdict = Literal["allow", "ask", "deny", "invalid"]


@dataclass(frozen=True, slots=True)
class Begun:
    """The run starts with this input."""

    input: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """History, recalled memories and documents are at hand. `input`: what a hook made of the user's."""

    history: tuple[Message, ...] = ()
    input: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Replied:
    """The model answered. `invalid` says why its answer does not fit the output schema."""

    turn: int
    message: Message
    usage: Usage
    finish_reason: str = "stop"
    target: str = ""
    streamed: bool = False
    invalid: str | None = None


@dataclass(frozen=True, slots=True)
class LLMFailed:
    turn: int
    failure: Failure
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Checked:
    """Arguments, authorizers and policy have been asked about one call."""

    call_id: str
    verdict: Verdict
    arguments: str
    reason: str = ""
    risk: str = ""
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    approval_id: str
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolDone:
    """`fatal` ends the run; anything else goes back to the model as text."""

    call_id: str
    text: str
    failed: bool = False
    fatal: Failure | None = None
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ChildDone:
    call_id: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    by_agent: dict[str, Usage] = field(default_factory=dict)
    failed: bool = False
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """The budget was raised by so much, or could not be."""

    failure: Failure | None = None
    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class MoreGranted:
    """So many more iterations; 0 for none."""

    iterations: int


@dataclass(frozen=True, slots=True)
class UserSaid:
    """Another message while the run is on its way."""

    text: str


@dataclass(frozen=True, slots=True)
class TimeUp:
    pass


@dataclass(frozen=True, slots=True)
class Broke:
    """The driver could not do what was asked, for a reason that is no answer to it."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class CancelAsked:
    reason: str = ""


Happened = (
    Begun
    | Prepared
    | Replied
    | LLMFailed
    | Checked
    | Decided
    | ApprovalExpired
    | ToolDone
    | ChildDone
    | ToppedUp
    | MoreGranted
    | UserSaid
    | TimeUp
    | CancelAsked
    | Broke
)
