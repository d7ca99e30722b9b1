"""The OpenAI dialect of providers, and of every host that speaks it: domain values to an upstream call and back."""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Capabilities, Deployment
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.hints import HINT_MAX_S, wait_hint_s
from gateway.domain.reply import Reply, Usage
from gateway.domain.request import ModelRequest, Operation
from gateway.domain.stream import EventKind, StreamEvent
from gateway.formats import openai
from gateway.providers.figures import part, sane
from gateway.providers.sse import Frame, Framer, FramingError

CAPABILITIES = Capabilities()

_USUAL_TIERS = frozenset({b"", b"null", b'"default"', b'"auto"', b'"standard"'})
_TIER_CHARS = 64

_PATHS = {Operation.CHAT: "/chat/completions", Operation.EMBEDDINGS: "/embeddings"}
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_NEW_LIMIT_HOSTS = frozenset({"api.openai.com"})
"""Reasoning models there take the newer name alone; elsewhere the older one is what every host knows."""
_OURS = frozenset({"model", "stream_options"})
_PER_DAY = b"PerDay"
"""In the id of the quota that Google names in a 429: the hint beside it speaks of another one."""
_WITH_USAGE = b'{"include_usage":true}'
_JSON = (b"accept", b"application/json")
_EVENTS = (b"accept", b"text/event-stream")

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
}

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


def encode_request(request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str) -> UpstreamCall:
    """The body is written anew from the parsed members; only the model, and for streams the usage wish, are ours."""
    members = request.members
    pieces = [b'{"model":', openai.encode(deployment.model)]
    if request.output_limit is not None:
        members = _limited(members, request.output_limit, deployment)
    for name, value in members.items():
        if name not in _OURS:
            pieces += (b",", openai.encode(name), b":", value)
    if request.stream:
        pieces += (b',"stream_options":', _stream_options(members.get("stream_options")))
    pieces.append(b"}")
    return UpstreamCall(
        credential=deployment.credential,
        path=deployment.provider.base_path + _PATHS[request.operation],
        body=b"".join(pieces),
        timeouts=deployment.timeouts,
        deadline_s=deadline_s,
        headers=(_EVENTS if request.stream else _JSON, (b"x-request-id", request_id.encode())),
    )


def _limited(members: dict[str, bytes], limit: int, deployment: Deployment) -> dict[str, bytes]:
    """The members with an output limit of ours, in the name that the caller used or that the host knows."""
    declared = [name for name in _OUTPUT_LIMITS if members.get(name, b"null") != b"null"]
    names = declared or [_OUTPUT_LIMITS[deployment.provider.origin.host in _NEW_LIMIT_HOSTS]]
    return {**members, **dict.fromkeys(names, b"%d" % limit)}


def _stream_options(given: bytes | None) -> bytes:
    if given is None or given == b"null":
        return _WITH_USAGE
    options = {name: value for name, value in openai.decode_members(given).items() if name != "include_usage"}
    return openai.encode({"include_usage": True, **options})


def decode_reply(request: ModelRequest, body: bytes) -> Reply:
    """A whole 200 answer. Raises AttemptFailed: MALFORMED_BODY, or the kind of an error inside it."""
    try:
        _check_text(body)
        if request.operation is Operation.EMBEDDINGS:
            vectors = openai.decode_embeddings_reply(body)
            _raise_inner(vectors.error)
            if vectors.data is None:
                raise _malformed("the provider's answer has no 'data'")
            return Reply(body, usage_of(vectors.usage), (), len(vectors.data))
        chat = openai.decode_chat_reply(body)
        _raise_inner(chat.error)
        if chat.choices is None:
            raise _malformed("the provider's answer has no 'choices'")
        reasons = tuple([choice.finish_reason for choice in chat.choices if choice.finish_reason is not None])
        return Reply(body, usage_of(chat.usage), reasons, len(chat.choices), _tier_of(chat.service_tier))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None


def _check_text(data: bytes) -> None:
    """Raises UnicodeDecodeError: the decoder does not look into members that it skips, the caller's will."""
    if not data.isascii():
        data.decode()


def _malformed(message: str) -> AttemptFailed:
    return AttemptFailed(Failure(FailureKind.MALFORMED_BODY, message, status=200, sent=Sent.YES))


def _raise_inner(error: msgspec.Raw) -> None:
    if (raw := bytes(error)) and raw != b"null":
        raise AttemptFailed(inner_failure(raw))


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
    code = None if shape.code is None else str(shape.code)
    return Failure(kind, shape.message or "no message", 200, code, Sent.YES, None, b'{"error":' + raw + b"}")


