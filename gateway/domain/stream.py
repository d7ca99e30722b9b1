"""A streamed answer as a state machine: held back until it has content, then open, then ended or broken."""

from gateway.domain.failure import Failure
from gateway.domain.reply import Usage
from gateway.domain.symbol import Symbol
from gateway.domain.value import value


class EventKind(Symbol):
    """What one event of a provider's stream means for the path."""

    PROLOGUE = "prologue"
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"
    DONE = "done"
    ERROR = "error"
    COMMENT = "comment"


@value
class StreamEvent:
    """`raw` is the event as the provider wrote it, frame end included; `produced` the UTF-8 bytes of new content.

    `id` is what a later request may follow the answer by.
    """

    kind: EventKind
    raw: bytes
    produced: int = 0
    usage: Usage | None = None
    failure: Failure | None = None
    finish_reason: str | None = None
    service_tier: str | None = None
    id: str | None = None


class StreamState(Symbol):
    HELD = "held"
    OPEN = "open"
    ENDED = "ended"
    BROKEN = "broken"


class Signal(Symbol):
    """What can happen to a stream."""

    QUIET = "quiet"
    CONTENT = "content"
    DONE = "done"
    FAILED = "failed"


TRANSITIONS: dict[StreamState, dict[Signal, StreamState]] = {
    StreamState.HELD: {
        Signal.QUIET: StreamState.HELD,
        Signal.CONTENT: StreamState.OPEN,
        Signal.DONE: StreamState.ENDED,
        Signal.FAILED: StreamState.BROKEN,
    },
    StreamState.OPEN: {
        Signal.QUIET: StreamState.OPEN,
        Signal.CONTENT: StreamState.OPEN,
        Signal.DONE: StreamState.ENDED,
        Signal.FAILED: StreamState.BROKEN,
    },
    StreamState.ENDED: {},
    StreamState.BROKEN: {},
}

SIGNALS: dict[EventKind, Signal] = {
    EventKind.PROLOGUE: Signal.QUIET,
    EventKind.CONTENT: Signal.CONTENT,
    EventKind.FINISH: Signal.CONTENT,
    EventKind.USAGE: Signal.QUIET,
    EventKind.DONE: Signal.DONE,
    EventKind.ERROR: Signal.FAILED,
    EventKind.COMMENT: Signal.QUIET,
}
