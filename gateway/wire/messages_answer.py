"""Turns as Anthropic messages answers: whole, and event by event."""

from typing import Any

from msgspec import Raw

from gateway.domain.conversation import Citation, Refusal, Text, Thinking, ToolCall
from gateway.domain.reply import NO_USAGE, Usage
from gateway.domain.request import ModelRequest
from gateway.domain.seals import sealed
from gateway.domain.turn import (
    Answer,
    CallFragment,
    CallStarted,
    Choice,
    Cited,
    Counted,
    Ended,
    Finish,
    Finished,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)
from gateway.formats.json_object import object_of
from gateway.formats.openai import encode

Json = dict[str, Any]
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
FINISHES = {
    Finish.STOP: "end_turn",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.FILTER: "refusal",
}
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'


def usage_of(usage: Usage) -> Json:
    """`input_tokens` excludes what was read from or written to a cache."""
    written = usage.cache_write_5m + usage.cache_write_1h
    shown: Json = {
        "input_tokens": max(0, usage.input - usage.cached_input - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        shown["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if written:
        shown["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    return shown


def body_of(answer: Answer, request: ModelRequest, _: int) -> bytes:
    choice = answer.choices[0] if answer.choices else Choice((), Finish.STOP)
    refused = any(isinstance(part, Refusal) for part in choice.parts)
    shown = {
        **_message(answer.id, answer.model or request.model),
        "content": [_block(part) for part in choice.parts],
        "stop_reason": reason_of(choice.finish, refused=refused),
        "stop_sequence": choice.stopped_by or None,
        "usage": usage_of(answer.usage or NO_USAGE),
    }
    return encode(shown)


def reason_of(finish: Finish, *, refused: bool) -> str:
    return FINISHES[Finish.FILTER if refused and finish is Finish.STOP else finish]


def _message(answer_id: str, model: str) -> Json:
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _block(part: Text | Thinking | Refusal | ToolCall) -> Json:
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": Raw(object_of(part.arguments))}
    if isinstance(part, Thinking):
        return _thought(part)
    block: Json = {"type": "text", "text": part.text}
    if isinstance(part, Text) and part.citations:
        block["citations"] = [_citation(cited) for cited in part.citations]
    return block


def _thought(thought: Thinking) -> Json:
    seal = sealed(thought.signature, thought.origin, "anthropic")
    if thought.hidden:
        return {"type": "redacted_thinking", "data": seal}
    return {"type": "thinking", "thinking": thought.text, "signature": seal}


def _citation(cited: Citation) -> Json:
    place = {"url": cited.url, "title": cited.title, "cited_text": "", "encrypted_index": ""}
    return {"type": "web_search_result_location", **place}


class MessagesEncoder:
    """Of one stream. One block is open at a time; why it ended and what was used come last, together."""

    __slots__ = ("_block", "_cited", "_finish", "_index", "_model", "_refused", "_usage")

    def __init__(self, request: ModelRequest, _: int) -> None:
        self._model = request.model
        self._index = -1
        self._block = ""
        self._cited = False
        self._refused = False
        self._finish = Finished(Finish.STOP)
        self._usage = NO_USAGE

    def write(self, event: TurnEvent) -> bytes:
        if isinstance(event, TextDelta):
            return self._text(event.text)
        if isinstance(event, CallFragment):
            return self._delta(b'{"type":"input_json_delta","partial_json":%b}' % encode(event.text))
        if isinstance(event, CallStarted):
            return self._begin("tool_use", {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})
        if isinstance(event, ThinkingDelta):
            return self._think() + self._delta(b'{"type":"thinking_delta","thinking":%b}' % encode(event.text))
        if isinstance(event, ThinkingSealed):
            return self._seal(event)
        if isinstance(event, RefusalDelta):
            self._refused = True
            return self._text(event.text)
        if isinstance(event, Cited):
            return self._cite(event.citation)
        return self._frame(event)

    def _frame(self, event: TurnEvent) -> bytes:
        """What is not content."""
        if isinstance(event, Started):
            message = {**_message(event.id, event.model or self._model), "usage": usage_of(NO_USAGE)}
            return _event("message_start", {"message": message})
        if isinstance(event, Finished):
            self._finish = event
            return b""
        if isinstance(event, Counted):
            self._usage = event.usage
            return b""
        return self._last() if isinstance(event, Ended) else PING

    def _cite(self, citation: Citation) -> bytes:
        """A block that is over cannot be cited any more."""
        if self._block != "text":
            return b""
        self._cited = True
        return self._delta(encode({"type": "citations_delta", "citation": _citation(citation)}))

    def _text(self, text: str) -> bytes:
        """What a citation speaks of ends with it, so that more text is another block."""
        begun = b""
        if self._block != "text" or (self._cited and text):
            begun = self._begin("text", {"type": "text", "text": ""})
        return begun + (self._delta(b'{"type":"text_delta","text":%b}' % encode(text)) if text else b"")

    def _think(self) -> bytes:
        if self._block == "thinking":
            return b""
        return self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _seal(self, event: ThinkingSealed) -> bytes:
        thought = _thought(Thinking("", event.signature, event.origin, event.hidden))
        if event.hidden:
            return self._begin("redacted_thinking", thought) + self._end()
        opening = self._think()
        return (
            opening + self._delta(encode({"type": "signature_delta", "signature": thought["signature"]})) + self._end()
        )

    def _begin(self, kind: str, block: Json) -> bytes:
        ended = self._end()
        self._block = kind
        self._index += 1
        self._cited = False
        return ended + _event("content_block_start", {"index": self._index, "content_block": block})

    def _end(self) -> bytes:
        if not self._block:
            return b""
        self._block = ""
        return _STOP % self._index

    def _delta(self, delta: bytes) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (
            self._index,
            delta,
        )

    def _last(self) -> bytes:
        reason = reason_of(self._finish.finish, refused=self._refused)
        delta = {"stop_reason": reason, "stop_sequence": self._finish.stopped_by or None}
        ended = self._end() + _event("message_delta", {"delta": delta, "usage": usage_of(self._usage)})
        return ended + _event("message_stop", {})


def _event(kind: str, values: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **values}))
