"""OpenAI chat completions: bodies and stream events of a turn."""

from collections.abc import Iterator
from typing import Any

from gateway.sim.ask import Ask, count_tokens
from gateway.sim.event import Event, encode
from gateway.sim.turn import Call, Choice, Tokens, Turn, slices

FINGERPRINT = "fp_simulator"


def usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def body(turn: Turn) -> bytes:
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{turn.id}",
        "object": "chat.completion",
        "created": turn.created_s,
        "model": turn.model,
        "choices": [_choice(turn, at, choice) for at, choice in enumerate(turn.choices)],
        "service_tier": turn.service_tier,
        "system_fingerprint": FINGERPRINT,
    }
    if turn.shown is not None:
        reply["usage"] = usage(turn.shown)
    elif turn.usage_null:
        reply["usage"] = None
    return encode(reply)


def events(turn: Turn, ask: Ask, pieces: int | None) -> Iterator[Event]:
    """All but the closing `[DONE]`, which the framing adds."""
    frame = _Frame(turn, with_usage=ask.include_usage)
    spent = turn.tokens.reasoning
    for at, choice in enumerate(turn.choices):
        yield frame.delta(
            at, {"role": "assistant", "content": None if choice.calls else "", "refusal": None}, tokens=spent
        )
        spent = 0
        if turn.thinking is not None:
            yield frame.delta(at, {"reasoning_content": turn.thinking}, content=True)
        yield from _content(frame, at, choice, pieces)
        if notes := _notes(turn, choice):
            yield frame.delta(at, {"annotations": notes})
        yield frame.finish(at, choice.finish)
    if not turn.choices:
        yield frame.whole([], None, tokens=spent)
    if turn.shown is not None:
        yield frame.whole([], usage(turn.shown))
    yield Event(b"[DONE]")


def endless(turn: Turn, text: str) -> Iterator[Event]:
    frame = _Frame(turn, with_usage=False)
    yield frame.delta(0, {"role": "assistant", "content": ""})
    more = frame.text(0, encode(text), count_tokens(text))
    while True:
        yield more


def _notes(turn: Turn, choice: Choice) -> list[dict[str, Any]]:
    place = {"start_index": 0, "end_index": len(choice.text)}
    cited = [{"url": one.url, "title": one.title, **place} for one in turn.citations if choice.text]
    return [{"type": "url_citation", "url_citation": one} for one in cited]


def _choice(turn: Turn, at: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text or (None if choice.calls or choice.refusal else ""),
        "refusal": choice.refusal,
        "annotations": _notes(turn, choice),
    }
    if turn.thinking is not None:
        message["reasoning_content"] = turn.thinking
    if choice.calls:
        message["tool_calls"] = [
            {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.calls
        ]
    return {"index": at, "message": message, "logprobs": None, "finish_reason": choice.finish}


def _content(frame: "_Frame", at: int, choice: Choice, pieces: int | None) -> Iterator[Event]:
    for piece, tokens in slices(choice.text, pieces):
        yield frame.text(at, encode(piece), tokens)
    if choice.refusal is not None:
        yield frame.delta(at, {"refusal": choice.refusal}, tokens=count_tokens(choice.refusal), content=True)
    for place, call in enumerate(choice.calls):
        yield from _call(frame, at, place, call)


def _call(frame: "_Frame", at: int, place: int, call: Call) -> Iterator[Event]:
    opening = {
        "index": place,
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": call.name, "arguments": ""},
    }
    yield frame.delta(at, {"tool_calls": [opening]}, tokens=count_tokens(call.name), content=True)
    for piece, tokens in slices(call.arguments, call.fragments):
        delta = {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
        yield frame.delta(at, delta, tokens=tokens, content=True)


class _Frame:
    """The unchanging ends of every chunk of one stream, encoded once."""

    __slots__ = ("_head", "_tail", "_text_tail")

    def __init__(self, turn: Turn, *, with_usage: bool) -> None:
        fixed = {
            "id": f"chatcmpl-{turn.id}",
            "object": "chat.completion.chunk",
            "created": turn.created_s,
            "model": turn.model,
            "service_tier": turn.service_tier,
            "system_fingerprint": FINGERPRINT,
        }
        self._head = encode(fixed)[:-1] + b',"choices":'
        self._tail = b',"usage":null}' if with_usage else b"}"
        self._text_tail = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    def text(self, at: int, encoded: bytes, tokens: int) -> Event:
        return Event(
            b'%b[{"index":%d,"delta":{"content":%b%b' % (self._head, at, encoded, self._text_tail), b"", tokens, True
        )

    def delta(self, at: int, delta: dict[str, Any], *, tokens: int = 0, content: bool = False) -> Event:
        return Event(
            b'%b[{"index":%d,"delta":%b%b' % (self._head, at, encode(delta), self._text_tail[1:]), b"", tokens, content
        )

    def finish(self, at: int, reason: str) -> Event:
        choice = {"index": at, "delta": {}, "logprobs": None, "finish_reason": reason}
        return Event(self._head + encode([choice]) + self._tail)

    def whole(self, choices: list[Any], used: dict[str, Any] | None, *, tokens: int = 0) -> Event:
        tail = self._tail if used is None else b',"usage":%b}' % encode(used)
        return Event(self._head + encode(choices) + tail, b"", tokens)
