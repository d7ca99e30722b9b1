"""Gemini generateContent: bodies and stream events of a turn."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.sim.ask import count_tokens
from gateway.sim.event import Event, encode
from gateway.sim.turn import Call, Choice, Tokens, Turn, slices

FINISHES: Final = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
SIGNATURE: Final = "Z2VtaW5pLXNpbQ=="
PATH: Final = re.compile(r"(?:/v1beta)?/models/(?P<model>[^:]+):(?P<method>generateContent|streamGenerateContent)")

Json = dict[str, Any]


def usage(tokens: Tokens) -> Json:
    """What was thought is counted apart from the candidates."""
    return {
        "promptTokenCount": tokens.input,
        "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "thoughtsTokenCount": tokens.reasoning,
        "totalTokenCount": tokens.input + tokens.output,
    }


def body(turn: Turn) -> bytes:
    candidates = [
        {
            "index": at,
            "content": {"role": "model", "parts": _parts(turn, choice)},
            "finishReason": _finish(choice),
            **_grounding(turn, choice),
        }
        for at, choice in enumerate(turn.choices)
    ]
    return encode(_reply(turn, candidates, last=True))


def events(turn: Turn, pieces: int | None) -> Iterator[Event]:
    """There is no end marker: the last event says why it ended."""
    spent = turn.tokens.reasoning
    for at, choice in enumerate(turn.choices):
        if turn.thinking is not None:
            yield _event(turn, at, {"text": turn.thinking, "thought": True}, tokens=spent)
            spent = 0
        for piece, tokens in slices(choice.text or choice.refusal or "", pieces):
            yield _event(turn, at, {"text": piece}, tokens=tokens + spent)
            spent = 0
        for number, call in enumerate(choice.calls):
            yield _event(turn, at, _call(call, signed=_signs(turn, number)), tokens=call.tokens + spent)
            spent = 0
        last = {
            "index": at,
            "content": {"role": "model", "parts": []},
            "finishReason": _finish(choice),
            **_grounding(turn, choice),
        }
        yield Event(encode(_reply(turn, [last], last=True)))


def endless(turn: Turn, text: str) -> Iterator[Event]:
    more = _event(turn, 0, {"text": text}, tokens=count_tokens(text))
    while True:
        yield more


def _reply(turn: Turn, candidates: list[Json], *, last: bool) -> Json:
    reply: Json = {"candidates": candidates, "modelVersion": turn.model, "responseId": turn.id}
    if turn.shown is not None and last:
        reply["usageMetadata"] = usage(turn.shown)
    return reply


def _event(turn: Turn, at: int, part: Json, *, tokens: int) -> Event:
    candidate = {"index": at, "content": {"role": "model", "parts": [part]}}
    return Event(encode(_reply(turn, [candidate], last=False)), b"", tokens, True)


def _signs(turn: Turn, number: int) -> bool:
    """The first call bears the signature of what was thought before it."""
    return turn.thinking is not None and number == 0


def _parts(turn: Turn, choice: Choice) -> list[Json]:
    parts: list[Json] = []
    if turn.thinking is not None:
        parts.append({"text": turn.thinking, "thought": True})
    if text := choice.text or choice.refusal or "":
        parts.append({"text": text})
    return parts + [_call(call, signed=_signs(turn, number)) for number, call in enumerate(choice.calls)]


def _call(call: Call, *, signed: bool) -> Json:
    part: Json = {"functionCall": {"id": call.id, "name": call.name, "args": msgspec.Raw(call.arguments)}}
    return part | ({"thoughtSignature": SIGNATURE} if signed else {})


def _finish(choice: Choice) -> str:
    return "SAFETY" if choice.refusal is not None else FINISHES.get(choice.finish, "STOP")


def _grounding(turn: Turn, choice: Choice) -> Json:
    if not turn.citations or not choice.text:
        return {}
    segment = {"startIndex": 0, "endIndex": len(choice.text.encode())}
    return {
        "groundingMetadata": {
            "groundingChunks": [{"web": {"uri": one.url, "title": one.title}} for one in turn.citations],
            "groundingSupports": [{"segment": segment, "groundingChunkIndices": list(range(len(turn.citations)))}],
        }
    }
