"""Fits a conversation to what a dialect can express, and says what is lost."""

from dataclasses import replace
from typing import TypeVar

from gateway.domain.abilities import Abilities
from gateway.domain.conversation import (
    Conversation,
    Effort,
    Loss,
    Media,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
)

EFFORT_TOKENS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
EFFORT_TOKENS_MIN = 1_024
"""Less than that is no thinking at Anthropic."""

FORMAT_NAME = "answer"
"""What a schema without a name is called where it needs one."""

_T = TypeVar("_T")

_RANK: dict[type, int] = {Thinking: 0, Text: 1, Refusal: 2, Media: 3, ToolCall: 4, ToolResult: 5}


def fit(given: Conversation, able: Abilities) -> tuple[Conversation, tuple[Loss, ...]]:
    """What arrives, and what of it does not, each field once. Fitting twice is fitting once."""
    fitting = _Fitting(able)
    fitted = replace(
        given,
        system=tuple(fitting.text(text) for text in given.system if text.text),
        messages=fitting.messages(given.messages),
        tools=tuple(fitting.tool(tool) for tool in given.tools),
        sampling=fitting.sampling(given.sampling),
        stop=fitting.stop(given.stop),
        format=fitting.format(given.format),
        effort=fitting.effort(given.effort),
        parallel=fitting.parallel(given.parallel),
        user=given.user if able.user else fitting.lose("user", given.user, "", hint=True),
        choices=given.choices if able.choices or given.choices == 1 else fitting.lose("choices", given.choices, 1),
        losses=(),
    )
    if able.origin == "anthropic":
        fitted = _without_broken_thinking(fitted, fitting)
    return fitted, (*given.losses, *(Loss(field, hint) for field, hint in fitting.lost.items()))


