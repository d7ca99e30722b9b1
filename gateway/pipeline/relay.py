"""The relay of one streamed answer: held back until it has content, then passed on as it comes."""

from gateway.domain.errors import ReservationExhausted
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.stream import SIGNALS, TRANSITIONS, EventKind, Signal, StreamEvent, StreamState
from gateway.pipeline.cashier import BEAT_TOKENS, Cashier
from gateway.pipeline.trace import Trace
from gateway.ports import Clock, ProviderDialect, UpstreamReply

HELD_BYTES_MAX = 256 * 1024
BYTES_A_TOKEN_MOST = 5
"""A stream is cut at its reservation by this count, so that dense text within its limit is never cut too early."""

PINGS_EXTEND = 2
"""How many idle times a stream may last on comments alone."""


class Relay:
    """`open` returns when the answer is worth committing to; `next` then gives the bytes for the caller.

    Invariant: nothing has been given out while the state is HELD, so a failure before that can go to another target.
    """

    __slots__ = (
        "_allowance",
        "_beaten",
        "_cashier",
        "_clock",
        "_decoder",
        "_dialect",
        "_idle_s",
        "_pass_usage",
        "_quiet_s",
        "_reply",
        "_spent",
        "_trace",
        "_wire",
        "state",
    )

    def __init__(
        self,
        reply: UpstreamReply,
        dialect: ProviderDialect,
        clock: Clock,
        trace: Trace,
        cashier: Cashier,
        *,
        pass_usage: bool,
    ) -> None:
        self._reply = reply
        self._dialect = dialect
        self._decoder = dialect.decode_stream()
        self._clock = clock
        self._trace = trace
        self._cashier = cashier
        self._allowance = cashier.allowance()
        self._spent = False
        self._beaten = 0
        self._pass_usage = pass_usage
        self._wire: list[bytes] = []
        self._idle_s = 0.0
        self._quiet_s = 0.0
        self.state = StreamState.HELD

    async def open(self, first_by_s: float, idle_s: float) -> None:
        """Reads up to the first content, by the monotonic time `first_by_s`. Raises AttemptFailed."""
        self._idle_s = idle_s
        held_bytes = 0
        while self.state is StreamState.HELD:
            left_s = first_by_s - self._clock.monotonic_s()
            try:
                chunk = await self._reply.next_chunk(max(left_s, 0.0))
            except AttemptFailed as error:
                raise AttemptFailed(_before_content(error.failure)) from None
            held_bytes += len(chunk)
            self._take(chunk)
            if held_bytes > HELD_BYTES_MAX and self.state is StreamState.HELD:
                raise AttemptFailed(_too_long_without_content())

    async def next(self) -> bytes:
        """Bytes for the caller, whole events only; b"" after the end. Raises AttemptFailed or ReservationExhausted
        once what came before has been given."""
        while not self._wire:
            if self._spent:
                raise self._exhausted()
            if self.state is StreamState.ENDED:
                return b""
            started_s = self._clock.monotonic_s()
            left_s = PINGS_EXTEND * self._idle_s - self._quiet_s
            chunk = await self._reply.next_chunk(max(0.0, min(self._idle_s, left_s)))
            waited_s = self._clock.monotonic_s() - started_s
            self._trace.upstream_s += waited_s
            self._quiet_s = 0.0 if self._take(chunk) else self._quiet_s + waited_s
        wire, self._wire = self._wire, []
        return wire[0] if len(wire) == 1 else b"".join(wire)

    @property
    def ended(self) -> bool:
        return self.state is StreamState.ENDED and not self._wire and not self._spent

    def close(self) -> None:
        self._reply.close()

    def _take(self, chunk: bytes) -> bool:
        """Whether there was anything but comments in it."""
        events = self._decoder.feed(chunk) if chunk else self._decoder.end()
        heard = False
        for event in events:
            if event.produced and self._beyond(event.produced):
                self._spent = True
                self.state = StreamState.ENDED
                return True
            self._accept(event)
            heard = heard or event.kind is not EventKind.COMMENT
            if self.state is StreamState.ENDED:
                return True
        if not chunk:
            raise AttemptFailed(truncated())
        self._checkpoint()
        return heard

    def _beyond(self, more_bytes: int) -> bool:
        """Whether the next content is more than what is reserved pays for."""
        trace = self._trace
        trace.produced_events += 1
        if self._allowance is None:
            return False
        counted = max(trace.produced_events, (trace.produced_bytes + more_bytes) // BYTES_A_TOKEN_MOST)
        return counted > self._allowance

    def _checkpoint(self) -> None:
        counted = self._trace.produced_tokens
        if (interval := counted - self._beaten) >= BEAT_TOKENS:
            self._beaten = counted
            self._cashier.beat(counted, interval)

    def _exhausted(self) -> ReservationExhausted:
        trace = self._trace
        if self._allowance is not None:
            trace.output_tokens_max = self._allowance
        return ReservationExhausted(
            f"the provider went on beyond the {self._allowance} output tokens that the budget had reserved for this "
            "answer; declare a larger max_tokens, or wait until the budget begins anew"
        )

    def _accept(self, event: StreamEvent) -> None:
        trace = self._trace
        signal = SIGNALS[event.kind]
        if event.usage is not None:
            trace.usage, trace.service_tier = event.usage, event.service_tier
        if signal is Signal.FAILED:
            self._break(event)
        self.state = TRANSITIONS[self.state][signal]
        trace.produced_bytes += event.produced
        if event.id is not None:
            trace.answer_id = event.id
        if event.finish_reason is not None:
            trace.finish_reasons += (event.finish_reason,)
        if not event.raw:
            return
        if self._pass_usage:
            self._wire.append(event.raw)
        elif event.kind is not EventKind.USAGE:
            self._wire.append(self._dialect.without_usage(event.raw))

    def _break(self, event: StreamEvent) -> None:
        if event.failure is None:
            raise AssertionError("an ERROR event carries its failure")
        self.state = StreamState.BROKEN
        raise AttemptFailed(event.failure)


def _before_content(failure: Failure) -> Failure:
    """A stall before the first content is a slow first token."""
    if failure.kind is not FailureKind.STALLED:
        return failure
    message = "the provider sent no content in time"
    return Failure(FailureKind.FIRST_TOKEN_TIMEOUT, message, failure.status, sent=Sent.YES)


def truncated() -> Failure:
    return Failure(FailureKind.TRUNCATED, "the provider's stream ended before its end marker", 200, sent=Sent.YES)


def _too_long_without_content() -> Failure:
    message = f"the provider sent {HELD_BYTES_MAX} bytes without any content"
    return Failure(FailureKind.MALFORMED_STREAM, message, 200, sent=Sent.YES)