def usage_of(raw: msgspec.Raw | bytes) -> Usage | None:
    """Explicit zeros count; negative, absurd or wrongly typed figures do not."""
    text = bytes(raw)
    if not text or text == b"null":
        return None
    try:
        shape = openai.decode_usage(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    tokens_in, tokens_out = sane(shape.prompt_tokens), sane(shape.completion_tokens or 0)
    if tokens_in is None or tokens_out is None:
        return None
    of_input, of_output = shape.prompt_tokens_details, shape.completion_tokens_details
    cached = part(of_input.cached_tokens, tokens_in) if of_input is not None else 0
    reasoning = part(of_output.reasoning_tokens, tokens_out) if of_output is not None else 0
    rare = of_input is not None and (of_input.cache_write_tokens or of_input.audio_tokens or of_input.image_tokens)
    if not rare and (of_output is None or not of_output.audio_tokens):
        return Usage(tokens_in, tokens_out, cached, reasoning)
    of_input, of_output = of_input or openai.NO_INPUT_DETAILS, of_output or openai.NO_OUTPUT_DETAILS
    return Usage(
        tokens_in,
        tokens_out,
        cached,
        reasoning,
        cache_write_5m=part(of_input.cache_write_tokens, tokens_in),
        audio_input=part(of_input.audio_tokens, tokens_in),
        image_input=part(of_input.image_tokens, tokens_in),
        audio_output=part(of_output.audio_tokens, tokens_out),
    )


def _tier_of(raw: msgspec.Raw) -> str | None:
    """Any other than the usual tier has prices of its own."""
    tier = bytes(raw)
    usual = tier in _USUAL_TIERS or not tier.startswith(b'"')
    return None if usual else tier[1:-1].decode(errors="replace")[:_TIER_CHARS]


def decode_error(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float) -> Failure:
    """An answer that is not 2xx, classified by its error code first and its status second."""
    if 300 <= status < 400:
        return Failure(FailureKind.REDIRECT, f"the provider answered with a redirect ({status})", status, sent=Sent.YES)
    shape = _error_shape(body)
    kind = _by_code(shape) or _BY_STATUS.get(status)
    if kind is None:
        kind = FailureKind.INVALID_REQUEST if 400 <= status < 500 else FailureKind.SERVER_ERROR
    if kind is FailureKind.SERVER_ERROR and status == 503 and b"capacity" in body:
        kind = FailureKind.OVERLOADED
    elif kind is FailureKind.INVALID_REQUEST and status == 413:
        kind = FailureKind.TOO_LARGE
    hint_s = None
    if kind in (FailureKind.THROTTLED, FailureKind.OVERLOADED, FailureKind.SERVER_ERROR, FailureKind.QUOTA_GONE):
        hint_s = wait_hint_s(_texts(headers), body, wall_s)
        if kind is FailureKind.THROTTLED and ((hint_s or 0.0) > HINT_MAX_S or _PER_DAY in body):
            kind = FailureKind.QUOTA_GONE
    message = (shape.message if shape else None) or f"the provider answered {status}"
    code = None if shape is None or shape.code is None else str(shape.code)
    return Failure(kind, message, status, code, Sent.YES, hint_s, body if shape else None)


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _error_shape(body: bytes) -> openai.ErrorShape | None:
    try:
        error = openai.decode_error_body(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return openai.ErrorShape(message=error) if isinstance(error, str) else error


def _by_code(shape: openai.ErrorShape | None) -> FailureKind | None:
    if shape is None:
        return None
    found = _BY_CODE.get(shape.code) if isinstance(shape.code, str) else None
    return found or _BY_CODE.get(shape.type or "")


def decode_stream() -> "ChatStream":
    """A decoder for one streamed answer."""
    return ChatStream()


class ChatStream:
    """Turns the bytes of a chat stream into events; the same events for any chunking."""

    __slots__ = ("_framer",)

    def __init__(self) -> None:
        self._framer = Framer()

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """What is broken comes as the last event, an ERROR, so that nothing before it is lost."""
        events: list[StreamEvent] = []
        try:
            events.extend(map(_event, self._framer.feed(chunk)))
        except FramingError as error:
            events.append(_broken(b"", str(error)))
        return events

    def end(self) -> list[StreamEvent]:
        """What the clean end of the body completes."""
        frame = self._framer.rest()
        if frame is None or frame.data is None or frame.data.strip() != b"[DONE]":
            return []
        return [_event(frame)]


def _event(frame: Frame) -> StreamEvent:
    data = frame.data
    if data is None:
        return StreamEvent(EventKind.COMMENT, frame.raw)
    try:
        _check_text(data)
        chunk = openai.decode_chat_chunk(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if data.strip() == b"[DONE]":
            return StreamEvent(EventKind.DONE, frame.raw)
        return _broken(frame.raw, "an event of the provider's stream is not valid JSON")
    if (error := bytes(chunk.error)) and error != b"null":
        return StreamEvent(EventKind.ERROR, frame.raw, failure=inner_failure(error))
    usage = usage_of(chunk.usage)
    if not chunk.choices:
        kind = EventKind.USAGE if usage else EventKind.PROLOGUE
        return StreamEvent(kind, frame.raw, usage=usage, service_tier=_tier_of(chunk.service_tier))
    produced, reason = 0, None
    for choice in chunk.choices:
        reason = choice.finish_reason or reason
        produced += _produced(choice)
    kind = EventKind.FINISH if reason else EventKind.CONTENT if produced else EventKind.PROLOGUE
    tier = None if usage is None else _tier_of(chunk.service_tier)
    return StreamEvent(kind, frame.raw, produced, usage, None, reason, tier)


def _broken(raw: bytes, message: str) -> StreamEvent:
    failure = Failure(FailureKind.MALFORMED_STREAM, message, status=200, sent=Sent.YES)
    return StreamEvent(EventKind.ERROR, raw, failure=failure)


def _produced(choice: openai.ChunkChoice) -> int:
    delta = choice.delta
    if delta is None:
        return len(choice.text or "")
    size = len(delta.content or "") + len(delta.refusal or "")
    for raw in (delta.tool_calls, delta.function_call, delta.reasoning_content, delta.reasoning, delta.audio):
        if (value := bytes(raw)) and value not in (b"null", b'""', b"[]"):
            size += len(value)
    return size


def without_usage(raw: bytes) -> bytes:
    """An event without the empty usage member that our own wish for usage adds to it.

    A quotation mark inside a JSON string is escaped, so the pattern cannot be part of one.
    """
    return raw.replace(b',"usage":null', b"").replace(b', "usage": null', b"")
