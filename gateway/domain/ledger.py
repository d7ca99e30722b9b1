"""The ledger: append-only entries, one for each fact about money, from which every counter can be rebuilt."""

from gateway.domain.record import Provenance
from gateway.domain.reply import NO_USAGE, Usage
from gateway.domain.symbol import Symbol
from gateway.domain.value import value

CORRECTIONS = ""
"""The worker of what was put right later: no process has charged it, so that none can say it again."""


class EntryKind(Symbol):
    """`post` is a settled attempt, `void` one that was never sent, `expire` one whose worker died;
    `true_up` is the difference once more is known, `adjust` a correction by hand or by a price."""

    POST = "post"
    VOID = "void"
    EXPIRE = "expire"
    TRUE_UP = "true_up"
    ADJUST = "adjust"


LATE = frozenset({EntryKind.EXPIRE, EntryKind.VOID})
"""Said by others than the process that sent the attempt; they count only where nothing else is known."""


@value
class Entry:
    """One line of the ledger. `attempt_id` and `kind` are unique together: writing an entry again changes nothing.

    `reserved_at_s` decides the budget windows that it counts in, `posted_at_s` is when it became known; both wall time.
    `worker` is the boot id of the process that charged it, or CORRECTIONS. `budget_id` is set where only one budget is
    meant (an expired lease, an adjustment of a budget): such an entry is no usage. Differences may be negative.
    `replay_of` is the request whose answer this one got again, at no cost: such an entry is void, as nothing was sent.
    `service_tier` is the one that it was priced at, None for the usual one.
    """

    attempt_id: str
    kind: EntryKind
    request_id: str
    tenant: str
    key_id: str
    reserved_at_s: float
    posted_at_s: float
    worker: str
    model: str = ""
    provider: str = ""
    provider_model: str = ""
    user: str | None = None
    run_id: str | None = None
    root_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    usage: Usage = NO_USAGE
    cost_nano_usd: int = 0
    tokens: int = 0
    price_id: str = ""
    provenance: Provenance = Provenance.EXACT
    unpriced: bool = False
    late: bool = False
    replay_of: str | None = None
    budget_id: str | None = None
    budget_who: str | None = None
    actor: str = ""
    cause: str = ""
    service_tier: str | None = None
    parent_run_id: str | None = None
    session_id: str | None = None
