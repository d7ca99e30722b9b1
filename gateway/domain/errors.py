"""The one tree of errors that a caller can meet; each class says status, code, fault and whether to try again."""

from typing import ClassVar

from gateway.domain.symbol import Symbol


class Fault(Symbol):
    """Who has to act."""

    CALLER = "caller"
    POLICY = "policy"
    PROVIDER = "provider"
    GATEWAY = "gateway"


class GatewayError(Exception):
    """`message` is for the caller to read: what was wrong, with which value, what to do. No secrets, no prompts.

    `retryable` says whether the same request may work later. `again` says whether the caller itself should retry now:
    false once the gateway has used up its own attempts or waiting cannot help (`x-should-retry`).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    fault: ClassVar[Fault] = Fault.GATEWAY
    retryable: ClassVar[bool] = True
    again: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class CallerError(GatewayError):
    status, code, type = 400, "invalid_request", "invalid_request_error"
    fault, retryable = Fault.CALLER, False


class InvalidRequest(CallerError):
    pass


class InvalidKey(CallerError):
    status, code, type = 401, "invalid_api_key", "authentication_error"


class KeyReused(CallerError):
    """An idempotency key came again with another body."""

    status, code = 422, "idempotency_key_reused"


class UnknownModel(CallerError):
    status, code = 404, "model_not_found"


class UnknownRoute(CallerError):
    status, code = 404, "unknown_url"


class MethodNotAllowed(CallerError):
    status, code = 405, "method_not_allowed"


class BodyTooLarge(CallerError):
    status, code = 413, "request_too_large"


class HeadersTooLarge(CallerError):
    status, code = 431, "headers_too_large"


class BodyTooSlow(CallerError):
    status, code = 408, "request_timeout"


class ClientGone(CallerError):
    status, code = 499, "client_closed_request"


class PolicyError(GatewayError):
    fault = Fault.POLICY


class RateLimited(PolicyError):
    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"
    again = True


class BudgetExceeded(PolicyError):
    """`again` only when what is missing is merely held by requests that run."""

    status, code, type = 402, "budget_exceeded", "insufficient_quota"
    retryable = False

    def __init__(self, message: str, *, scope: str, resets_at: str | None, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.scope = scope
        self.resets_at = resets_at
        if retry_after_s is not None:
            self.again = self.retryable = True  # type: ignore[misc]  # a fact of this one refusal


class ReservationExhausted(PolicyError):
    """In a stream only: the provider went on beyond what had been reserved for the answer."""

    status, code, type = 402, "reservation_exhausted", "insufficient_quota"
    retryable = False


class ModelNotPriced(PolicyError):
    status, code, type = 400, "model_not_priced", "invalid_request_error"
    retryable = False


class ModelForbidden(PolicyError):
    status, code, type = 403, "model_not_allowed", "permission_error"
    retryable = False


class NoTargetFits(PolicyError):
    """Every target of the route lacks something that the request needs."""

    status, code, type = 400, "no_target_fits", "invalid_request_error"
    retryable = False


class ProviderError(GatewayError):
    status, code = 502, "upstream_error"
    fault = Fault.PROVIDER


class UpstreamUnreachable(ProviderError):
    status, code = 503, "upstream_unreachable"


class UpstreamConnectTimeout(ProviderError):
    status, code = 504, "upstream_connect_timeout"


class UpstreamTlsError(ProviderError):
    code = "upstream_tls_error"


class UpstreamTimeout(ProviderError):
    status, code = 504, "upstream_timeout"


class UpstreamStalled(ProviderError):
    status, code = 504, "upstream_stalled"


class UpstreamTruncated(ProviderError):
    code = "upstream_truncated"


class UpstreamInvalidResponse(ProviderError):
    code = "upstream_invalid_response"


class UpstreamResponseTooLarge(ProviderError):
    code = "upstream_response_too_large"


class UpstreamAuth(ProviderError):
    code, retryable = "upstream_auth", False


class UpstreamModelMissing(ProviderError):
    code, retryable = "upstream_model_not_found", False


class UpstreamFailed(ProviderError):
    """The provider answered 5xx; the instance carries the status that the caller sees."""


class UpstreamThrottled(ProviderError):
    status, code, type = 429, "upstream_rate_limited", "rate_limit_error"
    again = True


class UpstreamOverloaded(ProviderError):
    status, code = 503, "upstream_overloaded"
    again = True


class ProviderQuotaExhausted(ProviderError):
    status, code, type = 503, "provider_quota_exhausted", "insufficient_quota"
    retryable = False


class UpstreamRefused(GatewayError):
    """The provider refused this request for what it says; its own error body goes to the caller as it is."""

    code, type = "invalid_request", "invalid_request_error"
    fault, retryable = Fault.CALLER, False

    def __init__(self, message: str, *, status: int, code: str | None, reply: bytes | None) -> None:
        super().__init__(message)
        self.reply_status = status
        self.reply_code = code
        self.reply = reply


class DeadlineExceeded(ProviderError):
    """The caller's deadline or the route's total time would pass before an answer."""

    status, code = 504, "deadline_exceeded"


class HouseError(GatewayError):
    pass


class Overloaded(HouseError):
    status, code = 503, "gateway_overloaded"
    again = True


class Draining(HouseError):
    status, code = 503, "gateway_shutting_down"
    again = True


class InternalError(HouseError):
    pass


class StoreAway(HouseError):
    """The shared store cannot be asked, and the limit says to refuse or its leased credit is used up."""

    status, code = 503, "store_unavailable"
    again = True


class JournalUnavailable(HouseError):
    """Nothing is begun that could not be put on record."""

    status, code = 503, "journal_unavailable"
