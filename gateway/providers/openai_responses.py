"""OpenAI's responses API of providers: domain values to an upstream call and back."""

from dataclasses import replace

import msgspec

from gateway.domain.abilities import RESPONSES
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Deployment
from gateway.domain.conversation import Conversation
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.reply import Reply
from gateway.domain.request import ModelRequest
from gateway.domain.stream import EventKind, StreamEvent
from gateway.domain.turn import Failed, TurnEvent
from gateway.formats import openai, responses
from gateway.providers import openai_errors
from gateway.providers.foreign import is_mixed, without_foreign
from gateway.providers.openai_errors import inner_failure
from gateway.providers.openai_usage import tier_of
from gateway.providers.responses_body import members_of
from gateway.providers.responses_turns import ResponsesReader, usage_of
from gateway.providers.sse import Frame, Framer, FramingError
from gateway.providers.turns import Turns

ABILITIES = RESPONSES

_PATH = "/responses"
_JSON = (b"accept", b"application/json")
_EVENTS = (b"accept", b"text/event-stream")
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ITEM = "response.output_item.added"

decode_error = openai_errors.decode_error


def encode_request(request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str) -> UpstreamCall:
    """The same dialect: the members as the caller wrote them, but for the model and a limit of ours."""
    members = {**request.members, "model": openai.encode(deployment.model)}
    if request.output_limit is not None:
        members["max_output_tokens"] = b"%d" % request.output_limit
    mixed = is_mixed(members.get("input", b""))
    if mixed:
        members["input"] = without_foreign(members["input"])[0]
    pieces = [b"%b:%b" % (openai.encode(name), value) for name, value in members.items()]
    call = _call(request, deployment, deadline_s, request_id, b"{" + b",".join(pieces) + b"}")
    return replace(call, dropped=("input.reasoning",)) if mixed else call


def encode_conversation(
    conversation: Conversation, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
) -> UpstreamCall:
    body = {"model": deployment.model, **members_of(conversation)}
    if (limit := request.output_limit or conversation.output_tokens) is not None:
        body["max_output_tokens"] = limit
    return _call(request, deployment, deadline_s, request_id, openai.encode(body))


def _call(
    request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str, body: bytes
) -> UpstreamCall:
    return UpstreamCall(
        credential=deployment.credential,
        path=deployment.provider.base_path + _PATH,
        body=body,
        timeouts=deployment.timeouts,
        deadline_s=deadline_s,
        headers=(_EVENTS if request.stream else _JSON, (b"x-request-id", request_id.encode())),
    )


def decode_reply(_: ModelRequest, body: bytes) -> Reply:
    """A whole 200 answer. Raises AttemptFailed: MALFORMED_BODY, or the kind of an error inside it."""
    try:
        if not body.isascii():
            body.decode()
        head = responses.decode_head(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    _raise_inner(head.error)
    if not bytes(head.output):
        raise _malformed("the provider's answer has no 'output'")
    tier = tier_of(head.service_tier)
    return Reply(body, usage_of(head.usage), (_reason(head),), service_tier=tier, id=head.id)


def _reason(head: responses.Head) -> str:
    incomplete = head.incomplete_details
    return (incomplete.reason if incomplete is not None else None) or head.status or "completed"


def decode_answer(body: bytes) -> list[TurnEvent]:
    """The same for translation. Raises AttemptFailed."""
    try:
        reply = responses.decode_reply(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    _raise_inner(reply.error)
    if reply.output is None:
        raise _malformed("the provider's answer has no 'output'")
    return ResponsesReader().whole(reply)


def _malformed(message: str) -> AttemptFailed:
    return AttemptFailed(Failure(FailureKind.MALFORMED_BODY, message, status=200, sent=Sent.YES))


def _raise_inner(error: msgspec.Raw) -> None:
    if (raw := bytes(error)) and raw != b"null":
        raise AttemptFailed(inner_failure(raw))


def decode_turns() -> Turns:
    return Turns(ResponsesReader())


def decode_stream() -> "ResponsesStream":
    """A decoder for one streamed answer to a caller of the same dialect."""
    return ResponsesStream()


class ResponsesStream:
    """Turns the bytes of a stream into events; the same events for any chunking."""

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
        return [] if frame is None or frame.data is None else [_event(frame)]


def _event(frame: Frame) -> StreamEvent:
    data = frame.data
    if data is None:
        return StreamEvent(EventKind.COMMENT, frame.raw)
    try:
        if not data.isascii():
            data.decode()
        mark = responses.decode_mark(data)
        if mark.type in _ENDS:
            return _last(frame.raw, mark)
        if mark.type == "response.created":
            return StreamEvent(EventKind.PROLOGUE, frame.raw, id=responses.decode_head(bytes(mark.response)).id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if data.strip() == b"[DONE]":
            return StreamEvent(EventKind.PROLOGUE, frame.raw)
        return _broken(frame.raw, "an event of the provider's stream is not valid JSON")
    if mark.type == "error":
        failed = ResponsesReader().read(data)[0]
        failure = failed.failure if isinstance(failed, Failed) else None
        return StreamEvent(EventKind.ERROR, frame.raw, failure=failure)
    produced = max(0, len(bytes(mark.delta)) - 2)
    if not produced and mark.type == _ITEM and data.find(b'"function_call"') >= 0:
        return StreamEvent(EventKind.CONTENT, frame.raw, 1)
    return StreamEvent(EventKind.CONTENT if produced else EventKind.PROLOGUE, frame.raw, produced)


def _last(raw: bytes, mark: responses.Mark) -> StreamEvent:
    """Why it ended, what was used and that it is complete, in one event."""
    head = responses.decode_head(bytes(mark.response))
    if (error := bytes(head.error)) and error != b"null":
        return StreamEvent(EventKind.ERROR, raw, failure=inner_failure(error))
    tier = tier_of(head.service_tier)
    return StreamEvent(EventKind.DONE, raw, 0, usage_of(head.usage), None, _reason(head), tier)


def _broken(raw: bytes, message: str) -> StreamEvent:
    failure = Failure(FailureKind.MALFORMED_STREAM, message, status=200, sent=Sent.YES)
    return StreamEvent(EventKind.ERROR, raw, failure=failure)


def without_usage(raw: bytes) -> bytes:
    """Usage is part of every answer there."""
    return raw
