"""What passes between clients, workflows and activities."""

from dataclasses import dataclass, field
from typing import Literal

from agent_runtime.domain.happened import Begun
from agent_runtime.domain.plan import LoopPlan
from agent_runtime.domain.state import RunState
from agent_runtime.domain.todo import AskApproval, AskMore, CallLLM, CheckCall, Emit, Outcome, Prepare, RunTool, TopUp
from agent_runtime.domain.values import RunRef

QUEUE_PRINT_CHARS = 12
UNHEARD = "unheard"
"""The kind of a refusal: the run knows of no such question, or not yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Fixed when a run starts, so that a replay sees the same."""

    queue: str = "meterway"
    heartbeat_s: float = 30.0
    publish_timeout_s: float = 15.0
    store_timeout_s: float = 30.0
    llm_timeout_s: float = 1_800.0
    llm_attempts: int = 10
    grace_s: float = 60.0
    history_events_max: int = 10_000
    history_bytes_max: int = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunInput:
    """`begun` starts a run; a run that is continued has `resume` instead. `plans` are those of all agents below."""

    state: RunState
    settings: Settings
    started_s: float
    begun: Begun | None = None
    resume: CallLLM | None = None
    plans: dict[str, LoopPlan] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """What one activity does: exactly one of the fields after `deadline_s` is given."""

    ref: RunRef
    fingerprint: str
    deadline_s: float
    prepare: Prepare | None = None
    think: CallLLM | None = None
    check: CheckCall | None = None
    act: RunTool | None = None
    top_up: TopUp | None = None
    more: AskMore | None = None
    notify: AskApproval | None = None
    publish: tuple[Emit, ...] = ()
    conclude: Outcome | None = None
    started_s: float = 0.0


Activity = Literal["prepare", "think", "check", "act", "top_up", "more", "notify", "publish", "conclude"]


def queue_of(base: str, agent: str, fingerprint: str) -> str:
    """Workers of another make never see the run: what does not match cannot half-run."""
    return f"{base}.{agent}.{fingerprint[:QUEUE_PRINT_CHARS]}"
