"""A whole answer that is asked for as a stream: what its provider says beyond its reservation is never produced."""

from dataclasses import replace

from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.gathering import Gathering
from gateway.domain.reply import Reply, Usage
from gateway.domain.request import ModelRequest
from gateway.domain.turn import (
    Answer,
    CallFragment,
    CallStarted,
    Ended,
    Failed,
    Finish,
    Finished,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    TurnEvent,
)
from gateway.pipeline.relay import BYTES_A_TOKEN_MOST, truncated
from gateway.pipeline.trace import Trace
from gateway.pipeline.translation import CallerDialect, TargetDialect
from gateway.ports import UpstreamReply

ANSWER_BYTES_MAX = 64 * 1024 * 1024


class Gathered:
    """`request` is what is asked in the place of the caller's request; `read` makes the answer that the caller wants.

    Where nobody cuts it the answer is the provider's, but for members of its own that no dialect knows.
    """

    __slots__ = ("_caller", "_created_s", "_events", "_finished", "_gathering", "_produced", "_target", "request")

    def __init__(self, request: ModelRequest, target: TargetDialect, caller: CallerDialect, created_s: int) -> None:
        members = {**request.members, "stream": b"true"}
        self.request = replace(request, members=members, stream=True, include_usage=True)
        self._target = target
        self._caller = caller
        self._created_s = created_s
        self._gathering = Gathering()
        self._finished: set[int] = set()
        self._produced = 0
        self._events = 0

    async def read(self, reply: UpstreamReply, trace: Trace, allowance: int, first_s: float, idle_s: float) -> Reply:
        """At most `allowance` output tokens; each wait is bounded by `first_s` and `idle_s`. Raises AttemptFailed."""
        decoder = self._target.decode_turns()
        size, wait_s = 0, first_s
        while True:
            chunk = await reply.next_chunk(wait_s)
            size, wait_s = size + len(chunk), idle_s
            if size > ANSWER_BYTES_MAX:
                raise AttemptFailed(_too_large())
            for event in decoder.feed(chunk) if chunk else decoder.end():
                if isinstance(event, Failed):
                    raise AttemptFailed(event.failure)
                if isinstance(event, Ended):
                    return self._told(self._gathering.answer)
                if self._beyond(event, allowance):
                    return self._cut(trace, allowance)
                self._gathering.add(event)
            if not chunk:
                raise AttemptFailed(truncated())

    def _beyond(self, event: TurnEvent, allowance: int) -> bool:
        if isinstance(event, Finished):
            self._finished.add(event.choice)
        if isinstance(event, TextDelta | CallFragment | ThinkingDelta | RefusalDelta):
            more = len(event.text)
        elif isinstance(event, CallStarted):
            more = len(event.name)
        else:
            return False
        self._events += 1
        if max(self._events, (self._produced + more) // BYTES_A_TOKEN_MOST) > allowance:
            return True
        self._produced += more
        return False

    def _cut(self, trace: Trace, allowance: int) -> Reply:
        """As a provider that keeps the limit would have ended it."""
        trace.produced_bytes, trace.produced_events, trace.output_tokens_max = self._produced, self._events, allowance
        answer = self._gathering.answer
        choices = tuple(
            choice if number in self._finished else replace(choice, finish=Finish.LENGTH)
            for number, choice in enumerate(answer.choices)
        )
        counted = Usage(self.request.needs.input_tokens, trace.produced_tokens)
        return replace(self._told(replace(answer, choices=choices, usage=counted)), usage=None)

    def _told(self, answer: Answer) -> Reply:
        reasons = tuple(choice.finish.value for choice in answer.choices)
        body = self._caller.body_of(answer, self.request, self._created_s)
        return Reply(body, answer.usage, reasons, len(answer.choices))


def _too_large() -> Failure:
    message = f"the provider's answer is larger than {ANSWER_BYTES_MAX} bytes"
    return Failure(FailureKind.MALFORMED_BODY, message, 200, sent=Sent.YES)
