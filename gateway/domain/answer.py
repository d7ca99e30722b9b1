"""Which error the caller gets for a failed attempt or a plan without targets."""

from collections.abc import Sequence

from gateway.domain import errors
from gateway.domain.failure import Failure, FailureKind
from gateway.domain.record import Drop
from gateway.domain.request import ModelRequest
from gateway.domain.routing import RoutePlan

_K = FailureKind

ERRORS: dict[FailureKind, type[errors.ProviderError] | type[errors.HouseError]] = {
    _K.DNS: errors.UpstreamUnreachable,
    _K.REFUSED: errors.UpstreamUnreachable,
    _K.CONNECT_TIMEOUT: errors.UpstreamConnectTimeout,
    _K.TLS: errors.UpstreamTlsError,
    _K.RESET: errors.UpstreamTruncated,
    _K.HEAD_TIMEOUT: errors.UpstreamTimeout,
    _K.FIRST_TOKEN_TIMEOUT: errors.UpstreamTimeout,
    _K.STALLED: errors.UpstreamStalled,
    _K.TRUNCATED: errors.UpstreamTruncated,
    _K.MALFORMED_STREAM: errors.UpstreamInvalidResponse,
    _K.MALFORMED_BODY: errors.UpstreamInvalidResponse,
    _K.THROTTLED: errors.UpstreamThrottled,
    _K.QUOTA_GONE: errors.ProviderQuotaExhausted,
    _K.SERVER_ERROR: errors.UpstreamFailed,
    _K.OVERLOADED: errors.UpstreamOverloaded,
    _K.AUTH: errors.UpstreamAuth,
    _K.MODEL_NOT_FOUND: errors.UpstreamModelMissing,
    _K.REDIRECT: errors.UpstreamInvalidResponse,
    _K.RESPONSE_TOO_LARGE: errors.UpstreamResponseTooLarge,
    _K.POOL_FULL: errors.Overloaded,
    _K.DEADLINE: errors.DeadlineExceeded,
}

AS_THEY_ARE: dict[FailureKind, tuple[int, str | None]] = {
    _K.REQUEST_TIMEOUT: (408, "request_timeout"),
    _K.CONFLICT: (409, "conflict"),
    _K.INVALID_REQUEST: (400, None),
    _K.CONTEXT_LENGTH: (400, "context_length_exceeded"),
    _K.CONTENT_FILTER: (400, "content_filter"),
    _K.FILTERED_HERE: (400, "content_filter"),
    _K.TOO_LARGE: (413, "request_too_large"),
}
"""Refusals that speak of the request: the provider's status and words go to the caller."""

MESSAGES: dict[FailureKind, str] = {
    _K.AUTH: "the provider refused the gateway's credential; the operator has to mend it, your key is fine",
    _K.MODEL_NOT_FOUND: "the provider does not know the configured model; the operator has to mend the route",
    _K.QUOTA_GONE: "the provider account has no quota left; retrying does not help",
    _K.THROTTLED: "the provider limits the rate of the gateway's requests",
    _K.OVERLOADED: "the provider is overloaded",
    _K.SERVER_ERROR: "the provider failed to answer",
}
"""In our own words: what a provider says of its own trouble may name hosts, accounts and keys."""

MISCONFIGURED: dict[str, FailureKind] = {
    f"misconfigured_{kind.value}": kind for kind in (_K.AUTH, _K.MODEL_NOT_FOUND, _K.QUOTA_GONE)
}


def error_for(failure: Failure, retry_after_s: float | None) -> errors.GatewayError:
    """`retry_after_s` is when the first of the targets opens again."""
    if failure.kind in AS_THEY_ARE:
        status, code = AS_THEY_ARE[failure.kind]
        if failure.status is not None and 400 <= failure.status < 500:
            status = failure.status
        return errors.UpstreamRefused(failure.message, status=status, code=failure.code or code, reply=failure.reply)
    kind = ERRORS[failure.kind]
    message = MESSAGES.get(failure.kind, failure.message)
    error = kind(message, retry_after_s=retry_after_s if kind.retryable else None)
    if failure.kind is _K.SERVER_ERROR and failure.status in (503, 504):
        error.status = failure.status  # type: ignore[misc]  # the instance answers as the provider did
    return error


def no_target(
    plan: RoutePlan, drops: Sequence[Drop], request: ModelRequest, retry_after_s: float | None
) -> errors.GatewayError:
    """Nothing could be tried: the reasons of the drops decide who has to act."""
    model, needs = request.model, request.needs
    found = {drop.reason for drop in drops}
    reasons = ", ".join(sorted(found)) or "none are configured"
    if needs.native_field and found == {f"no_{needs.native}"}:
        return errors.NoTargetFits(
            f"{needs.native_field!r} is known only where it was made, and no target of model {model!r} keeps "
            f"{needs.native}; leave it out, or ask a model that does",
            param=needs.native_field,
        )
    if not plan.fits:
        return errors.NoTargetFits(f"no target of model {model!r} can take this request ({reasons})", param="model")
    if len(found) == 1 and reasons in MISCONFIGURED:
        kind = MISCONFIGURED[reasons]
        return ERRORS[kind](MESSAGES[kind])
    if found and found <= {"cooldown", "provider_quota"}:
        return errors.UpstreamThrottled(
            f"every target of model {model!r} is throttled by its provider", retry_after_s=retry_after_s
        )
    return errors.UpstreamUnreachable(
        f"no target of model {model!r} is available now ({reasons})", retry_after_s=retry_after_s
    )


def untranslatable(field: str, model: str) -> errors.GatewayError:
    return errors.InvalidRequest(
        f"{field!r} cannot be said to any target of model {model!r}; leave it out, or have the operator set "
        "'untranslatable: drop' for this model",
        param=field,
    )
