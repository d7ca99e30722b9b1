"""Translation between the dialect of a caller and that of a provider, in the place of the provider's own file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.domain.abilities import Abilities
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Deployment
from gateway.domain.conversation import Conversation, Loss
from gateway.domain.failure import AttemptFailed, Failure
from gateway.domain.fitting import fit
from gateway.domain.gathering import Gathering
from gateway.domain.reply import Reply
from gateway.domain.request import Dialect, ModelRequest
from gateway.domain.stream import EventKind, StreamEvent
from gateway.domain.turn import (
    Answer,
    CallFragment,
    CallStarted,
    Counted,
    Ended,
    Failed,
    Finished,
    RefusalDelta,
    Silence,
    TextDelta,
    ThinkingDelta,
    TurnEvent,
)
from gateway.ports import ProviderDialect

_NOTHING = frozenset({b"null", b"false", b"0", b"0.0", b"{}"})
"""Values of a field that change nothing, lost or not."""


class TurnDecoder(Protocol):
    """Bytes of a provider's stream to events; the same events for any chunking."""

    def feed(self, chunk: bytes) -> list[TurnEvent]: ...
    def end(self) -> list[TurnEvent]: ...


class TurnEncoder(Protocol):
    """Events to bytes for a caller; b"" for what its dialect tells later or not at all."""

    def write(self, event: TurnEvent) -> bytes: ...


class TargetDialect(Protocol):
    """A provider's file, as far as it serves callers of other dialects."""

    ABILITIES: Abilities

    def encode_conversation(
        self,
        conversation: Conversation,
        request: ModelRequest,
        deployment: Deployment,
        deadline_s: float,
        request_id: str,
    ) -> UpstreamCall: ...
    def decode_answer(self, body: bytes) -> list[TurnEvent]: ...
    def decode_turns(self) -> TurnDecoder: ...
    def decode_error(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float
    ) -> Failure: ...


@dataclass(frozen=True, slots=True)
class CallerDialect:
    """`fields` are the names that it has for what the fitting calls otherwise. The number is wall time in seconds."""

    conversation_of: Callable[[dict[str, bytes]], Conversation]
    body_of: Callable[[Answer, ModelRequest, int], bytes]
    encoder: Callable[[ModelRequest, int], TurnEncoder]
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dialects:
    """`natives` by the kind of provider and the caller's dialect; `targets` by the kind, for all other callers."""

    natives: Mapping[tuple[str, Dialect], ProviderDialect]
    targets: Mapping[str, TargetDialect]
    callers: Mapping[Dialect, CallerDialect]


class Interpreter:
    """Of one request: which dialect a deployment is spoken to in, and what is lost on the way."""

    __slots__ = ("_conversation", "_created_s", "_dialects", "_fitted", "_request")

    def __init__(self, dialects: Dialects, request: ModelRequest, created_s: int) -> None:
        self._dialects = dialects
        self._request = request
        self._created_s = created_s
        self._conversation: Conversation | None = None
        self._fitted: dict[str, tuple[Conversation, tuple[Loss, ...]]] = {}

    def dialect(self, deployment: Deployment, *, translated: bool = False) -> ProviderDialect:
        """With `translated` a provider that speaks the caller's dialect is spoken to in its other one."""
        kind = deployment.provider.kind
        native = self._dialects.natives.get((kind, self._request.dialect))
        if native is not None and not translated:
            return native
        conversation, losses = self._fit(kind)
        caller = self._dialects.callers[self._request.dialect]
        lost = tuple(caller.fields.get(loss.field, loss.field) for loss in losses)
        return Translation(self._dialects.targets[kind], caller, conversation, lost, self._created_s)

    def refused(self, deployment: Deployment) -> str | None:
        """The first field whose loss would change what the answer may be. Raises InvalidRequest."""
        kind = deployment.provider.kind
        if (kind, self._request.dialect) in self._dialects.natives:
            refuses, said = deployment.provider.quirks.refuses, self._request.members
            if not refuses:
                return None
            return next((name for name in said if name in refuses and said[name] not in _NOTHING), None)
        field = next((loss.field for loss in self._fit(kind)[1] if not loss.hint), None)
        return None if field is None else self._dialects.callers[self._request.dialect].fields.get(field, field)

    def _fit(self, kind: str) -> tuple[Conversation, tuple[Loss, ...]]:
        found = self._fitted.get(kind)
        if found is None:
            if self._conversation is None:
                self._conversation = self._dialects.callers[self._request.dialect].conversation_of(
                    self._request.members
                )
            found = self._fitted[kind] = fit(self._conversation, self._dialects.targets[kind].ABILITIES)
        return found


