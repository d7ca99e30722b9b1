"""Turns as OpenAI responses answers: whole, and event by event."""

from typing import Any

from msgspec import Raw

from gateway.domain.conversation import Citation, Refusal, Text, Thinking, ToolCall
from gateway.domain.gathering import AnswerPart, Gathering
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
INCOMPLETE = {Finish.LENGTH: "max_output_tokens", Finish.FILTER: "content_filter"}
_ECHOED: dict[str, bytes] = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "previous_response_id": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "store": b"false",
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_p": b"null",
    "truncation": b'"disabled"',
    "user": b"null",
}


def usage_of(usage: Usage) -> Json:
    written = usage.cache_write_5m + usage.cache_write_1h
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": written},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def body_of(answer: Answer, request: ModelRequest, created_s: int) -> bytes:
    return encode(_response(answer, request, created_s, ended=True))


def _response(answer: Answer, request: ModelRequest, created_s: int, *, ended: bool) -> Json:
    choice = answer.choices[0] if answer.choices else Choice((), Finish.STOP)
    reason = INCOMPLETE.get(choice.finish) if ended else None
    state = "in_progress" if not ended else "completed" if reason is None else "incomplete"
    response_id = _response_id(answer.id)
    items = items_of(choice.parts)
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "status": state,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason is not None else None,
        "model": answer.model or request.model,
        "output": [_item(parts, _item_id(parts, response_id, at)) for at, parts in enumerate(items)] if ended else [],
        "usage": usage_of(answer.usage) if answer.usage is not None else None,
        **{name: Raw(request.members.get(name, default)) for name, default in _ECHOED.items()},
    }


def _response_id(answer_id: str) -> str:
    return answer_id if answer_id.startswith("resp_") else f"resp_{answer_id}"


def items_of(parts: tuple[AnswerPart, ...]) -> list[tuple[AnswerPart, ...]]:
    """What is said in a row is one message; thoughts and calls are items of their own."""
    items: list[list[AnswerPart]] = []
    for part in parts:
        if isinstance(part, Text | Refusal) and items and isinstance(items[-1][0], Text | Refusal):
            items[-1].append(part)
        else:
            items.append([part])
    return [tuple(item) for item in items]


def _item_id(parts: tuple[AnswerPart, ...], response_id: str, place: int) -> str:
    first = parts[0]
    kind = "fc" if isinstance(first, ToolCall) else "rs" if isinstance(first, Thinking) else "msg"
    return f"{kind}_{response_id.removeprefix('resp_')}_{place}"


def _item(parts: tuple[AnswerPart, ...], item_id: str, status: str = "completed") -> Json:
    first = parts[0]
    if isinstance(first, ToolCall):
        call = {"call_id": first.id, "name": first.name, "arguments": first.arguments}
        return {"id": item_id, "type": "function_call", "status": status, **call}
    if isinstance(first, Thinking):
        shown: Json = {"id": item_id, "type": "reasoning", "summary": [_part(first)] if first.text else []}
        seal = sealed(first.signature, first.origin, "openai", hidden=first.hidden)
        return shown | ({"encrypted_content": seal} if seal else {})
    content = [_part(part) for part in parts]
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _part(part: AnswerPart) -> Json:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Thinking):
        return {"type": "summary_text", "text": part.text}
    if isinstance(part, ToolCall):
        raise TypeError("a call is no part of a message")
    notes = [_note(cited) for cited in part.citations]
    return {"type": "output_text", "text": part.text, "annotations": notes, "logprobs": []}


def _note(cited: Citation) -> Json:
    place = {"start_index": cited.start, "end_index": cited.end}
    return {"type": "url_citation", "url": cited.url, "title": cited.title, **place}


