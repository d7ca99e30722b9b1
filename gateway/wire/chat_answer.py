"""Turns as chat-completions answers: whole, and event by event."""

from typing import Any

from gateway.domain.conversation import Citation, Refusal, Text, Thinking, ToolCall
from gateway.domain.reply import Usage
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
from gateway.formats.openai import encode

Json = dict[str, Any]
PING = b": ping\n\n"
FINISHES = {
    Finish.STOP: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.TOOL_CALLS: "tool_calls",
    Finish.FILTER: "content_filter",
}


def usage_of(usage: Usage) -> Json:
    written = usage.cache_write_5m + usage.cache_write_1h
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": written,
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
    }


def body_of(answer: Answer, request: ModelRequest, created_s: int) -> bytes:
    shown: Json = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created_s,
        "model": answer.model or request.model,
        "choices": [_choice(at, choice) for at, choice in enumerate(answer.choices)],
    }
    if answer.usage is not None:
        shown["usage"] = usage_of(answer.usage)
    return encode(shown)


def _choice(at: int, choice: Choice) -> Json:
    """One text, whatever stood between its pieces; citations move with theirs."""
    text, notes = "", list[Json]()
    for part in choice.parts:
        if isinstance(part, Text):
            notes += [_note(cited, len(text)) for cited in part.citations]
            text += part.text
    refusal = "".join(part.text for part in choice.parts if isinstance(part, Refusal))
    calls = [_call(part) for part in choice.parts if isinstance(part, ToolCall)]
    thoughts = [part for part in choice.parts if isinstance(part, Thinking)]
    message: Json = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    if notes:
        message["annotations"] = notes
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thought.text for thought in thoughts)
        message["reasoning_details"] = [_thought(thought) for thought in thoughts]
    return {"index": at, "message": message, "logprobs": None, "finish_reason": FINISHES[choice.finish]}


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _thought(thought: Thinking) -> Json:
    """As OpenRouter writes them, with a mark of whose the signature is."""
    seal = sealed(thought.signature, thought.origin, "")
    if thought.hidden:
        return {"type": "reasoning.encrypted", "data": seal}
    shown = {"type": "reasoning.text", "text": thought.text}
    return shown | ({"signature": seal} if seal else {})


def _note(cited: Citation, offset: int) -> Json:
    place = {"start_index": cited.start + offset, "end_index": cited.end + offset}
    return {"type": "url_citation", "url_citation": {"url": cited.url, "title": cited.title, **place}}


class ChatEncoder:
    """Of one stream. What was used is told at its end, if the caller asked for it."""

    __slots__ = ("_calls", "_created_s", "_head", "_include_usage", "_model", "_spoken", "_tail", "_usage")

    def __init__(self, request: ModelRequest, created_s: int) -> None:
        self._include_usage = request.include_usage
        self._model = request.model
        self._created_s = created_s
        self._calls: dict[int, int] = {}
        self._spoken: set[int] = set()
        self._usage: Usage | None = None
        self._tail = b'}],"usage":null}\n\n' if request.include_usage else b"}]}\n\n"
        self._head = self._head_of("", "")

    def _head_of(self, answer_id: str, model: str) -> bytes:
        fixed = {"id": answer_id, "object": "chat.completion.chunk", "created": self._created_s}
        return b"data: " + encode({**fixed, "model": model or self._model})[:-1] + b',"choices":['

    def write(self, event: TurnEvent) -> bytes:
        if isinstance(event, TextDelta):
            return self._piece(event.choice, b'{"content":%b}' % encode(event.text))
        if isinstance(event, CallFragment):
            call = b'{"index":%d,"function":{"arguments":%b}}' % (self._calls[event.choice], encode(event.text))
            return self._piece(event.choice, b'{"tool_calls":[%b]}' % call)
        if isinstance(event, CallStarted):
            return self._call(event)
        if isinstance(event, ThinkingDelta):
            details = [{"type": "reasoning.text", "text": event.text}]
            return self._delta(event.choice, {"reasoning_content": event.text, "reasoning_details": details})
        if isinstance(event, ThinkingSealed):
            thought = Thinking("", event.signature, event.origin, event.hidden)
            return self._delta(event.choice, {"reasoning_details": [_thought(thought)]})
        if isinstance(event, RefusalDelta):
            return self._delta(event.choice, {"refusal": event.text})
        if isinstance(event, Cited):
            return self._delta(event.choice, {"annotations": [_note(event.citation, 0)]})
        return self._frame(event)

    def _frame(self, event: TurnEvent) -> bytes:
        """What is not content."""
        if isinstance(event, Started):
            self._head = self._head_of(event.id, event.model)
            return self._piece(0, b"")
        if isinstance(event, Finished):
            return self._piece(event.choice, b"{}", encode(FINISHES[event.finish]))
        if isinstance(event, Counted):
            self._usage = event.usage
            return b""
        if isinstance(event, Ended):
            return self._last() + b"data: [DONE]\n\n"
        return PING

    def _call(self, event: CallStarted) -> bytes:
        number = self._calls[event.choice] = self._calls.get(event.choice, -1) + 1
        function = {"name": event.name, "arguments": ""}
        call = {"index": number, "id": event.id, "type": "function", "function": function}
        return self._delta(event.choice, {"tool_calls": [call]})

    def _delta(self, choice: int, delta: Json) -> bytes:
        return self._piece(choice, encode(delta))

    def _piece(self, choice: int, delta: bytes, reason: bytes = b"null") -> bytes:
        """The first one of each choice says who speaks."""
        first = b""
        if choice not in self._spoken:
            self._spoken.add(choice)
            first = self._piece(choice, b'{"role":"assistant","content":""}')
        if not delta:
            return first
        body = b'{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b' % (choice, delta, reason)
        return first + self._head + body + self._tail

    def _last(self) -> bytes:
        if not self._include_usage or self._usage is None:
            return b""
        return self._head + b'],"usage":%b}\n\n' % encode(usage_of(self._usage))
