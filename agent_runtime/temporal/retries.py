"""The table of retries: how often each kind of work is begun again, what is never, and what is left of the last one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from agent_runtime.contracts.errors import NOT_RETRYABLE
from agent_runtime.domain.values import Failure
from agent_runtime.temporal.shapes import Activity, Settings

FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=10)
FOREVER = 0


@dataclass(frozen=True, slots=True)
class Row:
    """`heartbeats`: a worker that dies is noticed by their absence, not by the end of the timeout."""

    timeout_s: float
    attempts: int
    heartbeats: bool = False


def table(settings: Settings) -> Mapping[Activity, Row]:
    """What these attempts repeat is safe to repeat: each writes under a key, or only reads.

    A tool is the exception, see `tool_row`.
    """
    return {
        "prepare": Row(300.0, 5, heartbeats=True),
        "think": Row(settings.llm_timeout_s, settings.llm_attempts, heartbeats=True),
        "check": Row(1_800.0, 5, heartbeats=True),
        "act": Row(1_800.0, 1, heartbeats=True),
        "top_up": Row(60.0, 1, heartbeats=True),
        "more": Row(60.0, 3, heartbeats=True),
        "notify": Row(60.0, 3, heartbeats=True),
        "publish": Row(settings.publish_timeout_s, 5),
        "conclude": Row(settings.store_timeout_s, FOREVER, heartbeats=True),
    }


def tool_row(timeout_s: float, *, idempotent: bool) -> Row:
    """Only what is declared idempotent may run a second time, even if its worker was killed."""
    return Row(timeout_s, 5 if idempotent else 1, heartbeats=True)


def policy(row: Row) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=FIRST_WAIT,
        backoff_coefficient=2.0,
        maximum_interval=LONGEST_WAIT,
        maximum_attempts=row.attempts,
        non_retryable_error_types=sorted(NOT_RETRYABLE),
    )


def lost(error: ActivityError) -> Failure:
    """What is left of the reason after it has crossed processes."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        if cause.details and isinstance(cause.details[0], dict):
            return Failure(**cause.details[0])
        return Failure(cause.type or "bug", cause.message, "config" if cause.type == "fingerprint" else "logic")
    return Failure("deadline_exceeded", f"no worker finished this in time ({type(cause).__name__})", "timeout", True)
