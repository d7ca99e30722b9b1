"""What can go wrong between a caller and the gateway: one tree."""

from typing import Any


class LLMError(Exception):
    """A call did not work. `retryable`: the same call may work later; `again`: the gateway invites a retry now."""

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.again = again
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        facts = [self.code, f"request {self.request_id}" if self.request_id else ""]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self.message} ({known})" if known else self.message


class RateLimited(LLMError):
    """Too fast; wait `retry_after_s`."""

    retryable = True


class BudgetExceeded(LLMError):
    """The budget of `scope` is used up; it is full again at `resets_at`, if ever."""

    def __init__(self, message: str, *, scope: str = "", resets_at: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.scope = scope
        self.resets_at = resets_at


class Overloaded(LLMError):
    """The gateway or the provider has no room, is going down, or cannot be reached."""

    retryable = True


class ContextTooLong(LLMError):
    """The conversation is longer than every model that could answer; shorten it."""


class ContentFiltered(LLMError):
    """The provider refuses what is asked, or what it would have answered."""


class InvalidRequest(LLMError):
    """The request cannot be used; the message names the field."""


class AuthFailed(LLMError):
    """The key is not known, or may not use this model."""


class UpstreamFailed(LLMError):
    """The providers failed, or the gateway did; the gateway has made its own attempts."""

    retryable = True


class DeadlineExceeded(LLMError):
    """No answer within the deadline of the call."""

    retryable = True


class StreamBroken(LLMError):
    """A stream ended before its end; `partial` is the reply as far as it came, `cause` what the gateway said."""

    retryable = True

    def __init__(self, message: str, *, partial: Any, cause: LLMError | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.partial = partial
        self.cause = cause
