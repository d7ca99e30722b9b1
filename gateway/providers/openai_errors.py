"""What errors of OpenAI's dialect mean, by table."""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.domain.failure import Failure, FailureKind, Sent
from gateway.domain.hints import HINT_MAX_S, wait_hint_s
from gateway.formats import openai

_PER_DAY = b"PerDay"
"""In the id of the quota that Google names in a 429: the hint beside it speaks of another one."""
_BY_CODE = {
    "rate_limit_exceeded": FailureKind.THROTTLED,
    "slow_down": FailureKind.THROTTLED,
    "insufficient_quota": FailureKind.QUOTA_GONE,
    "credit_balance_exhausted": FailureKind.QUOTA_GONE,
    "organization_spend_limit_exceeded": FailureKind.QUOTA_GONE,
    "project_spend_limit_exceeded": FailureKind.QUOTA_GONE,
    "organization_usage_limit_exceeded": FailureKind.QUOTA_GONE,
    "enforced_spend_limit_reached": FailureKind.QUOTA_GONE,
    "billing_hard_limit_reached": FailureKind.QUOTA_GONE,
    "server_is_overloaded": FailureKind.OVERLOADED,
    "overloaded_error": FailureKind.OVERLOADED,
    "engine_overloaded": FailureKind.OVERLOADED,
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
    "string_above_max_length": FailureKind.CONTEXT_LENGTH,
    "exceed_context_size_error": FailureKind.CONTEXT_LENGTH,
    "content_filter": FailureKind.CONTENT_FILTER,
    "content_policy_violation": FailureKind.CONTENT_FILTER,
    "invalid_api_key": FailureKind.AUTH,
    "model_not_found": FailureKind.MODEL_NOT_FOUND,
    "DeploymentNotFound": FailureKind.MODEL_NOT_FOUND,
    "server_error": FailureKind.SERVER_ERROR,
    "api_error": FailureKind.SERVER_ERROR,
    "internal_error": FailureKind.SERVER_ERROR,
    "invalid_request_error": FailureKind.INVALID_REQUEST,
    "authentication_error": FailureKind.AUTH,
    "permission_error": FailureKind.AUTH,
    "rate_limit_error": FailureKind.THROTTLED,
    "service_unavailable_error": FailureKind.OVERLOADED,
    "vector_store_timeout": FailureKind.SERVER_ERROR,
    **dict.fromkeys(
        ("bio_policy", "misalignment_policy_violation", "image_content_policy_violation"), FailureKind.CONTENT_FILTER
    ),
    **dict.fromkeys(
        (
            "invalid_prompt",
            "data_residency_mismatch",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "invalid_image_mode",
            "image_file_too_large",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
        ),
        FailureKind.INVALID_REQUEST,
    ),
}
"""A response that failed says so inside a 200, by these codes alone: whose fault it is stands in no status."""

_BY_STATUS = {
    400: FailureKind.INVALID_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.QUOTA_GONE,
    403: FailureKind.AUTH,
    404: FailureKind.MODEL_NOT_FOUND,
    408: FailureKind.REQUEST_TIMEOUT,
    409: FailureKind.CONFLICT,
    413: FailureKind.TOO_LARGE,
    422: FailureKind.INVALID_REQUEST,
    429: FailureKind.THROTTLED,
    529: FailureKind.OVERLOADED,
}
_PLAIN = frozenset({401, 402, 403, 429})
"""These say more than `invalid_request_error`, which some hosts give to every error; so does a 404 than `api_error`."""

_BY_WORDS = (
    ("maximum context length", FailureKind.CONTEXT_LENGTH),
    ("model's context length is only", FailureKind.CONTEXT_LENGTH),
    ("longer than the model's context length", FailureKind.CONTEXT_LENGTH),
    ("maximum prompt length", FailureKind.CONTEXT_LENGTH),
    ("input_too_large", FailureKind.CONTEXT_LENGTH),
    ("exceeds the available context size", FailureKind.CONTEXT_LENGTH),
    ("Incorrect API key", FailureKind.AUTH),
    ("No models loaded", FailureKind.MODEL_NOT_FOUND),
)
"""Hosts without a code for it say in words alone what a 400 is."""


