"""The facts of the journal."""

import msgspec


class Opened(msgspec.Struct, tag="open", array_like=True, frozen=True, gc=False):
    """An attempt goes to a provider. `cost_nano_usd` and `tokens` are charged when nothing more is ever known of it."""

    attempt_id: str
    request_id: str
    tenant: str
    key_id: str
    reserved_at_s: float
    model: str
    provider: str
    provider_model: str
    price_id: str
    input_tokens: int
    cost_nano_usd: int
    tokens: int
    user: str | None = None
    run_id: str | None = None
    root_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    parent_run_id: str | None = None
    session_id: str | None = None


class Beat(msgspec.Struct, tag="beat", array_like=True, frozen=True, gc=False):
    """What the attempt is charged when it ends here: what was delivered and one interval more."""

    attempt_id: str
    output_tokens: int
    cost_nano_usd: int


class Closed(msgspec.Struct, tag="close", array_like=True, frozen=True, gc=False):
    """The last word on an attempt; `usage` in the order of the domain's Usage, `kind` and `provenance` by value."""

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


Fact = Opened | Beat | Closed | Replayed
