"""What the loop asks of its driver: one value for each thing that has to be done outside."""

from dataclasses import dataclass, field

from agent_runtime.domain.approval import Approval, ApprovalRecord
from agent_runtime.domain.values import Failure, FinishReason, Message, RunRef, Usage

Shown = dict[str, object]
"""One event in AG-UI's names, without its time."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Keep the user's turn, fetch history, memories and documents."""

    input: str


@dataclass(frozen=True, slots=True)
class CallLLM:
    """`turn` numbers the calls of a run from 1: with the run's id it is the idempotency key.

    `cheaper`: by the agent's cheaper model, as the budget does not allow the other one any more.
    """

    turn: int
    messages: tuple[Message, ...]
    with_tools: bool
    output_tokens: int
    cheaper: bool = False


@dataclass(frozen=True, slots=True)
class CheckCall:
    """`approved`: a person has decided; the policy is not asked again, everything else is."""

    turn: int
    place: int
    call_id: str
    name: str
    arguments: str
    approved: bool = False
    spent_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class RunTool:
    turn: int
    place: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class RunChild:
    """What a child may use at most: its share of the tokens, and all the dollars, that its parent has left."""

    turn: int
    place: int
    call_id: str
    agent: str
    query: str
    ref: RunRef
    tokens_left: int | None = None
    nano_usd_left: int | None = None


@dataclass(frozen=True, slots=True)
class AskApproval:
    approval: Approval


@dataclass(frozen=True, slots=True)
class TopUp:
    """A person allowed more: raise the budget that ran out, which is one of the two."""

    approval_id: str
    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class AskMore:
    """The iterations are used up; is there a reason to grant more, once?"""

    turn: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Events for the log. Invariant: `first` numbers them without a gap, so that repeating is harmless."""

    first: int
    events: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; whatever it used is known, also when it failed."""

    ref: RunRef
    finish_reason: FinishReason
    text: str
    failure: Failure | None
    usage: Usage
    """Of this agent alone."""
    total: Usage
    """Of the whole tree."""
    by_agent: dict[str, Usage]
    messages: tuple[Message, ...]
    tool_calls: int = 0
    tool_failures: int = 0
    delegations: int = 0
    target: str = ""
    turns: int = 0
    approvals: tuple[ApprovalRecord, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Finish:
    """Cancel what still runs, keep the transcript, tell the end."""

    outcome: Outcome


Todo = Prepare | CallLLM | CheckCall | RunTool | RunChild | AskApproval | TopUp | AskMore | Emit | Finish
