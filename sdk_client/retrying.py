"""When a call is made again: only as the gateway invites, within the deadline, under one idempotency key."""

import random
from collections.abc import Callable
from typing import Any

import httpx
from tenacity import RetryCallState
from tenacity.retry import retry_if_exception
from tenacity.stop import stop_after_attempt, stop_base, stop_before_delay

from sdk_client.errors import DeadlineExceeded, LLMError, Overloaded

FIRST_WAIT_S = 0.25
WAIT_MAX_S = 8.0


def wait_s(state: RetryCallState) -> float:
    """What the gateway asks for, else a growing time with jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, LLMError) and error.retry_after_s is not None:
        return error.retry_after_s
    longest_s = min(WAIT_MAX_S, FIRST_WAIT_S * 2.0 ** (state.attempt_number - 1))
    return longest_s * (0.5 + random.random() / 2)


def invited(error: BaseException) -> bool:
    return isinstance(error, LLMError) and error.again


def policy(attempts_max: int, timeout_s: float) -> dict[str, Any]:
    """For tenacity: a wait that would end after the deadline is not begun."""
    stop: stop_base = stop_after_attempt(attempts_max) | stop_before_delay(timeout_s)
    return {"stop": stop, "wait": wait_s, "retry": retry_if_exception(invited), "reraise": True}


def translated(error: httpx.HTTPError | TimeoutError, left_s: Callable[[], float]) -> LLMError:
    """No answer of the gateway at all. As the key makes a repetition safe, that is an invitation too."""
    kind = type(error).__name__
    if isinstance(error, TimeoutError) or left_s() <= 0:
        return DeadlineExceeded(f"no answer within the deadline ({kind})", code="deadline_exceeded")
    return Overloaded(
        f"the gateway cannot be reached ({kind}); check the base URL and whether it runs",
        code="gateway_unreachable",
        again=True,
    )