class ResponsesEncoder:
    """Of one stream. One item is open at a time, and in it at most one part; both are told whole when they end."""

    __slots__ = (
        "_all",
        "_created_s",
        "_item_id",
        "_number",
        "_open",
        "_part_at",
        "_place",
        "_request",
        "_response_id",
    )

    def __init__(self, request: ModelRequest, created_s: int) -> None:
        self._request = request
        self._created_s = created_s
        self._all = Gathering()
        self._open: type[AnswerPart] | None = None
        self._place = -1
        self._part_at = 0
        self._number = -1
        self._item_id = ""
        self._response_id = "resp_"

    def write(self, event: TurnEvent) -> bytes:
        if isinstance(event, TextDelta):
            told = self._say(Text, Text(""))
            self._all.add(event)
            return told + self._piece("output_text", event.text, b',"content_index":%d,"logprobs":[]' % self._part_at)
        if isinstance(event, CallFragment):
            self._all.add(event)
            return self._piece("function_call_arguments", event.text, b"")
        if isinstance(event, CallStarted):
            told = self._begin(ToolCall, ToolCall(event.id, event.name, ""))
            self._all.add(event)
            return told
        if isinstance(event, ThinkingDelta):
            told = self._think()
            self._all.add(event)
            return told + self._piece("reasoning_summary_text", event.text, b',"summary_index":0')
        if isinstance(event, RefusalDelta):
            told = self._say(Refusal, Refusal(""))
            self._all.add(event)
            return told + self._piece("refusal", event.text, b',"content_index":%d' % self._part_at)
        return self._rest(event)

    def _rest(self, event: TurnEvent) -> bytes:
        if isinstance(event, ThinkingSealed):
            opening = b"" if self._open is Thinking else self._begin(Thinking, Thinking(""))
            self._all.add(event)
            return opening + self._end()
        if isinstance(event, Cited):
            self._all.add(event)
            if self._open is not Text:
                return b""
            return self._event(
                "response.output_text.annotation.added",
                {
                    **self._at,
                    "content_index": self._part_at,
                    "annotation_index": 0,
                    "annotation": _note(event.citation),
                },
            )
        if isinstance(event, Started):
            self._all.add(event)
            self._response_id = _response_id(event.id)
            begun = {"response": _response(self._all.answer, self._request, self._created_s, ended=False)}
            return self._event("response.created", begun) + self._event("response.in_progress", begun)
        if isinstance(event, Ended):
            told = self._end()
            response = _response(self._all.answer, self._request, self._created_s, ended=True)
            return told + self._event(f"response.{response['status']}", {"response": response})
        self._all.add(event)
        return b"" if isinstance(event, Finished | Counted) else PING

    @property
    def _at(self) -> Json:
        return {"item_id": self._item_id, "output_index": self._place}

    def _say(self, kind: type[AnswerPart], empty: AnswerPart) -> bytes:
        """Opens the part, and the message around it, unless they are open."""
        if self._open is kind:
            return b""
        told = b""
        if self._open in (Text, Refusal):
            told = self._end_part()
            self._part_at += 1
            self._open = kind
        else:
            told = self._begin(kind, empty)
        part = {**self._at, "content_index": self._part_at, "part": _part(empty)}
        return told + self._event("response.content_part.added", part)

    def _think(self) -> bytes:
        if self._open is Thinking:
            return b""
        told = self._begin(Thinking, Thinking(""))
        part = {"type": "summary_text", "text": ""}
        added = self._event("response.reasoning_summary_part.added", {**self._at, "summary_index": 0, "part": part})
        return told + added

    def _begin(self, kind: type[AnswerPart], empty: AnswerPart) -> bytes:
        told = self._end()
        self._open = kind
        self._place += 1
        self._part_at = 0
        self._item_id = _item_id((empty,), self._response_id, self._place)
        item = _item((empty,), self._item_id, "in_progress")
        if kind in (Text, Refusal):
            item["content"] = []
        return told + self._event("response.output_item.added", {"output_index": self._place, "item": item})

    def _last_item(self) -> tuple[AnswerPart, ...]:
        choices = self._all.answer.choices
        return items_of(choices[0].parts)[-1]

    def _end(self) -> bytes:
        """The open item, whole."""
        if self._open is None:
            return b""
        told = self._end_part()
        self._open = None
        item = _item(self._last_item(), self._item_id)
        return told + self._event("response.output_item.done", {"output_index": self._place, "item": item})

    def _end_part(self) -> bytes:
        parts = self._last_item()
        last = parts[-1]
        at = {**self._at, "content_index": self._part_at}
        if isinstance(last, ToolCall):
            arguments = {**self._at, "name": last.name, "arguments": last.arguments}
            return self._event("response.function_call_arguments.done", arguments)
        if isinstance(last, Thinking):
            if not last.text:
                return b""
            at = {**self._at, "summary_index": 0}
            told = self._event("response.reasoning_summary_text.done", {**at, "text": last.text})
            return told + self._event("response.reasoning_summary_part.done", {**at, "part": _part(last)})
        if isinstance(last, Refusal):
            told = self._event("response.refusal.done", {**at, "refusal": last.text})
        else:
            told = self._event("response.output_text.done", {**at, "text": last.text, "logprobs": []})
        return told + self._event("response.content_part.done", {**at, "part": _part(last)})

    def _piece(self, kind: str, text: str, more: bytes) -> bytes:
        self._number += 1
        name = b"response.%b.delta" % kind.encode()
        body = b'{"type":"%b","sequence_number":%d,"item_id":%b,"output_index":%d%b,"delta":%b}' % (
            name,
            self._number,
            encode(self._item_id),
            self._place,
            more,
            encode(text),
        )
        return b"event: %b\ndata: %b\n\n" % (name, body)

    def _event(self, kind: str, values: Json) -> bytes:
        self._number += 1
        body = encode({"type": kind, "sequence_number": self._number, **values})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)
