"""What Anthropic's errors mean, by table."""

from collections.abc import Sequence

import msgspec

from gateway.domain.failure import Failure, FailureKind, Sent
from gateway.domain.hints import HINT_MAX_S, wait_hint_s
from gateway.formats import messages as shapes

_K = FailureKind
_BY_TYPE = {
    "invalid_request_error": _K.INVALID_REQUEST,
    "authentication_error": _K.AUTH,
    "billing_error": _K.QUOTA_GONE,
    "permission_error": _K.AUTH,
    "not_found_error": _K.MODEL_NOT_FOUND,
    "conflict_error": _K.CONFLICT,
    "request_too_large": _K.TOO_LARGE,
    "rate_limit_error": _K.THROTTLED,
    "api_error": _K.SERVER_ERROR,
    "timeout_error": _K.SERVER_ERROR,
    "overloaded_error": _K.OVERLOADED,
}
_BY_STATUS = {
    400: _K.INVALID_REQUEST,
    401: _K.AUTH,
    402: _K.QUOTA_GONE,
    403: _K.AUTH,
    404: _K.MODEL_NOT_FOUND,
    408: _K.REQUEST_TIMEOUT,
    409: _K.CONFLICT,
    413: _K.TOO_LARGE,
    422: _K.INVALID_REQUEST,
    429: _K.THROTTLED,
    529: _K.OVERLOADED,
}
_BY_WORDS = (
    ("prompt is too long", _K.CONTEXT_LENGTH),
    ("exceed context limit", _K.CONTEXT_LENGTH),
    ("input length and `max_tokens` exceed", _K.CONTEXT_LENGTH),
    ("usage limits", _K.QUOTA_GONE),
    ("credit balance is too low", _K.QUOTA_GONE),
    ("content filtering policy", _K.CONTENT_FILTER),
)
"""A 400 that is more than that says so in its words alone."""

_SPENT = b"enforced_spend_limit_reached"
_HINTED = (_K.THROTTLED, _K.OVERLOADED, _K.SERVER_ERROR, _K.QUOTA_GONE)


def decode_error(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float) -> Failure:
    """An answer that is not 2xx, classified by its type first and its status second."""
    if 300 <= status < 400:
        return Failure(_K.REDIRECT, f"the provider answered with a redirect ({status})", status, sent=Sent.YES)
    shape = _shape(body)
    kind = _kind(shape, status, body)
    hint_s = None
    if kind in _HINTED:
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        hint_s = wait_hint_s(texts, body, wall_s)
        if kind is _K.THROTTLED and (hint_s or 0.0) > HINT_MAX_S:
            kind = _K.QUOTA_GONE
    message = (shape.message if shape else None) or f"the provider answered {status}"
    return Failure(kind, message, status, None, Sent.YES, hint_s, body if shape else None)


def inner_failure(raw: bytes) -> Failure:
    """An error inside a 200 counts as if it had been the status."""
    try:
        shape = shapes.decode_error(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        shape = shapes.ErrorShape("api_error", "an error of unknown shape")
    kind = _kind(shape, 500, raw)
    reply = b'{"type":"error","error":' + raw + b"}" if raw else None
    return Failure(kind, shape.message or "no message", 200, None, Sent.YES, None, reply)


def _kind(shape: shapes.ErrorShape | None, status: int, body: bytes) -> FailureKind:
    kind = _BY_TYPE.get(shape.type or "") if shape is not None else None
    if kind is None:
        kind = _BY_STATUS.get(status)
    if kind is None:
        kind = _K.INVALID_REQUEST if 400 <= status < 500 else _K.SERVER_ERROR
    if kind is _K.INVALID_REQUEST and shape is not None and shape.message:
        words = shape.message
        kind = next((found for said, found in _BY_WORDS if said in words), kind)
        kind = _K.TOO_LARGE if kind is _K.INVALID_REQUEST and status == 413 else kind
    return _K.QUOTA_GONE if kind is _K.THROTTLED and _SPENT in body else kind


def _shape(body: bytes) -> shapes.ErrorShape | None:
    try:
        return shapes.decode_error_body(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
