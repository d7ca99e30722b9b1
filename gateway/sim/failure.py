"""How each dialect words an error, and each form of wait hint."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from gateway.sim.ask import ANTHROPIC, Dialect
from gateway.sim.corpus import CORPUS
from gateway.sim.event import encode
from gateway.sim.fault import ErrorIn200, Hint, Status

_OPENAI_CODES: Final[dict[str, tuple[int, str, str]]] = {
    "rate_limit_exceeded": (429, "requests", "Rate limit reached for requests. Please try again later."),
    "slow_down": (429, "rate_limit_error", "You are ramping up too fast. Please slow down."),
    "insufficient_quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "credit_balance_exhausted": (429, "insufficient_quota", "Your credit balance is exhausted."),
    "organization_spend_limit_exceeded": (429, "insufficient_quota", "Your organization reached its spend limit."),
    "project_spend_limit_exceeded": (429, "insufficient_quota", "Your project reached its spend limit."),
    "organization_usage_limit_exceeded": (429, "insufficient_quota", "Your organization reached its usage limit."),
    "context_length_exceeded": (400, "invalid_request_error", "This model's maximum context length is 128000 tokens."),
    "content_filter": (400, "invalid_request_error", "The response was filtered due to the prompt."),
    "invalid_value": (400, "invalid_request_error", "Invalid value."),
    "unsupported_parameter": (400, "invalid_request_error", "Unsupported parameter."),
    "previous_response_not_found": (400, "invalid_request_error", "Previous response not found."),
    "invalid_api_key": (401, "invalid_request_error", "Incorrect API key provided."),
    "billing_hard_limit_reached": (402, "insufficient_quota", "Billing hard limit has been reached."),
    "unsupported_country_region_territory": (403, "request_forbidden", "Country, region, or territory not supported."),
    "model_not_found": (404, "invalid_request_error", "The model does not exist or you do not have access to it."),
    "method_not_allowed": (405, "invalid_request_error", "Not allowed to use this method on this path."),
    "timeout": (408, "timeout", "Request timeout."),
    "conflict": (409, "conflict_error", "The request conflicts with another one."),
    "request_too_large": (413, "invalid_request_error", "Request too large."),
    "unprocessable_entity": (422, "invalid_request_error", "The request could not be processed."),
    "server_error": (500, "server_error", "The server had an error while processing your request."),
    "bad_gateway": (502, "server_error", "Bad gateway."),
    "server_is_overloaded": (503, "service_unavailable_error", "The engine is currently overloaded."),
    "gateway_timeout": (504, "server_error", "Gateway timeout."),
    "overloaded_error": (529, "overloaded_error", "Overloaded."),
}
_ANTHROPIC_TYPES: Final[dict[str, tuple[int, str]]] = {
    "invalid_request_error": (400, "The request is invalid."),
    "authentication_error": (401, "invalid x-api-key"),
    "billing_error": (402, "Your credit balance is too low to access the Anthropic API."),
    "permission_error": (403, "Your API key does not have permission to use the specified resource."),
    "not_found_error": (404, "The requested resource could not be found."),
    "conflict_error": (409, "The request conflicts with another one."),
    "request_too_large": (413, "Request exceeds the maximum allowed number of bytes."),
    "rate_limit_error": (429, "This request would exceed your account's rate limit."),
    "api_error": (500, "Internal server error"),
    "timeout_error": (504, "The request timed out."),
    "overloaded_error": (529, "Overloaded"),
}
_OPENAI_BY_STATUS: Final = {status: code for code, (status, _, _) in reversed(_OPENAI_CODES.items())} | {400: None}
_ANTHROPIC_BY_STATUS: Final = {status: kind for kind, (status, _) in _ANTHROPIC_TYPES.items()}
_QUOTA_CODES: Final = frozenset(code for code, (_, kind, _) in _OPENAI_CODES.items() if kind == "insufficient_quota")
_ANTHROPIC_FROM_CODE: Final = {
    "rate_limit_exceeded": "rate_limit_error",
    "slow_down": "rate_limit_error",
    "invalid_api_key": "authentication_error",
    "model_not_found": "not_found_error",
    "server_error": "api_error",
    "context_length_exceeded": "invalid_request_error",
    "content_filter": "invalid_request_error",
    "server_is_overloaded": "overloaded_error",
}


_ANTHROPIC_MESSAGES: Final = {
    "context_length_exceeded": "prompt is too long: 210000 tokens > 200000 maximum",
    "content_filter": "Output blocked by content filtering policy",
}
_GOOGLE_WORDS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_GOOGLE_MESSAGES: Final = {
    "context_length_exceeded": "The input token count exceeds the maximum number of tokens allowed (1048576).",
    "insufficient_quota": "Your prepayment credits are depleted.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer of a provider."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(default=())


def failure(dialect: Dialect, fault: Status, request_id: str, now_s: float) -> Failure:
    """`now_s` is wall time, for hints that name a moment."""
    if fault.like is not None:
        told = CORPUS[fault.like]
        said = told.body.encode() if isinstance(told.body, str) else encode(told.body)
        return Failure(told.status, said, (*told.headers, *fault.headers.items()))
    status, error = _error(dialect, fault, request_id)
    message = _hinted_message(error["error"], fault.hints)
    if message is not None:
        error["error"]["message"] = message
    for hint in fault.hints:
        if hint.form == "google":
            error = _google(status, error["error"]["message"], hint)
    body = encode(error) if fault.body is None else fault.body.encode()
    headers = [pair for hint in fault.hints for pair in hint_headers(hint, now_s)]
    headers += fault.headers.items()
    return Failure(status, body, tuple(headers))


def error_in_200(dialect: Dialect, fault: ErrorIn200, request_id: str) -> bytes:
    return encode(_error(dialect, Status(fault.status, fault.code, fault.type, fault.message), request_id)[1])


def hint_headers(hint: Hint, now_s: float) -> list[tuple[str, str]]:
    """The headers of one hint; none for the forms that live in the body."""
    match hint.form:
        case "retry-after-ms":
            return [("retry-after-ms", _number(hint.seconds * 1000))]
        case "retry-after":
            return [("retry-after", _number(hint.seconds))]
        case "retry-after-date":
            theirs = now_s + hint.server_skew_s
            date = [("date", formatdate(theirs, usegmt=True))] if hint.server_skew_s else []
            return [*date, ("retry-after", formatdate(theirs + hint.seconds, usegmt=True))]
        case "anthropic-reset":
            prefix = f"anthropic-ratelimit-{hint.dimension}"
            moment = rfc3339(now_s + hint.seconds)
            return [
                (f"{prefix}-limit", "1000"),
                (f"{prefix}-remaining", str(hint.remaining)),
                (f"{prefix}-reset", moment),
            ]
        case "openai-reset":
            names = (f"x-ratelimit-{part}-{hint.dimension}" for part in ("limit", "remaining", "reset"))
            return list(zip(names, ("1000", str(hint.remaining), go_duration(hint.seconds)), strict=True))
        case "google" | "azure":
            return []


def rfc3339(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def go_duration(seconds: float) -> str:
    """`20ms`, `1s`, `6m0s`, `1h2m3.5s`."""
    if seconds < 1:
        return f"{_number(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    last = f"{_number(round(rest, 3))}s"
    if hours:
        return f"{hours}h{minutes}m{last}"
    return f"{minutes}m{last}" if minutes else last


def _error(dialect: Dialect, fault: Status, request_id: str) -> tuple[int, dict[str, Any]]:
    if dialect is Dialect.GEMINI:
        return _gemini(fault)
    return _anthropic(fault, request_id) if dialect in ANTHROPIC else _openai(fault)


def _gemini(fault: Status) -> tuple[int, dict[str, Any]]:
    """A script may name a word of Google's, or a code of OpenAI's that means the same."""
    status, openai = _openai(fault)
    word = fault.type or _GOOGLE_WORDS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    message = fault.message or _GOOGLE_MESSAGES.get(fault.code or "") or openai["error"]["message"]
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    return status, {"error": error | (fault.details or {})}


def _openai(fault: Status) -> tuple[int, dict[str, Any]]:
    code = fault.code or _OPENAI_BY_STATUS.get(fault.status or 500)
    known = _OPENAI_CODES.get(code) if code else None
    status = fault.status or (known[0] if known else 500)
    kind = known[1] if known else ("server_error" if status >= 500 else "invalid_request_error")
    message = known[2] if known else _phrase(status)
    error = {"message": fault.message or message, "type": fault.type or kind, "param": None, "code": code}
    if fault.details is not None:
        error |= fault.details
    return status, {"error": error}


def _anthropic(fault: Status, request_id: str) -> tuple[int, dict[str, Any]]:
    details = fault.details
    named = fault.type or fault.code or _ANTHROPIC_BY_STATUS.get(fault.status or 500, "api_error")
    kind = _ANTHROPIC_FROM_CODE.get(named, named)
    if kind in _QUOTA_CODES or kind == "enforced_spend_limit_reached":
        details = {"error_code": "enforced_spend_limit_reached", **(details or {})}
        kind = "rate_limit_error"
    status, message = _ANTHROPIC_TYPES.get(kind, (500, _phrase(fault.status or 500)))
    said = fault.message or _ANTHROPIC_MESSAGES.get(fault.code or "") or message
    error: dict[str, Any] = {"type": kind, "message": said}
    if details is not None:
        error["details"] = details
    return fault.status or status, {"type": "error", "error": error, "request_id": request_id}


def _google(status: int, message: str, hint: Hint) -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{_number(hint.seconds)}s"}
    return {"error": {"code": status, "message": message, "status": "RESOURCE_EXHAUSTED", "details": [info]}}


def _hinted_message(error: dict[str, Any], hints: tuple[Hint, ...]) -> str | None:
    for hint in hints:
        if hint.form == "azure":
            error["code"] = "429"
            return (
                "Requests to the ChatCompletions_Create Operation have exceeded the call rate limit of your current "
                f"pricing tier. Please retry after {_number(hint.seconds)} seconds."
            )
    return None


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown error"
