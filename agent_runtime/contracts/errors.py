"""What can go wrong with a run: one tree, whose members survive being turned into data and back."""

from typing import Any

from agent_runtime.domain.shown import USER_TEXT
from agent_runtime.domain.values import Category, Failure, RunRef

GERMAN = {
    "timeout": "Das hat länger gedauert als erlaubt. Bitte versuchen Sie es noch einmal.",
    "provider": "Das Sprachmodell ist gerade nicht erreichbar. Bitte versuchen Sie es später noch einmal.",
    "logic": "Bei dieser Aufgabe ist etwas schiefgegangen. Der Betreiber weiß Bescheid.",
    "config": "Dieser Assistent ist nicht richtig eingerichtet. Der Betreiber weiß Bescheid.",
    "denied": "Das ist hier nicht erlaubt.",
}
TEXTS = {"en": USER_TEXT, "de": GERMAN}


class AgentError(Exception):
    """Says which run, agent, conversation and tenant it is about; `result` is what there was when it failed."""

    kind = "agent_error"
    category: Category = "logic"
    retryable = False

    def __init__(self, message: str, *, ref: RunRef | None = None, result: Any = None, failure: Failure | None = None):
        super().__init__(message)
        self.message = message
        self.ref = ref
        self.result = result
        self.failure = failure
        if failure is not None:
            self.category, self.retryable = failure.category, failure.retryable

    @property
    def run_id(self) -> str:
        return self.ref.run_id if self.ref else ""

    @property
    def agent(self) -> str:
        return self.ref.agent if self.ref else ""

    @property
    def conversation_id(self) -> str | None:
        return self.ref.conversation_id if self.ref else None

    @property
    def tenant(self) -> str:
        return self.ref.principal.tenant if self.ref else ""

    def user_message(self, locale: str = "en") -> str:
        """What a user may read; the detail stays with operators."""
        return TEXTS.get(locale.split("-", maxsplit=1)[0].lower(), USER_TEXT)[self.category]

    def to_failure(self) -> Failure:
        return self.failure or Failure(self.kind, self.message, self.category, self.retryable)


class ConfigError(AgentError, ValueError):
    """The agent is put together wrongly; the message names the field and the remedy."""

    kind, category = "config", "config"


class RunTimeout(AgentError):
    kind, category, retryable = "timeout", "timeout", True


class ApprovalTimeout(AgentError):
    kind, category = "approval_timeout", "timeout"


class MaxIterationsReached(AgentError):
    kind, category = "max_iterations", "logic"


class BudgetExceeded(AgentError):
    kind, category = "budget_exceeded", "denied"


class LLMFailed(AgentError):
    """The gateway answered with an error; `failure.code` is its code."""

    kind, category, retryable = "llm", "provider", True

    @property
    def retry_after_s(self) -> float | None:
        return self.failure.retry_after_s if self.failure else None


class ToolError(AgentError):
    """Raise it in a tool: its text goes to the model. With `fatal` it ends the run."""

    kind = "tool"

    def __init__(self, message: str, *, fatal: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.fatal = fatal


class GuardrailViolation(AgentError):
    kind, category = "guardrail", "denied"


class NotAllowed(AgentError):
    """This caller may not do this, or not any more."""

    kind, category = "denied", "denied"


class FingerprintMismatch(AgentError):
    kind, category = "fingerprint", "config"


class NoWorkersAvailable(AgentError):
    kind, category, retryable = "no_workers", "config", True


class Cancelled(AgentError):
    kind = "cancelled"


class UnknownRun(AgentError):
    kind, category = "unknown_run", "config"


class TurnConflict(AgentError):
    """The conversation has a turn under way; attach to `active_run_id` instead."""

    kind, category = "turn_conflict", "denied"

    def __init__(self, message: str, *, active_run_id: str = "", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.active_run_id = active_run_id


class TooManyRuns(AgentError):
    """Admission control: so many runs are under way already."""

    kind, category, retryable = "too_many_runs", "denied", True


BY_KIND: dict[str, type[AgentError]] = {
    kind.kind: kind
    for kind in (
        ConfigError,
        RunTimeout,
        ApprovalTimeout,
        MaxIterationsReached,
        BudgetExceeded,
        GuardrailViolation,
        NotAllowed,
        FingerprintMismatch,
        NoWorkersAvailable,
        Cancelled,
        UnknownRun,
        TurnConflict,
        TooManyRuns,
        ToolError,
    )
}
OURS = frozenset({AgentError.kind, "bug", "lost", "unavailable", "output_invalid", "no_treasurer"})
NOT_RETRYABLE = frozenset(BY_KIND) - {"timeout", "no_workers", "too_many_runs", "tool"}


def error_of(failure: Failure, ref: RunRef, result: Any = None) -> AgentError:
    """The error that this failure stands for; what is of no kind here came from the gateway."""
    known = BY_KIND.get(failure.kind) or (AgentError if failure.kind in OURS else LLMFailed)
    return known(failure.message, ref=ref, result=result, failure=failure)