class Translation:
    """A provider's dialect for callers of another one."""

    __slots__ = ("_caller", "_conversation", "_created_s", "_lost", "_request", "_target")

    def __init__(
        self,
        target: TargetDialect,
        caller: CallerDialect,
        conversation: Conversation,
        lost: tuple[str, ...],
        created_s: int,
    ) -> None:
        self._target = target
        self._caller = caller
        self._conversation = conversation
        self._lost = lost
        self._created_s = created_s
        self._request: ModelRequest | None = None

    def encode_request(
        self, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
    ) -> UpstreamCall:
        self._request = request
        spoken = replace(request, headers=())
        call = self._target.encode_conversation(self._conversation, spoken, deployment, deadline_s, request_id)
        return replace(call, dropped=(*self._lost, *call.dropped)) if self._lost else call

    def decode_reply(self, request: ModelRequest, body: bytes) -> Reply:
        gathering = Gathering()
        for event in self._target.decode_answer(body):
            if isinstance(event, Failed):
                raise AttemptFailed(_in_other_words(event.failure))
            gathering.add(event)
        answer = gathering.answer
        reasons = tuple(choice.finish.value for choice in answer.choices)
        told = self._caller.body_of(answer, request, self._created_s)
        return Reply(told, answer.usage, reasons, len(answer.choices))

    def decode_stream(self) -> "TranslatedStream":
        if self._request is None:
            raise AssertionError("a stream is decoded after its request was encoded")
        return TranslatedStream(self._target.decode_turns(), self._caller.encoder(self._request, self._created_s))

    def decode_error(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float) -> Failure:
        return _in_other_words(self._target.decode_error(status, headers, body, wall_s))

    def without_usage(self, raw: bytes) -> bytes:
        """It was written for this caller."""
        return raw


def _in_other_words(failure: Failure) -> Failure:
    """The provider's own code and body are of another dialect than the caller's."""
    return replace(failure, code=None, reply=None)


class TranslatedStream:
    """A provider's stream as events whose bytes are of the caller's dialect; the same ones for any chunking."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, decoder: TurnDecoder, encoder: TurnEncoder) -> None:
        self._decoder = decoder
        self._encoder = encoder

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        return [self._told(event) for event in self._decoder.feed(chunk)]

    def end(self) -> list[StreamEvent]:
        return [self._told(event) for event in self._decoder.end()]

    def _told(self, event: TurnEvent) -> StreamEvent:
        if isinstance(event, Failed):
            return StreamEvent(EventKind.ERROR, b"", failure=_in_other_words(event.failure))
        raw = self._encoder.write(event)
        if isinstance(event, TextDelta | CallFragment | ThinkingDelta | RefusalDelta):
            return StreamEvent(EventKind.CONTENT, raw, len(event.text))
        if isinstance(event, CallStarted):
            return StreamEvent(EventKind.CONTENT, raw, len(event.name))
        if isinstance(event, Finished):
            return StreamEvent(EventKind.FINISH, raw, finish_reason=event.finish.value)
        if isinstance(event, Counted):
            return StreamEvent(EventKind.PROLOGUE, raw, usage=event.usage)
        if isinstance(event, Ended):
            return StreamEvent(EventKind.DONE, raw)
        return StreamEvent(EventKind.COMMENT if isinstance(event, Silence) else EventKind.PROLOGUE, raw)
