"""What Gemini's errors mean, by table."""

from collections.abc import Sequence

import msgspec

from gateway.domain.failure import Failure, FailureKind, Sent
from gateway.domain.hints import HINT_MAX_S, wait_hint_s
from gateway.formats import gemini as shapes

_K = FailureKind
_BY_STATUS_WORD = {
    "INVALID_ARGUMENT": _K.INVALID_REQUEST,
    "FAILED_PRECONDITION": _K.INVALID_REQUEST,
    "OUT_OF_RANGE": _K.INVALID_REQUEST,
    "UNAUTHENTICATED": _K.AUTH,
    "PERMISSION_DENIED": _K.AUTH,
    "NOT_FOUND": _K.MODEL_NOT_FOUND,
    "ABORTED": _K.CONFLICT,
    "ALREADY_EXISTS": _K.CONFLICT,
    "RESOURCE_EXHAUSTED": _K.THROTTLED,
    "CANCELLED": _K.SERVER_ERROR,
    "UNKNOWN": _K.SERVER_ERROR,
    "INTERNAL": _K.SERVER_ERROR,
    "DATA_LOSS": _K.SERVER_ERROR,
    "UNIMPLEMENTED": _K.INVALID_REQUEST,
    "UNAVAILABLE": _K.OVERLOADED,
    "DEADLINE_EXCEEDED": _K.SERVER_ERROR,
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
    429: _K.THROTTLED,
    503: _K.OVERLOADED,
    529: _K.OVERLOADED,
}
_BY_WORDS = (
    ("API key not valid", _K.AUTH),
    ("API key expired", _K.AUTH),
    ("exceeds the maximum number of tokens", _K.CONTEXT_LENGTH),
    ("input token count", _K.CONTEXT_LENGTH),
)
"""A 400 that is more than that says so in its words alone."""

_GONE = (b"PerDay", b"prepayment credits are depleted", b"spending cap")
"""In a 429: the quota that is used up does not come back soon, whatever hint stands beside it."""

_HINTED = (_K.THROTTLED, _K.OVERLOADED, _K.SERVER_ERROR, _K.QUOTA_GONE)


def decode_error(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float) -> Failure:
    """An answer that is not 2xx, classified by its status word first and its status second."""
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
    return Failure(kind, message, status, shape.status if shape else None, Sent.YES, hint_s, body if shape else None)


def inner_failure(raw: bytes) -> Failure:
    """An error inside a 200 counts as if it had been the status."""
    try:
        shape = shapes.decode_error(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        shape = shapes.ErrorShape(500, "an error of unknown shape")
    kind = _kind(shape, shape.code or 500, raw)
    return Failure(kind, shape.message or "no message", 200, shape.status, Sent.YES, None, b'{"error":' + raw + b"}")


def _kind(shape: shapes.ErrorShape | None, status: int, body: bytes) -> FailureKind:
    kind = _BY_STATUS_WORD.get(shape.status or "") if shape is not None else None
    if kind is None:
        kind = _BY_STATUS.get(status)
    if kind is None:
        kind = _K.INVALID_REQUEST if 400 <= status < 500 else _K.SERVER_ERROR
    if kind is _K.INVALID_REQUEST and shape is not None and shape.message:
        words = shape.message
        kind = next((found for said, found in _BY_WORDS if said in words), kind)
        kind = _K.TOO_LARGE if kind is _K.INVALID_REQUEST and status == 413 else kind
    if kind is _K.THROTTLED and any(word in body for word in _GONE):
        return _K.QUOTA_GONE
    return kind


def _shape(body: bytes) -> shapes.ErrorShape | None:
    """Streams answer with a list of one."""
    try:
        found = shapes.decode_error_body(body)
        if isinstance(found, list):
            found = found[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return None
    error: shapes.ErrorShape = found.error
    return error
