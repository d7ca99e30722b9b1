"""Where a run stands: one value, plain data, from which it can go on anywhere."""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from agent_runtime.domain.approval import Approval, ApprovalRecord
from agent_runtime.domain.plan import LoopPlan
from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import Call, Message, RunRef, Usage

Budget = Literal["tokens", "nano_usd"]


class Phase(StrEnum):
    NEW = "new"
    PREPARING = "preparing"
    THINKING = "thinking"
    ACTING = "acting"
    SHORT = "short of budget"
    TOPPING_UP = "topping up"
    STRETCHING = "asking for more iterations"
    DONE = "done"


class Stage(StrEnum):
    """Where one tool call stands."""

    WAITING = "waiting"
    CHECKING = "checking"
    ASKING = "asking"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class CallState:
    call: Call
    stage: Stage = Stage.WAITING
    arguments: str = ""
    approval: Approval | None = None
    approved: bool = False
    result: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class RunState:
    ref: RunRef
    plan: LoopPlan
    seed: str = ""
    phase: Phase = Phase.NEW
    deadline_s: float = 0.0
    stopped_since_s: float | None = None
    history: tuple[Message, ...] = ()
    messages: tuple[Message, ...] = ()
    inbox: tuple[str, ...] = ()
    turn: int = 0
    rounds: int = 0
    granted: int = 0
    asked_for_more: bool = False
    wrapping_up: bool = False
    repaired: bool = False
    calls: tuple[CallState, ...] = ()
    usage: Usage = field(default_factory=Usage)
    below: dict[str, Usage] = field(default_factory=dict)
    tokens_max: int | None = None
    nano_usd_max: int | None = None
    top_ups: int = 0
    short_of: Budget | None = None
    degraded: bool = False
    budget_approval: Approval | None = None
    spent_approvals: tuple[str, ...] = ()
    approvals: tuple[ApprovalRecord, ...] = ()
    delegations: int = 0
    child_tokens: int | None = None
    tool_calls: int = 0
    tool_failures: int = 0
    target: str = ""
    emitted: int = 0
    outcome: Outcome | None = None

    @property
    def total(self) -> Usage:
        return sum(self.below.values(), self.usage)

    @property
    def pending_approvals(self) -> tuple[Approval, ...]:
        asked = tuple(one.approval for one in self.calls if one.stage is Stage.ASKING and one.approval is not None)
        return asked if self.budget_approval is None else (*asked, self.budget_approval)

    @property
    def only_asks(self) -> bool:
        """Whether a person is being waited for and nothing else happens."""
        busy = any(one.stage in (Stage.CHECKING, Stage.RUNNING) for one in self.calls)
        return bool(self.pending_approvals) and not busy

    @property
    def clock_stopped(self) -> bool:
        """Whether the run's time does not pass."""
        return self.plan.limits.pause_while_asking and self.only_asks


def new_run(ref: RunRef, plan: LoopPlan, deadline_s: float, seed: str) -> RunState:
    """`deadline_s` is absolute, by whatever clock the driver goes; nobody can guess an approval's id without `seed`."""
    limits = plan.limits
    return RunState(
        ref, plan, seed, deadline_s=deadline_s, tokens_max=limits.tokens_max, nano_usd_max=limits.nano_usd_max
    )


def approval_id(state: RunState, place: str) -> str:
    signed = hmac.new(state.seed.encode(), f"{state.ref.run_id}~{state.turn}~{place}".encode(), hashlib.sha256)
    return f"{state.ref.run_id}~{state.turn}~{place}~{signed.hexdigest()[:24]}"
