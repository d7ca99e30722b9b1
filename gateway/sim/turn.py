"""What the model says this time: the same for every dialect."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from gateway.sim.ask import Ask, Dialect, Tool, count_tokens
from gateway.sim.example import example
from gateway.sim.script import Answer, Source, ToolCall

SPEECHLESS: Final = frozenset((Dialect.EMBEDDINGS, Dialect.COUNT_TOKENS))
HUGE_TOKENS: Final = 10**12
ECHO_CHARS_MAX: Final = 2_000
_WORDS: Final = (
    "the ",
    "gateway ",
    "counts ",
    "every ",
    "token ",
    "once ",
    "and ",
    "gives ",
    "back ",
    "what ",
    "was ",
    "left ",
)


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: str
    fragments: int

    @property
    def tokens(self) -> int:
        return count_tokens(self.name) + count_tokens(self.arguments)


@dataclass(frozen=True, slots=True)
class Choice:
    text: str
    calls: tuple[Call, ...]
    finish: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """`cached` and `cache_write` are inside `input`, `reasoning` inside `output`."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    model: str
    created_s: int
    choices: tuple[Choice, ...]
    tokens: Tokens
    shown: Tokens | None
    """The usage to report; None: none, or null."""
    usage_null: bool = False
    """Show `usage: null` rather than nothing."""
    thinking: str | None = None
    service_tier: str = "default"
    citations: tuple[Source, ...] = ()


def compose(ask: Ask, answer: Answer, seed: int, number: int, created_s: int) -> Turn:
    """The answer to the `number`-th call; the same for the same arguments."""
    name = f"{seed & 0xFFFF:04x}{number:012x}"
    thinking_tokens = count_tokens(answer.thinking or "")
    reasoning = answer.reasoning_tokens + thinking_tokens
    limited = ask.output_tokens_max is not None and not answer.ignore_output_limit
    room = max(0, (ask.output_tokens_max or 0) - reasoning) if limited else None
    choices: tuple[Choice, ...] = ()
    if not answer.empty_choices and ask.dialect not in SPEECHLESS:
        choices = tuple(_choice(ask, answer, f"{name}{at:02x}", seed + at, room) for at in range(ask.choices))
    output = reasoning + sum(count_tokens(c.refusal or c.text) + sum(call.tokens for call in c.calls) for c in choices)
    given = ask.input_tokens if answer.input_tokens is None else answer.input_tokens
    cached = min(answer.cached_tokens, given)
    tokens = Tokens(given, cached, min(answer.cache_write_tokens, given - cached), output, reasoning)
    return Turn(
        name,
        ask.model,
        created_s,
        choices,
        tokens,
        _shown(answer, ask, tokens),
        answer.usage == "null",
        answer.thinking,
        answer.service_tier,
        answer.citations,
    )


def slices(text: str, events: int | None) -> Iterator[tuple[str, int]]:
    """The pieces a stream sends, each with the tokens it adds."""
    size = 4 if events is None else max(1, -(-len(text) // events))
    tokens = 0
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        before, tokens = tokens, (at + len(piece) + 3) // 4
        yield piece, tokens - before


def _choice(ask: Ask, answer: Answer, name: str, seed: int, room: int | None) -> Choice:
    if answer.refusal is not None:
        return Choice("", (), answer.finish_reason or "stop", answer.refusal)
    calls = _calls(ask, answer, name)
    text = answer.text if calls else _text(ask, answer, seed)
    text = text or ""
    finish = "tool_calls" if calls else "stop"
    if room is not None and count_tokens(text) > room:
        text, finish = text[: room * 4], "length"
    return Choice(text, calls, answer.finish_reason or finish)


def _text(ask: Ask, answer: Answer, seed: int) -> str:
    if answer.text is not None:
        return answer.text
    if answer.text_chars is not None:
        return prose(seed, answer.text_chars)
    said = ask.said[:ECHO_CHARS_MAX]
    if ask.schema is not None:
        return msgspec.json.encode(example(ask.schema, said or "text")).decode()
    return f"Hello from the simulator. You said: {said}" if said else "Hello from the simulator."


def _calls(ask: Ask, answer: Answer, name: str) -> tuple[Call, ...]:
    if ask.tool_choice == "none" or (ask.after_tool and not ask.tool_choice.startswith("=")):
        return ()
    wanted = answer.tool_calls or _unscripted(ask)
    return tuple(_call(ask, one, at, name) for at, one in enumerate(wanted) if one.name or ask.tools)


def _unscripted(ask: Ask) -> tuple[ToolCall, ...]:
    """Without a script a tool is called when the request insists, or the user names it."""
    if ask.tool_choice.startswith("="):
        return (ToolCall(ask.tool_choice[1:]),)
    if ask.tool_choice == "required":
        return (ToolCall(""),)
    return tuple(ToolCall(tool.name) for tool in ask.tools if tool.name in ask.said)


def _call(ask: Ask, wanted: ToolCall, at: int, name: str) -> Call:
    tool = next((tool for tool in ask.tools if tool.name == wanted.name), None)
    if tool is None:
        tool = Tool(wanted.name, {}) if wanted.name else ask.tools[at % len(ask.tools)]
    arguments = wanted.arguments or example({"type": "object", **tool.schema}, ask.said[:100] or "text")
    return Call(f"{name}{at:02x}", tool.name, msgspec.json.encode(arguments).decode(), wanted.fragments)


def _shown(answer: Answer, ask: Ask, tokens: Tokens) -> Tokens | None:
    match answer.usage:
        case "never" | "null":
            return None
        case "zero":
            return Tokens(0, 0, 0, 0, 0)
        case "negative":
            return Tokens(-tokens.input, 0, 0, -5, 0)
        case "huge":
            return Tokens(HUGE_TOKENS, 0, 0, HUGE_TOKENS, 0)
        case "asked":
            return tokens if ask.include_usage or not ask.stream else None
        case "always":
            return tokens


@lru_cache(maxsize=64)
def prose(seed: int, chars: int) -> str:
    """Seeded text of exactly so many ASCII characters."""
    dice = random.Random(seed)
    words = "".join(dice.choices(_WORDS, k=min(chars, 4_096) // 4 + 1))
    return (words * (chars // len(words) + 1))[:chars]
