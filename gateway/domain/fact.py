"""The facts about money that the journal keeps."""

from gateway.domain.ledger import EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.domain.value import value


@value
class Booking:
    """Under what attempts are booked. Once in a segment it is told with a number, which stands for it from then on."""

    tenant: str
    key_id: str
    model: str
    provider: str
    provider_model: str
    price_id: str
    user: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def fields(self) -> tuple[object, ...]:
        return (
            self.tenant,
            self.key_id,
            self.model,
            self.provider,
            self.provider_model,
            self.price_id,
            self.user,
            self.tags,
        )


@value
class Lineage:
    """To what a request belongs, as its caller says."""

    run_id: str | None = None
    root_run_id: str | None = None
    parent_run_id: str | None = None
    session_id: str | None = None


NO_LINEAGE = Lineage()


@value
class Opened:
    """An attempt goes to a provider; its id is its request's with a dot and a number.

    `cost_nano_usd` and `tokens` are charged when nothing more is ever known of it.
    """

    attempt_id: str
    reserved_at_s: float
    input_tokens: int
    cost_nano_usd: int
    tokens: int
    lineage: Lineage | None = None


@value
class Beat:
    """What the attempt is charged when it ends here: what was delivered and one interval more."""

    attempt_id: str
    output_tokens: int
    cost_nano_usd: int


@value
class Settled:
    """The usual last word on an attempt: the provider's own count, at the price it was opened at."""

    attempt_id: str
    posted_at_s: float
    usage: Usage
    cost_nano_usd: int


@value
class Closed:
    """Any last word on an attempt."""

    attempt_id: str
    kind: EntryKind
    posted_at_s: float
    usage: Usage
    cost_nano_usd: int
    tokens: int
    provenance: Provenance
    price_id: str = ""
    unpriced: bool = False
    cause: str = ""
    service_tier: str | None = None


@value
class Replayed:
    """A request that gets the answer of another one, `replay_of`: nothing is sent for it, and nothing is charged."""

    request_id: str
    replay_of: str
    tenant: str
    key_id: str
    at_s: float
    model: str
    user: str | None = None
    run_id: str | None = None
    root_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    parent_run_id: str | None = None
    session_id: str | None = None


Word = Beat | Settled | Closed | Replayed
"""What is told of an attempt after it was opened, or of a request without one."""

Fact = Booking | Opened | Word
