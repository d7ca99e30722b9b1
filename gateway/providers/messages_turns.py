"""Anthropic messages answers as turns."""

from gateway.domain.conversation import Citation
from gateway.domain.reply import Usage
from gateway.domain.seals import opened
from gateway.domain.turn import (
    CallFragment,
    CallStarted,
    Cited,
    Counted,
    Ended,
    Failed,
    Finish,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)
from gateway.formats import messages as shapes
from gateway.providers.messages_errors import inner_failure
from gateway.providers.messages_usage import Meter
from gateway.providers.turns import SILENCE, broken

FINISHES = {
    "end_turn": Finish.STOP,
    "pause_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "stop_sequence": Finish.STOP_SEQUENCE,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.FILTER,
}


class MessagesReader:
    """Of one answer. `_said` is how much text the part at hand has, where the open block began in it.

    Invariant: what is told of one block goes to no other.
    """

    __slots__ = ("_block", "_cited", "_fragments", "_index", "_meter", "_said", "_seal", "_since")

    def __init__(self) -> None:
        self._meter = Meter()
        self._block: shapes.Block | None = None
        self._cited: list[shapes.CitationShape] = []
        self._fragments = False
        self._index: int | None = None
        self._seal = ""
        self._said = 0
        self._since = 0

    def read(self, data: bytes) -> list[TurnEvent]:
        event = shapes.decode_event(data)
        kind = event.type
        if kind == "content_block_start":
            self._index = event.index
            return self._open(event.content_block) if event.content_block is not None else []
        if kind in ("content_block_delta", "content_block_stop"):
            if event.index != self._index and self._block is not None:
                return [broken("the provider's stream mixes content blocks")]
            if kind == "content_block_stop":
                return self._stop()
            return self._delta(event.delta) if event.delta is not None else []
        if kind == "message_start":
            message = event.message or shapes.StartedMessage()
            self._meter.add(message.usage)
            return [Started(message.id or "", message.model or "")]
        if kind == "message_delta":
            return self._last(event)
        if kind == "message_stop":
            return [Ended()]
        if kind == "error":
            return [Failed(inner_failure(bytes(event.error)))]
        return [SILENCE]

    def close(self) -> list[TurnEvent]:
        return []

    def whole(self, reply: shapes.Reply) -> list[TurnEvent]:
        events: list[TurnEvent] = [Started(reply.id or "", reply.model or "")]
        for block in reply.content or ():
            events += self._open(block)
            self._cited += block.citations or ()
            self._seal = block.signature or ""
            events += self._stop()
        self._meter.add(reply.usage)
        if reply.stop_reason is not None:
            events.append(_finished(reply.stop_reason, reply.stop_sequence))
        if (usage := self._meter.usage) is not None:
            events.append(Counted(usage))
        return events

    def _open(self, block: shapes.Block) -> list[TurnEvent]:
        self._block, self._fragments, self._seal, self._cited = block, False, "", []
        if block.type == "text":
            self._since = self._said
            return self._text(block.text)
        self._said = 0
        if block.type == "tool_use":
            return [CallStarted(block.id or "", block.name or "")]
        if block.type == "thinking":
            return [ThinkingDelta(block.thinking)] if block.thinking else []
        if block.type == "redacted_thinking":
            return [ThinkingSealed(*opened(block.data or "", "anthropic")[:2], hidden=True)]
        return []

    def _text(self, text: str | None) -> list[TurnEvent]:
        if not text:
            return []
        self._said += len(text)
        return [TextDelta(text)]

    def _delta(self, delta: shapes.Delta) -> list[TurnEvent]:
        """Deltas of blocks that are not translated, such as searches of the provider's own, say nothing here."""
        open_type = "" if self._block is None else self._block.type
        if open_type == "text":
            if delta.citation is not None:
                self._cited.append(delta.citation)
            return self._text(delta.text)
        if open_type == "tool_use" and delta.partial_json:
            self._fragments = True
            return [CallFragment(delta.partial_json)]
        if open_type == "thinking":
            self._seal += delta.signature or ""
            return [ThinkingDelta(delta.thinking)] if delta.thinking else []
        return []

    def _stop(self) -> list[TurnEvent]:
        block, self._block = self._block, None
        if block is None:
            return []
        if block.type == "tool_use" and not self._fragments:
            return [CallFragment(bytes(block.input).decode() or "{}")]
        if block.type == "thinking" and self._seal:
            return [ThinkingSealed(*opened(self._seal, "anthropic"))]
        found = [Citation(cited.url, cited.title or "", self._since, self._said) for cited in self._cited if cited.url]
        return [Cited(citation) for citation in found]

    def _last(self, event: shapes.Event) -> list[TurnEvent]:
        self._meter.add(event.usage)
        events: list[TurnEvent] = []
        if event.delta is not None and event.delta.stop_reason is not None:
            events.append(_finished(event.delta.stop_reason, event.delta.stop_sequence))
        usage: Usage | None = self._meter.usage
        if usage is not None:
            events.append(Counted(usage))
        return events


def _finished(reason: str, stopped_by: str | None) -> Finished:
    return Finished(FINISHES.get(reason, Finish.STOP), 0, stopped_by or "")
