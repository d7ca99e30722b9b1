"""Errors in the caller's dialect: as a whole answer, and as the last event of a stream."""

import re

from gateway.domain.errors import BudgetExceeded, GatewayError, UpstreamRefused
from gateway.formats import openai

MESSAGE_MAX = 2_000
_KEYS = re.compile(r"\b(sk|gw|key|pk|rk|gsk|xai)[-_][A-Za-z0-9_\-*]{8,}")


def status_of(error: GatewayError) -> int:
    return error.reply_status if isinstance(error, UpstreamRefused) else error.status


def code_of(error: GatewayError) -> str:
    return error.reply_code or error.code if isinstance(error, UpstreamRefused) else error.code


def body_of(error: GatewayError) -> bytes:
    """`{"error": {...}}` as OpenAI writes it, plus `fault` and `retryable`, and of a budget `scope` and `resets_at`."""
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
    return openai.encode({"error": shown})


def event_of(error: GatewayError) -> bytes:
    """The in-band event that ends a broken stream: the SDKs raise on it, while a silent end would look complete."""
    return b"event: error\ndata: " + body_of(error) + b"\n\n"


def _safe(text: str) -> str:
    """Bounded, and without anything that looks like a key."""
    return _KEYS.sub("***", text[:MESSAGE_MAX])
