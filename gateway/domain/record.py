"""The one record that remains of an exchange; logs, metrics, spans and bills are all made from it."""

from gateway.domain.errors import Fault
from gateway.domain.reply import Usage
from gateway.domain.symbol import Symbol
from gateway.domain.value import value


class Provenance(Symbol):
    """How a usage figure was obtained: said by the provider, counted by us on the way, or estimated."""

    EXACT = "exact"
    COUNTED = "counted"
    ESTIMATED = "estimated"
    NONE = "none"


@value
class Drop:
    """A target that was not tried, and why."""

    deployment: str
    reason: str


@value
class InVain:
    """What an attempt without an answer came to, since its provider bills it, or may."""

    usage: Usage
    provenance: Provenance
    cost_nano_usd: int


@value
class Attempt:
    """One upstream call. `failure` is a FailureKind value, None for success; `wait_s` passed before it.

    `in_vain` is beside the record's own usage, and its cost within the record's.
    """

    deployment: str
    provider: str
    model: str
    started_s: float
    duration_s: float
    status: int | None
    failure: str | None
    wait_s: float = 0.0
    in_vain: InVain | None = None


@value
class ExchangeRecord:
    """Seconds; `started_at_s` is wall time, everything else monotonic differences.

    `status` is what the caller saw (499 when it was gone). `overhead_s` is the part of `duration_s` in which nothing
    was waited for upstream. `first_token_s` runs from the start to the first content for the caller. `dropped` are
    fields of the request that did not reach the provider.
    """

    request_id: str
    operation: str
    dialect: str
    stream: bool
    tenant: str
    key_id: str
    model: str
    status: int
    error_code: str | None
    fault: Fault | None
    started_at_s: float
    duration_s: float
    overhead_s: float
    first_token_s: float | None
    attempts: tuple[Attempt, ...]
    drops: tuple[Drop, ...]
    usage: Usage
    provenance: Provenance
    cost_nano_usd: int | None
    sticky: str
    retries_denied: int
    panic: bool
    committed: bool
    client_gone: bool
    run_id: str | None = None
    parent_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    finish_reasons: tuple[str, ...] = ()
    overrun: bool = False
    replay_of: str | None = None
    dropped: tuple[str, ...] = ()
    trace_id: str | None = None

    @property
    def served_by(self) -> Attempt | None:
        """The attempt whose answer the caller got, or began to get."""
        if self.attempts and (self.committed or self.attempts[-1].failure is None):
            return self.attempts[-1]
        return None
