"""Gemini answers as turns."""

from gateway.domain.conversation import Citation
from gateway.domain.failure import Failure, FailureKind, Sent
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
from gateway.formats import gemini as shapes
from gateway.providers.gemini_errors import inner_failure
from gateway.providers.gemini_usage import usage_of

FINISHES = {"STOP": Finish.STOP, "MAX_TOKENS": Finish.LENGTH, "CONTINUATION": Finish.LENGTH} | dict.fromkeys(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    ),
    Finish.FILTER,
)
SPOILED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"})
"""The model meant to call a tool and its call could not be read: there is no answer."""

SAID_BYTES_MAX = 1 << 20
"""So much of an answer is kept for the places of its citations, which are told at its end."""


class GeminiReader:
    """Of one answer: each event is a whole answer of its own, with what is new. There is no end marker."""

    __slots__ = ("_answered", "_called", "_ended", "_id", "_said", "_usage")

    def __init__(self) -> None:
        self._id = ""
        self._answered: set[int] = set()
        self._ended: set[int] = set()
        self._called: dict[int, int] = {}
        self._said: dict[int, bytearray] = {}
        self._usage: Usage | None = None

    def read(self, data: bytes) -> list[TurnEvent]:
        return self.events(shapes.decode_reply(data))

    def close(self) -> list[TurnEvent]:
        """A stream is whole when every answer in it has said why it ended."""
        if not self._ended or self._ended < self._answered:
            return []
        counted: list[TurnEvent] = [] if self._usage is None else [Counted(self._usage)]
        return [*counted, Ended()]

    def events(self, reply: shapes.Reply) -> list[TurnEvent]:
        if (error := bytes(reply.error)) and error != b"null":
            return [Failed(inner_failure(error))]
        events: list[TurnEvent] = []
        if not self._id:
            self._id = reply.response_id or "gemini"
            events.append(Started(self._id, reply.model_version or ""))
        self._usage = usage_of(reply.usage_metadata) or self._usage
        for candidate in reply.candidates or ():
            self._candidate(candidate, events)
        if not reply.candidates and reply.prompt_feedback is not None and reply.prompt_feedback.block_reason:
            events.append(Failed(self._blocked(reply.prompt_feedback.block_reason)))
        return events

    def whole(self, reply: shapes.Reply) -> list[TurnEvent]:
        return self.events(reply) + self.close()

    def _blocked(self, reason: str) -> Failure:
        """The prompt itself was refused, in a 200 and without an answer, and counted all the same."""
        message = f"the provider's content filter blocked the prompt ({reason})"
        return Failure(FailureKind.CONTENT_FILTER, message, 200, sent=Sent.YES, usage=self._usage)

    def _spoiled(self, reason: str) -> Failure:
        message = f"the provider's model has spoiled its call of a tool ({reason})"
        return Failure(FailureKind.MALFORMED_STREAM, message, 200, sent=Sent.YES, usage=self._usage)

    def _candidate(self, candidate: shapes.Candidate, events: list[TurnEvent]) -> None:
        choice = candidate.index
        self._answered.add(choice)
        content = candidate.content
        for part in (content.parts or ()) if content is not None else ():
            self._part(part, choice, events)
        if candidate.grounding_metadata is not None:
            said = self._said.get(choice, b"")
            events += [Cited(citation, choice) for citation in _citations(candidate.grounding_metadata, said)]
        if candidate.finish_reason in SPOILED:
            events.append(Failed(self._spoiled(candidate.finish_reason)))
        elif candidate.finish_reason is not None:
            finish = FINISHES.get(candidate.finish_reason, Finish.STOP)
            if finish is Finish.STOP and self._called.get(choice):
                finish = Finish.TOOL_CALLS
            self._ended.add(choice)
            events.append(Finished(finish, choice))

    def _part(self, part: shapes.Part, choice: int, events: list[TurnEvent]) -> None:
        """A signature belongs to what was thought before the part that bears it."""
        if part.thought:
            if part.text:
                events.append(ThinkingDelta(part.text, choice))
            if part.thought_signature:
                events.append(ThinkingSealed(*opened(part.thought_signature, "gemini"), choice=choice))
            return
        if part.thought_signature:
            events.append(ThinkingSealed(*opened(part.thought_signature, "gemini"), choice=choice))
        if part.text:
            said = self._said.setdefault(choice, bytearray())
            if len(said) < SAID_BYTES_MAX:
                said += part.text.encode()
            events.append(TextDelta(part.text, choice))
        if part.function_call is not None:
            call, number = part.function_call, self._called.get(choice, 0)
            self._called[choice] = number + 1
            events.append(CallStarted(call.id or f"call_{self._id}_{choice}_{number}", call.name, choice))
            events.append(CallFragment(bytes(call.args).decode() or "{}", choice))


def _citations(grounding: shapes.Grounding, said: bytes | bytearray) -> list[Citation]:
    """Places are told in bytes there, and in characters here."""
    chunks = grounding.grounding_chunks or []
    found: list[Citation] = []
    for support in grounding.grounding_supports or ():
        segment = support.segment or shapes.Segment()
        start, end = (
            len(said[: max(0, place)].decode(errors="ignore")) for place in (segment.start_index, segment.end_index)
        )
        for place in support.grounding_chunk_indices or ():
            web = chunks[place].web if 0 <= place < len(chunks) else None
            if web is not None and web.uri:
                found.append(Citation(web.uri, web.title, start, end))
    return found
