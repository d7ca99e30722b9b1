"""Anthropic messages: bodies and stream events of a turn."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.sim.ask import Ask, count_tokens
from gateway.sim.event import Event, encode, named
from gateway.sim.script import Source
from gateway.sim.turn import Call, Choice, Tokens, Turn, slices

STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
SIGNATURE: Final = "c2ltdWxhdGVk"


def usage(tokens: Tokens, output: int) -> dict[str, Any]:
    """`input_tokens` excludes what was read from or written to the cache."""
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def body(turn: Turn) -> bytes:
    message = _message(turn)
    choice = turn.choices[0] if turn.choices else None
    if choice is not None:
        message["content"] = _blocks(turn, choice)
        message["stop_reason"] = _stop_reason(choice)
    if turn.shown is not None:
        message["usage"] = usage(turn.shown, turn.shown.output)
    elif turn.usage_null:
        message["usage"] = None
    return encode(message)


def count_body(ask: Ask) -> bytes:
    return encode({"input_tokens": ask.input_tokens})


def events(turn: Turn, pieces: int | None) -> Iterator[Event]:
    hidden = turn.tokens.reasoning - count_tokens(turn.thinking or "")
    yield _start(turn, tokens=hidden)
    yield named("ping", {})
    place = 0
    for choice in turn.choices[:1]:
        if turn.thinking is not None:
            yield from _thinking(turn.thinking)
            place = 1
        text = choice.text or choice.refusal or ""
        if text or not choice.calls:
            yield from _text(place, text, pieces, turn.citations)
            place += 1
        for call in choice.calls:
            yield from _tool_use(place, call)
            place += 1
        yield _last_delta(turn, choice)
    yield named("message_stop", {})


def endless(turn: Turn, text: str) -> Iterator[Event]:
    yield _start(turn)
    yield named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
    more = _delta(0, {"type": "text_delta", "text": text}, count_tokens(text))
    while True:
        yield more


def _message(turn: Turn) -> dict[str, Any]:
    return {
        "id": f"msg_{turn.id}",
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(choice: Choice) -> str:
    reason = "content_filter" if choice.refusal is not None and choice.finish == "stop" else choice.finish
    return STOP_REASONS.get(reason, reason)


def _blocks(turn: Turn, choice: Choice) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if turn.thinking is not None:
        blocks.append({"type": "thinking", "thinking": turn.thinking, "signature": SIGNATURE})
    text = choice.text or choice.refusal or ""
    if text or not choice.calls:
        cited = {"citations": [_cited(one) for one in turn.citations]} if turn.citations and text else {}
        blocks.append({"type": "text", "text": text, **cited})
    blocks.extend(
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": msgspec.Raw(call.arguments)}
        for call in choice.calls
    )
    return blocks


def _start(turn: Turn, *, tokens: int = 0) -> Event:
    message = _message(turn)
    if turn.shown is not None:
        message["usage"] = usage(turn.shown, min(1, turn.shown.output))
    elif turn.usage_null:
        message["usage"] = None
    return named("message_start", {"message": message}, tokens=tokens)


def _last_delta(turn: Turn, choice: Choice) -> Event:
    values: dict[str, Any] = {"delta": {"stop_reason": _stop_reason(choice), "stop_sequence": None}}
    if turn.shown is not None:
        values["usage"] = {"output_tokens": turn.shown.output}
    elif turn.usage_null:
        values["usage"] = None
    return named("message_delta", values)


def _delta(place: int, delta: dict[str, Any], tokens: int) -> Event:
    return named("content_block_delta", {"index": place, "delta": delta}, tokens=tokens, content=True)


def _thinking(thinking: str) -> Iterator[Event]:
    yield named(
        "content_block_start", {"index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}
    )
    yield _delta(0, {"type": "thinking_delta", "thinking": thinking}, count_tokens(thinking))
    yield _delta(0, {"type": "signature_delta", "signature": SIGNATURE}, 0)
    yield named("content_block_stop", {"index": 0})


def _cited(one: Source) -> dict[str, Any]:
    place = {"url": one.url, "title": one.title, "cited_text": "what it says there", "encrypted_index": "ZW5j"}
    return {"type": "web_search_result_location", **place}


def _text(place: int, text: str, pieces: int | None, citations: tuple[Source, ...]) -> Iterator[Event]:
    yield named("content_block_start", {"index": place, "content_block": {"type": "text", "text": ""}})
    for piece, tokens in slices(text, pieces):
        yield _delta(place, {"type": "text_delta", "text": piece}, tokens)
    for one in citations if text else ():
        delta = {"type": "citations_delta", "citation": _cited(one)}
        yield named("content_block_delta", {"index": place, "delta": delta})
    yield named("content_block_stop", {"index": place})


def _tool_use(place: int, call: Call) -> Iterator[Event]:
    block = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}
    yield named("content_block_start", {"index": place, "content_block": block}, tokens=count_tokens(call.name))
    for piece, tokens in slices(call.arguments, call.fragments):
        delta = {"type": "input_json_delta", "partial_json": piece}
        yield _delta(place, delta, tokens)
    yield named("content_block_stop", {"index": place})
