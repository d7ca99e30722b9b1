"""Errors in the caller's dialect: as a whole answer, and as the last event of a stream."""

import re

from gateway.domain.errors import BudgetExceeded, GatewayError, UpstreamRefused
from gateway.domain.request import Dialect
from gateway.formats import openai

MESSAGE_MAX = 2_000
_KEYS = re.compile(r"\b(sk|gw|key|pk|rk|gsk|xai)[-_][A-Za-z0-9_\-*]{8,}")
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def status_of(error: GatewayError) -> int:
    return error.reply_status if isinstance(error, UpstreamRefused) else error.status


def code_of(error: GatewayError) -> str:
    return error.reply_code or error.code if isinstance(error, UpstreamRefused) else error.code


def body_of(error: GatewayError, dialect: Dialect = Dialect.OPENAI, request_id: str = "") -> bytes:
    """As the dialect writes it, plus `fault` and `retryable`, and of a budget `scope` and `resets_at`."""
    shown = _shown(error)
    if dialect is not Dialect.ANTHROPIC:
        return openai.encode({"error": shown})
    shown["type"] = _anthropic_type(error, str(shown["type"]))
    return openai.encode({"type": "error", "error": shown, "request_id": request_id or None})


def event_of(error: GatewayError, dialect: Dialect = Dialect.OPENAI, request_id: str = "") -> bytes:
    """The in-band event that ends a broken stream: the SDKs raise on it, while a silent end would look complete."""
    if dialect is not Dialect.RESPONSES:
        return b"event: error\ndata: " + body_of(error, dialect, request_id) + b"\n\n"
    shown = _shown(error)
    told = {"type": "error", "code": shown["code"], "message": shown["message"], "param": shown["param"]}
    return b"event: error\ndata: " + openai.encode({**told, "error": shown}) + b"\n\n"


def _shown(error: GatewayError) -> dict[str, object]:
    message, kind, param, code = error.message, error.type, error.param, code_of(error)
    if isinstance(error, UpstreamRefused) and error.reply is not None:
        shape = openai.decode_error_body(error.reply).error
        if isinstance(shape, openai.ErrorShape):
            message, kind = shape.message or message, shape.type or kind
            param = None if shape.param is None else str(shape.param)
    shown: dict[str, object] = {
        "message": _safe(message),
        "type": kind,
        "param": param,
        "code": code,
        "fault": error.fault.value,
        "retryable": error.retryable,
    }
    if isinstance(error, BudgetExceeded):
        shown |= {"scope": error.scope, "resets_at": error.resets_at}
    return shown


def _anthropic_type(error: GatewayError, kind: str) -> str:
    """Its own word where the provider said one."""
    if isinstance(error, UpstreamRefused) and error.reply is not None:
        return kind
    return _ANTHROPIC_TYPES.get(status_of(error), "api_error")


def _safe(text: str) -> str:
    """Bounded, and without anything that looks like a key."""
    return _KEYS.sub("***", text[:MESSAGE_MAX])
