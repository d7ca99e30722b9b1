"""What is noted about one exchange on its way, until the record is made from it."""

from gateway.domain.errors import Fault, GatewayError, UpstreamRefused
from gateway.domain.record import Attempt, Drop, ExchangeRecord, Provenance
from gateway.domain.reply import NO_USAGE, Usage
from gateway.domain.request import Caller, ModelRequest

BYTES_A_TOKEN = 4


class Trace:
    """Written by the stations in turn, by one task only."""

    __slots__ = (
        "answer_id",
        "attempts",
        "client_gone",
        "committed",
        "cost_nano_usd",
        "dropped",
        "drops",
        "error",
        "finish_reasons",
        "first_token_s",
        "output_tokens_max",
        "overrun",
        "panic",
        "produced_bytes",
        "produced_events",
        "provider_switched",
        "replay_of",
        "retries_denied",
        "service_tier",
        "sticky",
        "upstream_s",
        "usage",
        "whole_bytes",
    )

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.drops: list[Drop] = []
        self.dropped: tuple[str, ...] = ()
        self.answer_id: str | None = None
        self.error: GatewayError | None = None
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self.produced_bytes = 0
        self.produced_events = 0
        self.whole_bytes = 0
        self.replay_of: str | None = None
        self.output_tokens_max: int | None = None
        self.overrun = False
        self.cost_nano_usd: int | None = None
        self.finish_reasons: tuple[str, ...] = ()
        self.first_token_s: float | None = None
        self.upstream_s = 0.0
        self.retries_denied = 0
        self.panic = False
        self.committed = False
        self.client_gone = False
        self.sticky = "none"
        self.provider_switched = False

    @property
    def produced_tokens(self) -> int:
        """Output tokens of the content that came by, as far as bytes can tell."""
        counted = -(-self.produced_bytes // BYTES_A_TOKEN)
        return counted if self.output_tokens_max is None else min(counted, self.output_tokens_max)


def record_of(trace: Trace, caller: Caller, request: ModelRequest, now_s: float) -> ExchangeRecord:
    """The frozen record; a pure function of what was noted."""
    error = trace.error
    duration_s = now_s - caller.started_s
    usage, provenance = usage_of(trace, request)
    return ExchangeRecord(
        request_id=caller.request_id,
        operation=request.operation.value,
        dialect=request.dialect.value,
        stream=request.stream,
        tenant=caller.key.tenant.id,
        key_id=caller.key.id,
        model=request.model,
        status=_status(trace),
        error_code=_code(error),
        fault=_fault(trace),
        started_at_s=caller.started_at_s,
        duration_s=duration_s,
        overhead_s=max(0.0, duration_s - trace.upstream_s),
        first_token_s=trace.first_token_s,
        attempts=tuple(trace.attempts),
        drops=tuple(trace.drops),
        usage=usage,
        provenance=provenance,
        cost_nano_usd=trace.cost_nano_usd,
        sticky=trace.sticky,
        retries_denied=trace.retries_denied,
        panic=trace.panic,
        committed=trace.committed,
        client_gone=trace.client_gone,
        run_id=caller.run_id,
        parent_run_id=caller.parent_run_id,
        tags=caller.tags,
        finish_reasons=trace.finish_reasons,
        overrun=trace.overrun,
        replay_of=trace.replay_of,
        dropped=trace.dropped,
        trace_id=None if caller.traceparent is None else caller.traceparent[3:35],
    )


def _status(trace: Trace) -> int:
    if trace.client_gone:
        return 499
    error = trace.error
    if error is None or trace.committed:
        return 200
    return error.reply_status if isinstance(error, UpstreamRefused) else error.status


def _code(error: GatewayError | None) -> str | None:
    if isinstance(error, UpstreamRefused):
        return error.reply_code or error.code
    return error.code if error else None


def _fault(trace: Trace) -> Fault | None:
    if trace.error is not None:
        return trace.error.fault
    return Fault.CALLER if trace.client_gone else None


def usage_of(trace: Trace, request: ModelRequest) -> tuple[Usage, Provenance]:
    """The provider's figure, else what was counted on the way, else what was estimated."""
    if trace.usage is not None:
        return trace.usage, Provenance.EXACT
    if trace.produced_bytes:
        return Usage(request.needs.input_tokens, trace.produced_tokens), Provenance.COUNTED
    served = bool(trace.attempts) and trace.attempts[-1].failure is None
    if served or trace.committed:
        return Usage(request.needs.input_tokens, trace.whole_bytes // BYTES_A_TOKEN), Provenance.ESTIMATED
    return NO_USAGE, Provenance.NONE
