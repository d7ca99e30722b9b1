"""Gathers the events of a turn into its whole answer."""

from gateway.domain.conversation import Citation, Refusal, Text, Thinking, ToolCall
from gateway.domain.reply import Usage
from gateway.domain.turn import (
    Answer,
    CallFragment,
    CallStarted,
    Choice,
    Cited,
    Counted,
    Finish,
    Finished,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)

AnswerPart = Text | Thinking | Refusal | ToolCall


class Gathering:
    """`add` each event in order; `answer` is the whole so far. Deltas of one kind are one part until another comes."""

    __slots__ = ("_choices", "id", "model", "usage")

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self._choices: dict[int, _Growing] = {}

    def add(self, event: TurnEvent) -> None:
        if isinstance(event, Started):
            self.id, self.model = event.id, event.model
        elif isinstance(event, Counted):
            self.usage = event.usage
        elif isinstance(event, TextDelta | ThinkingDelta | RefusalDelta | ThinkingSealed | Cited):
            self.choice(event.choice).say(event)
        elif isinstance(event, CallStarted | CallFragment | Finished):
            self.choice(event.choice).act(event)

    def choice(self, number: int) -> "_Growing":
        found = self._choices.get(number)
        if found is None:
            found = self._choices[number] = _Growing()
        return found

    @property
    def answer(self) -> Answer:
        choices = tuple(self._choices[number].whole for number in sorted(self._choices))
        return Answer(self.id, self.model, choices, self.usage)


class _Growing:
    """One choice: finished parts, and the pieces of the last one."""

    __slots__ = ("_call", "_cited", "_finish", "_kind", "_parts", "_pieces", "_stopped_by")

    def __init__(self) -> None:
        self._parts: list[AnswerPart] = []
        self._kind: type[AnswerPart] | None = None
        self._pieces: list[str] = []
        self._cited: list[Citation] = []
        self._call = ("", "")
        self._finish = Finish.STOP
        self._stopped_by = ""

    def say(self, event: TextDelta | ThinkingDelta | RefusalDelta | ThinkingSealed | Cited) -> None:
        if isinstance(event, TextDelta):
            self._turn_to(Text)
            self._pieces.append(event.text)
        elif isinstance(event, ThinkingDelta):
            self._turn_to(Thinking)
            self._pieces.append(event.text)
        elif isinstance(event, RefusalDelta):
            self._turn_to(Refusal)
            self._pieces.append(event.text)
        elif isinstance(event, ThinkingSealed):
            if event.hidden:
                self._close()
            self._turn_to(Thinking)
            self._parts.append(Thinking("".join(self._pieces), event.signature, event.origin, event.hidden))
            self._kind, self._pieces = None, []
        elif self._kind is Text:
            self._cited.append(event.citation)
        else:
            self._cite_before(event.citation)

    def act(self, event: CallStarted | CallFragment | Finished) -> None:
        if isinstance(event, CallStarted):
            self._close()
            self._kind, self._call = ToolCall, (event.id, event.name)
        elif isinstance(event, CallFragment):
            self._pieces.append(event.text)
        else:
            self._finish, self._stopped_by = event.finish, event.stopped_by

    @property
    def whole(self) -> Choice:
        self._close()
        return Choice(tuple(self._parts), self._finish, self._stopped_by)

    def _cite_before(self, citation: Citation) -> None:
        for place in range(len(self._parts) - 1, -1, -1):
            part = self._parts[place]
            if isinstance(part, Text):
                self._parts[place] = Text(part.text, "", (*part.citations, citation))
                return

    def _turn_to(self, kind: type[AnswerPart]) -> None:
        if self._kind is not kind:
            self._close()
            self._kind = kind

    def _close(self) -> None:
        text = "".join(self._pieces)
        if self._kind is Text:
            self._parts.append(Text(text, "", tuple(self._cited)))
        elif self._kind is Thinking:
            self._parts.append(Thinking(text))
        elif self._kind is Refusal:
            self._parts.append(Refusal(text))
        elif self._kind is ToolCall:
            self._parts.append(ToolCall(*self._call, text))
        self._kind, self._pieces, self._cited = None, [], []
