"""Chat-completions answers as turns."""

from gateway.domain.conversation import Citation
from gateway.domain.seals import opened
from gateway.domain.turn import (
    Cited,
    Counted,
    Ended,
    Failed,
    Finish,
    Finished,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)
from gateway.formats import chat_turns as shapes
from gateway.providers.calls import CallQueue, TooMuchHeld
from gateway.providers.openai_errors import inner_failure
from gateway.providers.openai_usage import usage_of
from gateway.providers.turns import broken

FINISHES = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.FILTER,
}


class ChatReader:
    """Of one answer."""

    __slots__ = ("_calls", "_named")

    def __init__(self) -> None:
        self._named = False
        self._calls: dict[int, CallQueue] = {}

    def read(self, data: bytes) -> list[TurnEvent]:
        if data.strip() == b"[DONE]":
            return [Ended()]
        return self.events(shapes.decode_turn(data))

    def close(self) -> list[TurnEvent]:
        return []

    def events(self, turn: shapes.Turn) -> list[TurnEvent]:
        """A whole answer gives all its events at once."""
        if (error := bytes(turn.error)) and error != b"null":
            return [Failed(inner_failure(error))]
        events: list[TurnEvent] = []
        if not self._named and turn.id is not None:
            self._named = True
            events.append(Started(turn.id, turn.model or ""))
        try:
            for choice in turn.choices or ():
                self._choice(choice, events)
        except TooMuchHeld:
            return [*events, broken("the provider's stream has tool calls that are too large to be put in order")]
        usage = usage_of(turn.usage)
        if usage is not None:
            events.append(Counted(usage))
        return events

    def whole(self, turn: shapes.Turn) -> list[TurnEvent]:
        events = self.events(turn)
        for queue in self._calls.values():
            events += queue.close()
        return events

    def _choice(self, choice: shapes.TurnChoice, events: list[TurnEvent]) -> None:
        said = choice.delta or choice.message
        if said is not None:
            _say(said, choice.index, events)
            for note in said.annotations or ():
                _cite(note, choice.index, events)
            if said.tool_calls:
                self._call(choice.index, said.tool_calls, events)
        if choice.finish_reason is not None:
            if choice.index in self._calls:
                events += self._calls.pop(choice.index).close()
            events.append(Finished(FINISHES.get(choice.finish_reason, Finish.STOP), choice.index))

    def _call(self, choice: int, pieces: list[shapes.CallPiece], events: list[TurnEvent]) -> None:
        queue = self._calls.get(choice)
        if queue is None:
            queue = self._calls[choice] = CallQueue(choice)
        for place, piece in enumerate(pieces):
            function = piece.function
            name = (function.name or "") if function is not None else ""
            text = (function.arguments or "") if function is not None else ""
            events += queue.piece(place if piece.index is None else piece.index, piece.id or "", name, text)


def _say(said: shapes.Said, choice: int, events: list[TurnEvent]) -> None:
    details = said.reasoning_details
    if details:
        for detail in details:
            if detail.text:
                events.append(ThinkingDelta(detail.text, choice))
            if seal := detail.signature or detail.data:
                hidden = detail.type == "reasoning.encrypted"
                events.append(ThinkingSealed(*opened(seal, "")[:2], hidden, choice))
    elif thought := said.reasoning_content or said.reasoning:
        events.append(ThinkingDelta(thought, choice))
    if said.content:
        events.append(TextDelta(said.content, choice))
    if said.refusal:
        events.append(RefusalDelta(said.refusal, choice))


def _cite(note: shapes.Annotation, choice: int, events: list[TurnEvent]) -> None:
    cited = note.url_citation
    if cited is not None and cited.url:
        citation = Citation(cited.url, cited.title or "", cited.start_index or 0, cited.end_index or 0)
        events.append(Cited(citation, choice))
