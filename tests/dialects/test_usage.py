"""200 usage payloads of every dialect: tokens and cost, exact against a reference that shares no code with ours."""

import json
import math
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from genai_prices import extract_usage

from gateway.domain.catalog import Price
from gateway.domain.money import cost_nano_usd
from gateway.domain.reply import Usage
from tests.dialects.dialects import TONGUES, gathered

Json = dict[str, Any]
Dollars = dict[str, str]
PRICES: dict[str, Dollars] = {
    "even": {"fresh": "3", "read": "0.3", "short": "3.75", "long": "6", "out": "15"},
    "odd": {"fresh": "0.0375", "read": "0.003757", "short": "0.046875", "long": "0.0750003", "out": "0.1500001"},
}
"""Of a million tokens; a token of the odd ones costs no whole number of nano-dollars."""

REPLIES: dict[str, Json] = {
    "chat": {"id": "x", "model": "m", "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]},
    "responses": {"id": "x", "model": "m", "status": "completed", "output": []},
    "anthropic": {"id": "x", "model": "m", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"},
    "gemini": {"responseId": "x", "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]},
}
MEMBER = {"chat": "usage", "responses": "usage", "anthropic": "usage", "gemini": "usageMetadata"}

Billed = dict[str, int]
"""Tokens at each price: what was neither read from nor written to a cache, each kind of cache, and all output."""


def cases() -> Iterator[tuple[str, Json, Billed]]:
    dice = random.Random(5)
    for number in range(200):
        dialect = ("chat", "responses", "anthropic", "gemini")[number % 4]
        figures = [dice.choice((0, 1, 7, dice.randrange(200_000))) for _ in range(7)]
        yield CASES[dialect](figures, number)


def _chat(f: list[int], number: int) -> tuple[str, Json, Billed]:
    """Cached, written and reasoning tokens stand inside their sums."""
    fresh, read, written, said, thought = f[:5]
    told: Json = {"prompt_tokens": fresh + read + written, "completion_tokens": said + thought}
    told["prompt_tokens_details"] = {"cached_tokens": read, "cache_write_tokens": written}
    if number % 3:
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    return "chat", told, {"fresh": fresh, "read": read, "short": written, "long": 0, "out": said + thought}


def _responses(f: list[int], _: int) -> tuple[str, Json, Billed]:
    fresh, read, written, said, thought = f[:5]
    told = {
        "input_tokens": fresh + read + written,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": said + thought,
        "output_tokens_details": {"reasoning_tokens": thought},
    }
    return "responses", told, {"fresh": fresh, "read": read, "short": written, "long": 0, "out": said + thought}


def _anthropic(f: list[int], number: int) -> tuple[str, Json, Billed]:
    """Every kind of input stands apart."""
    fresh, read, short, long, out = f[:5]
    told: Json = {"input_tokens": fresh, "cache_read_input_tokens": read, "output_tokens": out}
    told["cache_creation_input_tokens"] = short + long
    if number % 8 < 6:
        told["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
        return "anthropic", told, {"fresh": fresh, "read": read, "short": short, "long": long, "out": out}
    return "anthropic", told, {"fresh": fresh, "read": read, "short": short + long, "long": 0, "out": out}


def _gemini(f: list[int], _: int) -> tuple[str, Json, Billed]:
    """Cached tokens inside the prompt, those of tools and of thoughts beside their sums."""
    fresh, read, used, said, thought = f[:5]
    told = {
        "promptTokenCount": fresh + read,
        "cachedContentTokenCount": read,
        "toolUsePromptTokenCount": used,
        "candidatesTokenCount": said,
        "thoughtsTokenCount": thought,
        "totalTokenCount": fresh + read + used + said + thought,
    }
    return "gemini", told, {"fresh": fresh + used, "read": read, "short": 0, "long": 0, "out": said + thought}


CASES = {"chat": _chat, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}


def dollars(prices: Dollars, billed: Billed) -> Fraction:
    """Exactly."""
    return sum((Fraction(prices[kind]) * tokens for kind, tokens in billed.items()), Fraction()) / 1_000_000


def price_of(prices: Dollars) -> Price:
    nano = {kind: int(Fraction(price) * 1_000_000_000) for kind, price in prices.items()}
    return Price(nano["fresh"], nano["out"], nano["read"], cache_write_5m=nano["short"], cache_write_1h=nano["long"])


def streamed(dialect: str, told: Json) -> Usage | None:
    """The same figures at the end of a stream."""
    last = {
        "chat": {"id": "x", "choices": [], "usage": told},
        "responses": {"type": "response.completed", "response": REPLIES["responses"] | {"usage": told}},
        "anthropic": {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told},
        "gemini": REPLIES["gemini"] | {"usageMetadata": told},
    }[dialect]
    decoder = TONGUES[dialect].decoder()
    return gathered([*decoder.feed(b"data: " + json.dumps(last).encode() + b"\n\n"), *decoder.end()]).usage


@pytest.mark.parametrize(("dialect", "told", "billed"), list(cases()))
def test_usage_and_cost_are_exact(dialect: str, told: Json, billed: Billed) -> None:
    reply = REPLIES[dialect] | {MEMBER[dialect]: told}
    usage = TONGUES[dialect].answer(json.dumps(reply).encode()).usage
    assert usage is not None
    assert streamed(dialect, told) == usage
    kinds = {"read": usage.cached_input, "short": usage.cache_write_5m, "long": usage.cache_write_1h}
    fresh = usage.input - sum(kinds.values())
    assert {"fresh": fresh, **kinds, "out": usage.output} == billed
    for prices in PRICES.values():
        exact = dollars(prices, billed) * 1_000_000_000
        assert cost_nano_usd(price_of(prices), usage) == math.floor(exact + Fraction(1, 2))


ELSEWHERE = {
    "chat": ("openai", "chat", {"model": "gpt-5"}),
    "responses": ("openai", "responses", {"model": "gpt-5"}),
    "anthropic": ("anthropic", "default", {"model": "claude-sonnet-4-5"}),
    "gemini": ("google", "default", {"modelVersion": "gemini-2.5-pro"}),
}


@pytest.mark.parametrize(("dialect", "told", "billed"), list(cases()))
def test_a_library_that_others_wrote_reads_them_alike(dialect: str, told: Json, billed: Billed) -> None:
    """The reference is no invention of ours."""
    provider, flavour, model = ELSEWHERE[dialect]
    reply = REPLIES[dialect] | model | {MEMBER[dialect]: told}
    theirs = extract_usage(reply, provider_id=provider, api_flavor=flavour).usage
    written = billed["short"] + billed["long"]
    assert theirs.input_tokens == billed["fresh"] + billed["read"] + written
    assert (theirs.cache_read_tokens or 0, theirs.cache_write_tokens or 0) == (billed["read"], written)
    assert theirs.output_tokens == billed["out"]


@pytest.mark.parametrize("dialect", TONGUES)
@pytest.mark.parametrize("told", [None, {}, [], "x", {"x": 1}])
def test_no_usage_is_not_zero_usage(dialect: str, told: object) -> None:
    reply = REPLIES[dialect] | {MEMBER[dialect]: told}
    assert TONGUES[dialect].answer(json.dumps(reply).encode()).usage is None


def test_a_stream_tells_the_last_figure_of_each_kind() -> None:
    events = [
        {"type": "message_start", "message": {"id": "x", "usage": {"input_tokens": 9, "cache_read_input_tokens": 90}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
    decoder = TONGUES["anthropic"].decoder()
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    counted = [event.usage for event in decoder.feed(text) if hasattr(event, "usage")]
    assert counted[-1] == Usage(99, 7, 90)