def decode_error(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float) -> Failure:
    """An answer that is not 2xx, classified by its error code first and its status second."""
    if 300 <= status < 400:
        return Failure(FailureKind.REDIRECT, f"the provider answered with a redirect ({status})", status, sent=Sent.YES)
    shape = _error_shape(body)
    kind = _kind(shape, status, body)
    hint_s = None
    if kind in (FailureKind.THROTTLED, FailureKind.OVERLOADED, FailureKind.SERVER_ERROR, FailureKind.QUOTA_GONE):
        hint_s = wait_hint_s(_texts(headers), body, wall_s)
        if kind is FailureKind.THROTTLED and ((hint_s or 0.0) > HINT_MAX_S or _PER_DAY in body):
            kind = FailureKind.QUOTA_GONE
    message = (shape.message if shape else None) or f"the provider answered {status}"
    return Failure(kind, message, status, _code(shape), Sent.YES, hint_s, body if shape else None)


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _error_shape(body: bytes) -> openai.ErrorShape | None:
    try:
        told = openai.decode_error_body(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(told.error, openai.ErrorShape):
        return told.error
    message = told.error or _text(bytes(told.message))
    return openai.ErrorShape(message=message, type=told.type, code=told.code) if message else None


def _text(raw: bytes) -> str | None:
    """Mistral's message may be a list of what is wrong."""
    if not raw or raw == b"null":
        return None
    return openai.decode_text(raw) if raw[:1] == b'"' else raw.decode(errors="replace")


def _kind(shape: openai.ErrorShape | None, status: int, body: bytes) -> FailureKind:
    kind, by_status = _by_code(shape), _BY_STATUS.get(status)
    vague = kind is FailureKind.INVALID_REQUEST and status in _PLAIN
    if kind is None or vague or (kind is FailureKind.SERVER_ERROR and status < 500):
        kind = by_status
    if kind is None:
        kind = FailureKind.INVALID_REQUEST if 400 <= status < 500 else FailureKind.SERVER_ERROR
    kind = _in_words(kind, shape)
    if kind is FailureKind.SERVER_ERROR and status == 503 and b"capacity" in body:
        return FailureKind.OVERLOADED
    return FailureKind.TOO_LARGE if kind is FailureKind.INVALID_REQUEST and status == 413 else kind


def _by_code(shape: openai.ErrorShape | None) -> FailureKind | None:
    if shape is None:
        return None
    found = _BY_CODE.get(shape.code) if isinstance(shape.code, str) else None
    return found or _BY_CODE.get(shape.type or "")


def _in_words(kind: FailureKind, shape: openai.ErrorShape | None) -> FailureKind:
    if kind is not FailureKind.INVALID_REQUEST or shape is None or not shape.message:
        return kind
    return next((found for said, found in _BY_WORDS if said in shape.message), kind)


def _code(shape: openai.ErrorShape | None) -> str | None:
    """A status repeated or a sentence is no code."""
    code = None if shape is None or isinstance(shape.code, int) else shape.code
    return None if code is None or code.isdecimal() or " " in code else code


def inner_failure(raw: bytes) -> Failure:
    """An error inside a 200 counts as if it had been the status."""
    try:
        shape = openai.decode_error(raw)
    except msgspec.MsgspecError:
        shape = "an error of unknown shape"
    if isinstance(shape, str):
        return Failure(FailureKind.SERVER_ERROR, shape, status=200, sent=Sent.YES)
    kind = _by_code(shape)
    if kind is None:
        status = int(shape.code) if isinstance(shape.code, int) or str(shape.code).isdecimal() else 500
        kind = _BY_STATUS.get(status, FailureKind.SERVER_ERROR)
    reply = b'{"error":' + raw + b"}"
    return Failure(_in_words(kind, shape), shape.message or "no message", 200, _code(shape), Sent.YES, None, reply)
