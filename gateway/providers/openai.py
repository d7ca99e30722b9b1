"""The OpenAI dialect of providers, and of every host that speaks it: domain values to an upstream call and back."""

from dataclasses import replace
from urllib.parse import quote

import msgspec

from gateway.domain.abilities import CHAT
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Capabilities, Deployment, Quirks
from gateway.domain.conversation import Conversation
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.reply import Reply
from gateway.domain.request import ModelRequest, Operation
from gateway.domain.stream import EventKind, StreamEvent
from gateway.domain.turn import TurnEvent
from gateway.formats import chat_turns, openai
from gateway.providers import openai_errors
from gateway.providers.chat_body import members_of
from gateway.providers.chat_turns import ChatReader
from gateway.providers.foreign import is_mixed, without_foreign, without_members
from gateway.providers.openai_errors import inner_failure
from gateway.providers.openai_usage import tier_of, usage_of
from gateway.providers.sse import Frame, Framer, FramingError
from gateway.providers.turns import Turns

CAPABILITIES = Capabilities()
ABILITIES = CHAT

_PATHS = {Operation.CHAT: "/chat/completions", Operation.EMBEDDINGS: "/embeddings"}
_DETAILS = b'"reasoning_details"'
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_OURS = frozenset({"model", "stream_options"})
_WITH_USAGE = b'{"include_usage":true}'
_JSON = (b"accept", b"application/json")
_EVENTS = (b"accept", b"text/event-stream")


def encode_request(request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str) -> UpstreamCall:
    """The body is written anew from the parsed members; only the model, and for streams the usage wish, are ours."""
    members = request.members
    dropped: tuple[str, ...] = ()
    quirks = deployment.provider.quirks
    if quirks.hints or quirks.refuses or quirks.renames or quirks.refuses_said:
        members, dropped = _as_the_host_likes(members, quirks)
    if members.get("messages", b"").find(_DETAILS) >= 0 and is_mixed(members["messages"]):
        members = {**members, "messages": without_foreign(members["messages"])[0]}
        dropped = (*dropped, "messages.reasoning_details")
    pieces = [b'{"model":', openai.encode(deployment.model)]
    if request.output_limit is not None:
        members = _limited(members, request.output_limit, quirks)
    for name, value in members.items():
        if name not in _OURS:
            pieces += (b",", openai.encode(name), b":", value)
    if request.stream and quirks.stream_usage:
        pieces += (b',"stream_options":', _stream_options(members.get("stream_options")))
    pieces.append(b"}")
    return UpstreamCall(
        credential=deployment.credential,
        path=_path(deployment, request.operation),
        body=b"".join(pieces),
        timeouts=deployment.timeouts,
        deadline_s=deadline_s,
        headers=(_EVENTS if request.stream else _JSON, (b"x-request-id", request_id.encode())),
        dropped=dropped,
    )


def encode_conversation(
    conversation: Conversation, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
) -> UpstreamCall:
    members = {name: openai.encode(value) for name, value in members_of(conversation).items()}
    if conversation.output_tokens is not None:
        members[deployment.provider.quirks.output_limit] = b"%d" % conversation.output_tokens
    written = replace(request, members=members)
    return encode_request(written, deployment, deadline_s, request_id)


def _path(deployment: Deployment, operation: Operation) -> str:
    provider = deployment.provider
    if not provider.quirks.api_version:
        return provider.base_path + _PATHS[operation]
    place = f"{provider.base_path}/openai/deployments/{quote(deployment.model, safe='')}"
    return f"{place}{_PATHS[operation]}?api-version={provider.quirks.api_version}"


def _as_the_host_likes(members: dict[str, bytes], quirks: Quirks) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The members by the names that the host knows, without those that it refuses; and which these were."""
    names, unknown = dict(quirks.renames), quirks.hints | quirks.refuses
    kept = {names.get(name, name): value for name, value in members.items() if name not in unknown}
    dropped = [name for name in members if name in unknown]
    if quirks.refuses_said and kept.get("messages", b"")[:1] == b"[":
        kept["messages"], unsaid = without_members(kept["messages"], quirks.refuses_said)
        dropped += [f"messages.{name}" for name in unsaid]
    return kept, tuple(dropped)


def _limited(members: dict[str, bytes], limit: int, quirks: Quirks) -> dict[str, bytes]:
    """The members with an output limit of ours, in the name that the caller used or that the host knows."""
    declared = [name for name in _OUTPUT_LIMITS if members.get(name, b"null") != b"null"]
    names = declared or [quirks.output_limit]
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
        return Reply(body, usage_of(chat.usage), reasons, len(chat.choices), tier_of(chat.service_tier))
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


decode_error = openai_errors.decode_error


def decode_answer(body: bytes) -> list[TurnEvent]:
    """The same for translation. Raises AttemptFailed."""
    try:
        turn = chat_turns.decode_turn(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    _raise_inner(turn.error)
    if turn.choices is None:
        raise _malformed("the provider's answer has no 'choices'")
    return ChatReader().whole(turn)


def decode_turns() -> Turns:
    return Turns(ChatReader())


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
    if chunk.error is not openai.UNSAID and (error := bytes(chunk.error)) != b"null":
        return StreamEvent(EventKind.ERROR, frame.raw, failure=inner_failure(error))
    usage = None if chunk.usage is openai.UNSAID else usage_of(chunk.usage)
    if not chunk.choices:
        kind = EventKind.USAGE if usage else EventKind.PROLOGUE
        return StreamEvent(kind, frame.raw, usage=usage, service_tier=tier_of(chunk.service_tier))
    produced, reason = 0, None
    for choice in chunk.choices:
        reason = choice.finish_reason or reason
        produced += _produced(choice)
    kind = EventKind.FINISH if reason else EventKind.CONTENT if produced else EventKind.PROLOGUE
    tier = None if usage is None else tier_of(chunk.service_tier)
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
        if raw is not openai.UNSAID and bytes(raw) not in (b"null", b'""', b"[]"):
            size += len(bytes(raw))
    return size


def without_usage(raw: bytes) -> bytes:
    """An event without the empty usage member that our own wish for usage adds to it.

    A quotation mark inside a JSON string is escaped, so the pattern cannot be part of one.
    """
    return raw.replace(b',"usage":null', b"").replace(b', "usage": null', b"") if raw.find(b'"usage":') >= 0 else raw
