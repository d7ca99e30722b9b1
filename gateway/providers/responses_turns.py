"""OpenAI responses answers as turns."""

import msgspec

from gateway.domain.conversation import Citation
from gateway.domain.reply import Usage
from gateway.domain.seals import opened
from gateway.domain.turn import (
    CallFragment,
    CallStarted,
    Cited,
    Counted,
    Ended,
    Failed,
    Finish,
    Finished,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)
from gateway.formats import openai
from gateway.formats import responses as shapes
from gateway.providers.figures import part, sane
from gateway.providers.openai_errors import inner_failure
from gateway.providers.turns import SILENCE, broken

_INCOMPLETE = {"max_output_tokens": Finish.LENGTH, "content_filter": Finish.FILTER}
_TEXTS: dict[str, type[TextDelta | RefusalDelta | ThinkingDelta]] = {
    "response.output_text.delta": TextDelta,
    "response.refusal.delta": RefusalDelta,
    "response.reasoning_text.delta": ThinkingDelta,
    "response.reasoning_summary_text.delta": ThinkingDelta,
}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponsesReader:
    """Of one answer. Invariant: no fragment goes to another call than its own."""

    __slots__ = ("_called", "_calling", "_fragments")

    def __init__(self) -> None:
        self._called = False
        self._calling: int | None = None
        self._fragments = False

    def read(self, data: bytes) -> list[TurnEvent]:
        event = shapes.decode_event(data)
        kind = event.type
        if (told := _TEXTS.get(kind)) is not None:
            return [told(event.delta)] if event.delta else []
        if kind == "response.function_call_arguments.delta":
            if event.output_index != self._calling:
                return [broken("the provider's stream mixes tool calls")]
            self._fragments = True
            return [CallFragment(event.delta)] if event.delta else []
        if kind in ("response.output_item.added", "response.output_item.done") and event.item is not None:
            if kind.endswith("added"):
                self._calling = event.output_index
                return self._added(event.item)
            return self._done(event.item)
        if kind == "response.output_text.annotation.added" and event.annotation is not None:
            return _cited(event.annotation)
        if kind == "response.created" and event.response is not None:
            return [Started(event.response.id or "", event.response.model or "")]
        if kind in _ENDS and event.response is not None:
            return self._last(event.response)
        if kind == "error":
            raw = bytes(event.error) or openai.encode({"code": event.code, "message": event.message})
            return [Failed(inner_failure(raw))]
        return [SILENCE]

    def close(self) -> list[TurnEvent]:
        return []

    def whole(self, reply: shapes.Reply) -> list[TurnEvent]:
        events: list[TurnEvent] = [Started(reply.id or "", reply.model or "")]
        for item in reply.output or ():
            events += self._added(item)
            for said in [*(item.summary or ()), *(item.content or ())]:
                events += _said(said)
            events += self._done(item)
        return events + self._last(reply)

    def _added(self, item: shapes.Item) -> list[TurnEvent]:
        self._fragments = False
        if item.type != "function_call":
            return []
        self._called = True
        return [CallStarted(item.call_id or item.id or "", item.name or "")]

    def _done(self, item: shapes.Item) -> list[TurnEvent]:
        if item.type == "function_call" and not self._fragments:
            return [CallFragment((item.arguments or "").strip() or "{}")]
        if item.type == "reasoning" and item.encrypted_content:
            return [ThinkingSealed(*opened(item.encrypted_content, "openai"))]
        return []

    def _last(self, reply: shapes.Reply) -> list[TurnEvent]:
        if (error := bytes(reply.error)) and error != b"null":
            return [Failed(inner_failure(error))]
        finish = Finish.TOOL_CALLS if self._called else Finish.STOP
        if reply.incomplete_details is not None:
            finish = _INCOMPLETE.get(reply.incomplete_details.reason or "", Finish.LENGTH)
        events: list[TurnEvent] = [Finished(finish)]
        if (usage := usage_of(reply.usage)) is not None:
            events.append(Counted(usage))
        return [*events, Ended()]


def _said(said: shapes.Part) -> list[TurnEvent]:
    if said.type == "refusal":
        return [RefusalDelta(said.refusal)] if said.refusal else []
    if not said.text:
        return []
    if said.type in ("summary_text", "reasoning_text"):
        return [ThinkingDelta(said.text)]
    return [TextDelta(said.text), *(event for note in said.annotations or () for event in _cited(note))]


def _cited(note: shapes.Annotation) -> list[TurnEvent]:
    if not note.url:
        return []
    return [Cited(Citation(note.url, note.title or "", note.start_index or 0, note.end_index or 0))]


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """Explicit zeros count; negative, absurd or wrongly typed figures do not."""
    text = bytes(raw)
    if not text or text == b"null":
        return None
    try:
        shape = shapes.decode_usage(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    tokens_in, tokens_out = sane(shape.input_tokens), sane(shape.output_tokens or 0)
    if tokens_in is None or tokens_out is None:
        return None
    given, made = shape.input_tokens_details, shape.output_tokens_details
    return Usage(
        tokens_in,
        tokens_out,
        part(given.cached_tokens, tokens_in) if given is not None else 0,
        part(made.reasoning_tokens, tokens_out) if made is not None else 0,
        cache_write_5m=part(given.cache_write_tokens, tokens_in) if given is not None else 0,
    )
