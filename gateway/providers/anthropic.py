"""The Anthropic dialect of providers: domain values to an upstream call and back."""

from dataclasses import replace

import msgspec

from gateway.domain.abilities import ANTHROPIC
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Capabilities, Deployment
from gateway.domain.conversation import Conversation
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.reply import Reply
from gateway.domain.request import ModelRequest
from gateway.domain.stream import EventKind, StreamEvent
from gateway.domain.turn import TurnEvent
from gateway.formats import messages, openai
from gateway.providers import messages_errors
from gateway.providers.foreign import is_mixed, without_foreign
from gateway.providers.messages_body import members_of, refused
from gateway.providers.messages_turns import MessagesReader
from gateway.providers.messages_usage import Meter
from gateway.providers.sse import Frame, Framer, FramingError
from gateway.providers.turns import Turns

CAPABILITIES = Capabilities(native=frozenset())
ABILITIES = ANTHROPIC
VERSION = (b"anthropic-version", b"2023-06-01")
OUTPUT_TOKENS = 4_096
"""A limit is required there; this one holds where neither the caller nor the model has one."""

_PATH = "/messages"
_JSON = (b"accept", b"application/json")
_EVENTS = (b"accept", b"text/event-stream")

decode_error = messages_errors.decode_error


def encode_request(request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str) -> UpstreamCall:
    """The same dialect: the members as the caller wrote them, but for the model and a limit of ours.

    Where the last answer was another provider's, thinking cannot go on from it.
    """
    members = {**request.members, "model": openai.encode(deployment.model)}
    if request.output_limit is not None:
        members["max_tokens"] = b"%d" % request.output_limit
    dropped: tuple[str, ...] = ()
    if is_mixed(members["messages"]):
        members["messages"], lost_last = without_foreign(members["messages"])
        dropped = ("messages.thinking",)
        if lost_last and "thinking" in members:
            del members["thinking"]
            dropped = (*dropped, "thinking")
    pieces = [b"%b:%b" % (openai.encode(name), value) for name, value in members.items()]
    call = _call(request, deployment, deadline_s, request_id, b"{" + b",".join(pieces) + b"}")
    return replace(call, dropped=dropped) if dropped else call


def encode_conversation(
    conversation: Conversation, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
) -> UpstreamCall:
    limit = request.output_limit or conversation.output_tokens or deployment.capabilities.output_tokens
    members = members_of(conversation, limit or OUTPUT_TOKENS, deployment.model)
    body = openai.encode({"model": deployment.model, **members})
    call = _call(request, deployment, deadline_s, request_id, body)
    return replace(call, dropped=dropped) if (dropped := refused(conversation, deployment.model)) else call


def _call(
    request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str, body: bytes
) -> UpstreamCall:
    headers = (_EVENTS if request.stream else _JSON, (b"x-request-id", request_id.encode()), *request.headers)
    spoken = any(name == VERSION[0] for name, _ in request.headers)
    return UpstreamCall(
        credential=deployment.credential,
        path=deployment.provider.base_path + _PATH,
        body=body,
        timeouts=deployment.timeouts,
        deadline_s=deadline_s,
        headers=headers if spoken else (*headers, VERSION),
    )


def decode_reply(_: ModelRequest, body: bytes) -> Reply:
    """A whole 200 answer. Raises AttemptFailed: MALFORMED_BODY, or the kind of an error inside it."""
    try:
        if not body.isascii():
            body.decode()
        head = messages.decode_head(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    _raise_inner(head.error)
    if not bytes(head.content):
        raise _malformed("the provider's answer has no 'content'")
    meter = Meter()
    meter.add(head.usage)
    reasons = () if head.stop_reason is None else (head.stop_reason,)
    return Reply(body, meter.usage, reasons)


def decode_answer(body: bytes) -> list[TurnEvent]:
    """The same for translation. Raises AttemptFailed."""
    try:
        reply = messages.decode_reply(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    _raise_inner(reply.error)
    if reply.content is None:
        raise _malformed("the provider's answer has no 'content'")
    return MessagesReader().whole(reply)


def _malformed(message: str) -> AttemptFailed:
    return AttemptFailed(Failure(FailureKind.MALFORMED_BODY, message, status=200, sent=Sent.YES))


def _raise_inner(error: msgspec.Raw) -> None:
    if (raw := bytes(error)) and raw != b"null":
        raise AttemptFailed(messages_errors.inner_failure(raw))


def decode_turns() -> Turns:
    return Turns(MessagesReader())


def decode_stream() -> "MessagesStream":
    """A decoder for one streamed answer to a caller of the same dialect."""
    return MessagesStream()


class MessagesStream:
    """Turns the bytes of a stream into events; the same events for any chunking."""

    __slots__ = ("_framer", "_meter")

    def __init__(self) -> None:
        self._framer = Framer()
        self._meter = Meter()

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """What is broken comes as the last event, an ERROR, so that nothing before it is lost."""
        events: list[StreamEvent] = []
        try:
            events.extend(map(self._event, self._framer.feed(chunk)))
        except FramingError as error:
            events.append(_broken(b"", str(error)))
        return events

    def end(self) -> list[StreamEvent]:
        """What the clean end of the body completes."""
        frame = self._framer.rest()
        return [] if frame is None or frame.data is None else [self._event(frame)]

    def _event(self, frame: Frame) -> StreamEvent:
        data = frame.data
        if data is None:
            return StreamEvent(EventKind.COMMENT, frame.raw)
        try:
            if not data.isascii():
                data.decode()
            event = messages.decode_event(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _broken(frame.raw, "an event of the provider's stream is not valid JSON")
        return self._told(frame.raw, event)

    def _told(self, raw: bytes, event: messages.Event) -> StreamEvent:
        kind, delta = event.type, event.delta
        if kind == "content_block_delta" and delta is not None:
            produced = len(delta.text or "") + len(delta.partial_json or "") + len(delta.thinking or "")
            return StreamEvent(EventKind.CONTENT if produced else EventKind.PROLOGUE, raw, produced)
        if kind == "content_block_start" and event.content_block is not None:
            produced = len(event.content_block.name or "") + len(event.content_block.text or "")
            return StreamEvent(EventKind.CONTENT if produced else EventKind.PROLOGUE, raw, produced)
        if kind == "message_start":
            if event.message is not None:
                self._meter.add(event.message.usage)
            return StreamEvent(EventKind.PROLOGUE, raw)
        if kind == "message_delta":
            self._meter.add(event.usage)
            reason = delta.stop_reason if delta is not None else None
            finish = EventKind.FINISH if reason else EventKind.PROLOGUE
            return StreamEvent(finish, raw, 0, self._meter.usage, None, reason)
        if kind == "error":
            return StreamEvent(EventKind.ERROR, raw, failure=messages_errors.inner_failure(bytes(event.error)))
        if kind == "message_stop":
            return StreamEvent(EventKind.DONE, raw)
        return StreamEvent(EventKind.COMMENT if kind == "ping" else EventKind.PROLOGUE, raw)


def _broken(raw: bytes, message: str) -> StreamEvent:
    failure = Failure(FailureKind.MALFORMED_STREAM, message, status=200, sent=Sent.YES)
    return StreamEvent(EventKind.ERROR, raw, failure=failure)


def without_usage(raw: bytes) -> bytes:
    """Usage is part of every answer there."""
    return raw
