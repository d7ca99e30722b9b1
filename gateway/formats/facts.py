"""The facts of the journal."""

import msgspec


class Booking(msgspec.Struct, tag="booking", array_like=True, frozen=True, gc=False):
    """Under what attempts are booked. Once in a segment it is told with a number, which stands for it from then on."""

    tenant: str
    key_id: str
    model: str
    provider: str
    provider_model: str
    price_id: str
    user: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class Lineage(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """To what a request belongs, as its caller says."""

    run_id: str | None = None
    root_run_id: str | None = None
    parent_run_id: str | None = None
    session_id: str | None = None


class Opened(msgspec.Struct, tag="open", array_like=True, frozen=True, gc=False):
    """An attempt goes to a provider; its id is its request's with a dot and a number.

    `cost_nano_usd` and `tokens` are charged when nothing more is ever known of it.
    """

    attempt_id: str
    reserved_at_s: float
    input_tokens: int
    cost_nano_usd: int
    tokens: int
    lineage: Lineage | None = None


class Beat(msgspec.Struct, tag="beat", array_like=True, frozen=True, gc=False):
    """What the attempt is charged when it ends here: what was delivered and one interval more."""

    attempt_id: str
    output_tokens: int
    cost_nano_usd: int


class Settled(msgspec.Struct, tag="settle", array_like=True, frozen=True, gc=False):
    """The usual last word on an attempt: the provider's own count, at the price it was opened at."""

    attempt_id: str
    posted_at_s: float
    usage: tuple[int, ...]
    cost_nano_usd: int


class Closed(msgspec.Struct, tag="close", array_like=True, frozen=True, gc=False):
    """Any last word on an attempt; `usage` in the order of the domain's Usage, `kind` and `provenance` by value."""

    attempt_id: str
    kind: str
    posted_at_s: float
    usage: tuple[int, ...]
    cost_nano_usd: int
    tokens: int
    provenance: str
    price_id: str = ""
    unpriced: bool = False
    cause: str = ""
    service_tier: str | None = None


class Replayed(msgspec.Struct, tag="replay", array_like=True, frozen=True, gc=False):
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