class _Fitting:
    """`lost` maps a field to whether it was a hint."""

    __slots__ = ("able", "lost")

    def __init__(self, able: Abilities) -> None:
        self.able = able
        self.lost: dict[str, bool] = {}

    def lose(self, field: str, had: object, left: _T, *, hint: bool = False) -> _T:
        if had:
            self.lost[field] = hint and self.lost.get(field, True)
        return left

    def messages(self, given: tuple[Message, ...]) -> tuple[Message, ...]:
        """One after the other by turns; results of tools come first."""
        turns: list[tuple[Role, list[Part]]] = []
        for message in given:
            parts = [fitted for part in message.parts if (fitted := self.part(part, message.role)) is not None]
            if parts and turns and turns[-1][0] is message.role:
                turns[-1][1].extend(parts)
            elif parts:
                turns.append((message.role, parts))
        return tuple(Message(role, self.ordered(role, parts)) for role, parts in turns)

    def ordered(self, role: Role, parts: list[Part]) -> tuple[Part, ...]:
        if role is Role.USER:
            parts.sort(key=lambda part: not isinstance(part, ToolResult))
        elif not self.able.interleaved:
            parts.sort(key=lambda part: _RANK[type(part)])
        return tuple(parts)

    def part(self, part: Part, role: Role) -> Part | None:
        if isinstance(part, Text):
            return self.text(part) if part.text else None
        if isinstance(part, Media):
            return self.media(part) if role is Role.USER else self.lose("assistant media", part, None)
        if isinstance(part, ToolCall):
            return replace(part, cache=self.cache(part.cache))
        if isinstance(part, ToolResult):
            return self.result(part)
        if isinstance(part, Thinking):
            return self.thinking(part)
        return part if self.able.refusals or not part.text else Text(part.text)

    def text(self, text: Text) -> Text:
        citations = text.citations if self.able.citations else self.lose("citations", text.citations, (), hint=True)
        return replace(text, cache=self.cache(text.cache), citations=citations)

    def cache(self, mark: str) -> str:
        return mark if self.able.cache_marks else self.lose("cache_control", mark, "", hint=True)

    def media(self, media: Media) -> Media | None:
        if media.source not in self.able.media:
            return self.lose(media.source.replace("/", " by "), media, None)
        named = media.source in self.able.names
        return replace(
            media,
            name=media.name if named else self.lose("file name", media.name, "", hint=True),
            detail=media.detail if self.able.details else self.lose("detail", media.detail, "", hint=True),
            cache=self.cache(media.cache),
        )

    def result(self, result: ToolResult) -> ToolResult:
        parts = [fitted for part in result.parts if (fitted := self.part(part, Role.USER)) is not None]
        kept = tuple(
            part for part in parts if isinstance(part, Text) or (isinstance(part, Media) and self._media_result())
        )
        if self.able.joined_results and len(kept) > 1:
            kept = (Text("".join(part.text for part in kept if isinstance(part, Text))),)
        failed = result.failed if self.able.failed_results else self.lose("is_error", result.failed, False, hint=True)
        return replace(result, parts=kept, failed=failed, cache=self.cache(result.cache))

    def _media_result(self) -> bool:
        return self.able.media_results or self.lose("media in a tool result", True, False)

    def thinking(self, thinking: Thinking) -> Thinking | None:
        """What another provider's model has thought says nothing here, and its signature would be refused."""
        if thinking.signature and thinking.origin == self.able.origin:
            return thinking
        return self.lose("thinking", thinking, None, hint=True)

    def tool(self, tool: Tool) -> Tool:
        strict = tool.strict if self.able.strict_tools else self.lose("strict", tool.strict, None, hint=True)
        return replace(tool, strict=strict or None, cache=self.cache(tool.cache))

    def sampling(self, given: Sampling) -> Sampling:
        able = self.able
        fitted = given
        if given.temperature is not None and given.temperature > able.temperature_max:
            fitted = replace(fitted, temperature=self.lose("temperature", True, True) and able.temperature_max)
        if given.top_k is not None and not able.top_k:
            fitted = replace(fitted, top_k=self.lose("top_k", True, None))
        if given.seed is not None and not able.seed:
            fitted = replace(fitted, seed=self.lose("seed", True, None, hint=True))
        if not able.penalties:
            self.lose("presence_penalty", given.presence_penalty, None)
            self.lose("frequency_penalty", given.frequency_penalty, None)
            fitted = replace(fitted, presence_penalty=None, frequency_penalty=None)
        return fitted

    def stop(self, given: tuple[str, ...]) -> tuple[str, ...]:
        most = self.able.stops_max
        if most is None or len(given) <= most:
            return given
        return self.lose("stop", given, given[:most])

    def format(self, given: OutputFormat | None) -> OutputFormat | None:
        if given is None:
            return None
        if not given.schema and not self.able.any_json:
            return self.lose("format", given, None)
        if self.able.named_schema:
            return replace(given, name=given.name or FORMAT_NAME) if given.schema else OutputFormat()
        self.lose("format description", given.description, "", hint=True)
        return OutputFormat(given.schema)

    def effort(self, given: Effort | None) -> Effort | None:
        if given is None or given.off:
            return given
        if self.able.effort == "level":
            return Effort(given.level or level_of(given.tokens))
        tokens = given.tokens or EFFORT_TOKENS.get(given.level, EFFORT_TOKENS["medium"])
        most = self.able.effort_max or tokens
        return Effort("", self.lose("effort", tokens > most, min(tokens, most), hint=True))

    def parallel(self, given: bool | None) -> bool | None:
        """Several calls at once are allowed wherever nothing is said."""
        if given is not False:
            return None
        return False if self.able.sequential else self.lose("parallel", True, None)


def level_of(tokens: int | None) -> str:
    if tokens is None:
        return "medium"
    return "low" if tokens <= EFFORT_TOKENS["low"] else "medium" if tokens <= EFFORT_TOKENS["medium"] else "high"


def _without_broken_thinking(given: Conversation, fitting: _Fitting) -> Conversation:
    """While it thinks, Anthropic wants its own thinking before calls whose results it gets, and no other sampling."""
    if given.effort is None or given.effort.off:
        return given
    if _continues_foreign_calls(given.messages) or _forces_a_tool(given):
        return replace(given, effort=fitting.lose("effort", True, None, hint=True))
    if given.sampling.temperature not in (None, 1.0):
        fitting.lose("temperature", True, None, hint=True)
        given = replace(given, sampling=replace(given.sampling, temperature=None))
    return given


def _forces_a_tool(given: Conversation) -> bool:
    return given.tool_choice is not None and given.tool_choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED)


def _continues_foreign_calls(messages: tuple[Message, ...]) -> bool:
    if len(messages) < 2 or not any(isinstance(part, ToolResult) for part in messages[-1].parts):
        return False
    parts = messages[-2].parts
    return any(isinstance(part, ToolCall) for part in parts) and not isinstance(parts[0], Thinking)
