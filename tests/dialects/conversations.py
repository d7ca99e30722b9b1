"""Conversations and turns by seed: cheap to make, so that thousands can be tried."""

import random
from collections.abc import Iterator
from dataclasses import replace

from gateway.domain.conversation import (
    Citation,
    Conversation,
    Effort,
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
    ToolChoice,
    ToolMode,
    ToolResult,
)
from gateway.domain.gathering import AnswerPart
from gateway.domain.reply import Usage
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
    Silence,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)

WORDS = (
    "a",
    "Hello ",
    "two words",
    "\n\n",
    '"quoted"',
    "\\",
    "ß",
    "日本語",
    "🦊",
    "\u2028",
    "data: x",
    "{}",
    "\t",
    "é\r\n",
)
ARGUMENTS = ("{}", '{"city":"Paris"}', '{"a":[1,2,{"b":null}],"c":"\\"\\\\n"}', '{"text":"日本🦊","n":-1.5}')
ORIGINS = ("openai", "anthropic", "gemini")
SCHEMAS = (b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}', b'{"type":"object"}')


class Dice:
    """All that is made of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def coin(self, chance: float = 0.5) -> bool:
        return self._random.random() < chance

    def one(self, options: tuple) -> object:
        return options[int(self._random.random() * len(options))]

    def count(self, most: int) -> int:
        return int(self._random.random() * (most + 1))

    def id(self) -> str:
        self._number += 1
        return f"call_{self._number}_{self.count(999)}"

    def text(self) -> str:
        return "".join([str(self.one(WORDS)) for _ in range(1 + self.count(4))])

    def cut(self, text: str) -> list[str]:
        """The same text in pieces."""
        pieces = []
        while text:
            size = 1 + self.count(8)
            pieces.append(text[:size])
            text = text[size:]
        return pieces

    def chunks(self, text: bytes) -> Iterator[bytes]:
        """The same bytes, cut anywhere."""
        at = 0
        largest = int(self.one((1, 7, 60, 400)))  # type: ignore[call-overload]  # a number
        while at < len(text):
            size = 1 + self.count(largest)
            yield text[at : at + size]
            at += size


def turn(dice: Dice, choices: int) -> Answer:
    usage = None
    if dice.coin(0.8):
        cached, short, long, thought = dice.count(20), dice.count(20), dice.count(20), dice.count(30)
        usage = Usage(cached + short + long + dice.count(50), thought + dice.count(50), cached, thought, short, long)
    return Answer(f"resp_{dice.count(10**9):x}", "m-1", tuple(_choice(dice) for _ in range(choices)), usage)


def _choice(dice: Dice) -> Choice:
    parts: list[AnswerPart] = []
    called = False
    for _ in range(dice.count(5)):
        kind, last = dice.count(3), parts[-1] if parts else None
        if kind == 0 and not isinstance(last, Thinking):
            parts.append(_thinking(dice))
        elif kind == 1:
            called = True
            parts.append(ToolCall(dice.id(), f"tool_{dice.count(3)}", str(dice.one(ARGUMENTS))))
        elif not isinstance(last, Text):
            text = dice.text()
            cited = [Citation(f"https://x.org/{n}", dice.text(), 0, len(text)) for n in range(dice.count(2))]
            parts.append(Text(text, "", tuple(cited) if dice.coin(0.3) else ()))
    if not any(isinstance(part, Text) for part in parts) and dice.coin(0.2):
        parts.append(Refusal(dice.text()))
    if sum(isinstance(part, Text) for part in parts) > 1:
        parts = [Text(part.text) if isinstance(part, Text) else part for part in parts]
    finishes = (Finish.TOOL_CALLS, Finish.LENGTH) if called else (Finish.STOP, Finish.LENGTH, Finish.STOP_SEQUENCE)
    finish = dice.one((*finishes, Finish.FILTER))
    assert isinstance(finish, Finish)
    return Choice(tuple(parts), finish, "END" if finish is Finish.STOP_SEQUENCE else "")


def _thinking(dice: Dice) -> Thinking:
    if dice.coin(0.3):
        return Thinking(dice.text())
    hidden = dice.coin(0.2)
    text = "" if hidden or dice.coin(0.2) else dice.text()
    return Thinking(text, f"sig{dice.count(99)}==", "anthropic" if hidden else str(dice.one(ORIGINS)), hidden)


def events_of(answer: Answer, dice: Dice) -> Iterator[TurnEvent]:
    yield Started(answer.id, answer.model)
    for at, choice in enumerate(answer.choices):
        for part in choice.parts:
            yield from _part_events(part, at, dice)
            if dice.coin(0.1):
                yield Silence()
        yield Finished(choice.finish, at, choice.stopped_by)
    if answer.usage is not None:
        yield Counted(answer.usage)
    yield Ended()


def _part_events(part: AnswerPart, at: int, dice: Dice) -> Iterator[TurnEvent]:
    match part:
        case Text():
            yield from (TextDelta(piece, at) for piece in dice.cut(part.text))
            yield from (Cited(citation, at) for citation in part.citations)
        case Thinking():
            yield from (ThinkingDelta(piece, at) for piece in dice.cut(part.text))
            if part.signature:
                yield ThinkingSealed(part.signature, part.origin, part.hidden, at)
        case Refusal():
            yield from (RefusalDelta(piece, at) for piece in dice.cut(part.text))
        case ToolCall():
            yield CallStarted(part.id, part.name, at)
            yield from (CallFragment(piece, at) for piece in dice.cut(part.arguments))


def told(answer: Answer, dialect: str, *, whole: bool) -> Answer:
    """What a dialect can say of a turn."""
    usage = answer.usage
    if usage is not None and dialect == "gemini":
        usage = Usage(usage.input, usage.output, usage.cached_input, usage.reasoning)
    elif usage is not None and dialect != "anthropic":
        usage = replace(usage, cache_write_5m=usage.cache_write_5m + usage.cache_write_1h, cache_write_1h=0)
    elif usage is None and dialect == "anthropic":
        usage = Usage()
    return replace(answer, choices=tuple(_told(choice, dialect, whole=whole) for choice in answer.choices), usage=usage)


def _told(choice: Choice, dialect: str, *, whole: bool) -> Choice:
    parts, finish = list(choice.parts), choice.finish
    refused = any(isinstance(part, Refusal) for part in parts)
    if dialect in ("anthropic", "gemini"):
        parts = [Text(part.text) if isinstance(part, Refusal) else part for part in parts]
        if refused and dialect == "anthropic" and finish is Finish.STOP:
            finish = Finish.FILTER
    if whole and dialect == "chat":
        parts.sort(key=lambda part: (isinstance(part, ToolCall), not isinstance(part, Thinking)))
        parts = list(_joined(parts))
    if finish is Finish.STOP_SEQUENCE and dialect != "anthropic":
        return Choice(tuple(parts), Finish.STOP)
    return Choice(tuple(parts), finish, choice.stopped_by)


def _joined(parts: list[AnswerPart]) -> Iterator[AnswerPart]:
    """Pieces of one kind that stand side by side are one."""
    before: AnswerPart | None = None
    for part in parts:
        if isinstance(before, Text) and isinstance(part, Text):
            size = len(before.text)
            moved = tuple(replace(c, start=c.start + size, end=c.end + size) for c in part.citations)
            before = Text(before.text + part.text, "", before.citations + moved)
        elif isinstance(before, Thinking) and not before.signature and isinstance(part, Thinking) and not part.hidden:
            before = replace(part, text=before.text + part.text)
        else:
            if before is not None:
                yield before
            before = part
    if before is not None:
        yield before


def conversation(dice: Dice) -> Conversation:
    tools = tuple(_tool(dice, n) for n in range(dice.count(2)))
    choice = None
    if tools and dice.coin(0.4):
        mode = dice.one((ToolMode.NONE, ToolMode.REQUIRED, ToolMode.NAMED))
        assert isinstance(mode, ToolMode)
        choice = ToolChoice(mode, tools[0].name if mode is ToolMode.NAMED else "")
    parallel = False if tools and dice.coin(0.2) and (choice is None or choice.mode is not ToolMode.NONE) else None
    return Conversation(
        messages=tuple(_messages(dice)),
        system=tuple(Text(dice.text(), _cache(dice)) for _ in range(dice.count(2))),
        tools=tools,
        tool_choice=choice,
        parallel=parallel,
        format=_format(dice) if dice.coin(0.2) else None,
        output_tokens=100_000,
        sampling=_sampling(dice) if dice.coin(0.5) else Sampling(),
        stop=tuple(f"END{n}" for n in range(dice.count(6))) if dice.coin(0.2) else (),
        effort=_effort(dice) if dice.coin(0.3) else None,
        choices=1 + dice.count(2) if dice.coin(0.1) else 1,
        user="u-1" if dice.coin(0.2) else "",
    )


def _cache(dice: Dice) -> str:
    return str(dice.one(("5m", "1h"))) if dice.coin(0.1) else ""


def _messages(dice: Dice) -> Iterator[Message]:
    calls: list[ToolCall] = []
    for _ in range(1 + dice.count(3)):
        results: list[Part] = [_result(dice, call) for call in calls]
        said: list[Part] = [_said(dice) for _ in range(dice.count(2))]
        yield Message(Role.USER, tuple(results + (said if results else [Text(dice.text(), _cache(dice)), *said])))
        calls = [ToolCall(dice.id(), f"tool_{n}", str(dice.one(ARGUMENTS)), _cache(dice)) for n in range(dice.count(2))]
        parts: list[Part] = [_thinking(dice)] if dice.coin(0.4) else []
        parts += [Text(dice.text()) for _ in range(dice.count(2))]
        if dice.coin(0.1):
            parts.append(Refusal(dice.text()))
        if dice.coin(0.2):
            parts += [*calls, Text(dice.text())]
        else:
            parts += calls
        yield Message(Role.ASSISTANT, tuple(parts))
    if calls:
        yield Message(Role.USER, tuple(_result(dice, call) for call in calls))


def _said(dice: Dice) -> Part:
    kind = dice.count(5)
    if kind == 0:
        return Media("image", "image/png", "aGk=", detail="low" if dice.coin() else "", cache=_cache(dice))
    if kind == 1:
        return Media("image", "", "", "https://x.org/image.png")
    if kind == 2:
        return Media("file", "application/pdf", "aGk=", name="a.pdf")
    if kind == 3:
        return Media("audio", "audio/wav", "aGk=")
    return Text(dice.text(), _cache(dice))


def _result(dice: Dice, call: ToolCall) -> ToolResult:
    parts: list[Text | Media] = [Text(dice.text()) for _ in range(dice.count(2))]
    if dice.coin(0.1):
        parts.append(Media("image", "image/png", "aGk="))
    return ToolResult(call.id, call.name, tuple(parts), dice.coin(0.1), _cache(dice))


def _tool(dice: Dice, number: int) -> Tool:
    schema = dice.one(SCHEMAS)
    assert isinstance(schema, bytes)
    return Tool(f"tool_{number}", dice.text() if dice.coin() else "", schema, dice.coin(0.2) or None, _cache(dice))


def _format(dice: Dice) -> OutputFormat:
    if dice.coin(0.3):
        return OutputFormat()
    return OutputFormat(SCHEMAS[0], "answer", dice.text() if dice.coin() else "", dice.coin() or None)


def _sampling(dice: Dice) -> Sampling:
    return Sampling(
        dice.one((None, 0.0, 0.5, 1.0, 1.5)),  # type: ignore[arg-type]  # all are
        dice.one((None, 0.25, 1.0)),  # type: ignore[arg-type]
        dice.one((None, 40)),  # type: ignore[arg-type]
        dice.one((None, 7)),  # type: ignore[arg-type]
        dice.one((None, 0.5)),  # type: ignore[arg-type]
        dice.one((None, -0.5)),  # type: ignore[arg-type]
    )


def _effort(dice: Dice) -> Effort:
    if dice.coin(0.3):
        return Effort(off=True)
    return Effort(str(dice.one(("low", "medium", "high")))) if dice.coin() else Effort("", 1024 + dice.count(30_000))
