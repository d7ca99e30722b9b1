"""What starts a run, and what comes of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from agent_runtime.contracts.errors import (
    AgentError,
    BudgetExceeded,
    Cancelled,
    MaxIterationsReached,
    RunTimeout,
    error_of,
)
from agent_runtime.domain.approval import Approval, ApprovalRecord
from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import FinishReason, Message, Principal, RunRef, Usage

Status = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`request_id`: the same one again attaches to the run that it began. `timeout_s`: the shorter one wins."""

    input: str
    principal: Principal
    conversation_id: str | None = None
    images: tuple[str, ...] = ()
    timeout_s: float | None = None
    request_id: str | None = None
    retry_of: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class RunResult:
    """`usage` is of the whole tree of runs."""

    run_id: str
    agent: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    own_usage: Usage
    by_agent: dict[str, Usage]
    messages: tuple[Message, ...]
    tool_calls: int
    tool_failures: int
    delegations: int
    target: str
    approvals: tuple[ApprovalRecord, ...]
    output: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RunStatus:
    run_id: str
    agent: str
    status: Status
    phase: str
    turn: int
    usage: Usage
    pending_approvals: tuple[Approval, ...] = ()
    finish_reason: FinishReason | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """For `raise_errors=False`: the result cannot be read by mistake when there is none."""

    status: Status
    outcome: Outcome
    error: AgentError | None

    @property
    def result(self) -> RunResult:
        if self.error is not None:
            raise self.error
        return result_of(self.outcome)

    @property
    def usage(self) -> Usage:
        return self.outcome.total


def result_of(outcome: Outcome, output: Any = None) -> RunResult:
    return RunResult(
        run_id=outcome.ref.run_id,
        agent=outcome.ref.agent,
        text=outcome.text,
        finish_reason=outcome.finish_reason,
        usage=outcome.total,
        own_usage=outcome.usage,
        by_agent=outcome.by_agent,
        messages=outcome.messages,
        tool_calls=outcome.tool_calls,
        tool_failures=outcome.tool_failures,
        delegations=outcome.delegations,
        target=outcome.target,
        approvals=outcome.approvals,
        output=output,
    )


def status_of(reason: FinishReason) -> Status:
    return {"failed": "failed", "timeout": "failed", "cancelled": "cancelled"}.get(reason, "completed")  # type: ignore[return-value]


def error_in(outcome: Outcome, *, raise_on_max_iterations: bool = False) -> AgentError | None:
    """Whether this end is an error: a spent budget and used-up iterations are results, unless one asks otherwise."""
    ref: RunRef = outcome.ref
    result = result_of(outcome)
    match outcome.finish_reason:
        case "timeout":
            return RunTimeout("the run's time was up", ref=ref, result=result)
        case "cancelled":
            return Cancelled("the run was cancelled", ref=ref, result=result)
        case "max_iterations" if raise_on_max_iterations:
            return MaxIterationsReached("the limit of iterations was reached", ref=ref, result=result)
        case "budget_exceeded" if not outcome.text:
            return BudgetExceeded("the budget was used up before there was an answer", ref=ref, result=result)
        case _ if outcome.failure is not None:
            return error_of(outcome.failure, ref, result)
    return None
