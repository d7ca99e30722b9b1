"""The Protocols through which rooms on one floor meet; only app.py chooses who implements them.

What is compiled names its port, and is called at its place then (ADR 0007); all else fits a port by its shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.budget import Budget, Claim, Shortage
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import CallerKey, Deployment
from gateway.domain.fact import Booking, Opened, Word
from gateway.domain.failure import Failure
from gateway.domain.hold import HoldState
from gateway.domain.ledger import Entry
from gateway.domain.quota import Gates, Refusal, Room
from gateway.domain.record import ExchangeRecord
from gateway.domain.reply import Reply
from gateway.domain.request import ModelRequest
from gateway.domain.routing import Block
from gateway.domain.stream import StreamEvent
from gateway.domain.value import value


class Clock(Protocol):
    """Time and chance, so that nobody else asks the machine. Seconds; `dice()` is uniform in [0, 1)."""

    def monotonic_s(self) -> float: ...
    def wall_s(self) -> float: ...
    def dice(self) -> float: ...
    async def sleep_s(self, delay_s: float) -> None: ...


class UpstreamReply(Protocol):
    """The head of a provider's answer, with the body still to be read.

    Exactly one of `read` or a series of `next_chunk` is used. Both raise AttemptFailed. Whoever holds a reply calls
    `close` once in every case: a fully read reply gives its connection back, any other one closes the socket at once.
    """

    __slots__ = ()

    status: int

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Lower-case names, in the order received."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body, decoded (gzip, deflate) and bounded; kind RESPONSE_TOO_LARGE beyond `limit_bytes`."""
        ...

    async def next_chunk(self, timeout_s: float) -> bytes:
        """The next piece of the body, b"" at its clean end; kinds STALLED, TRUNCATED, RESPONSE_TOO_LARGE, DEADLINE."""
        ...

    def close(self) -> None: ...


class Upstream(Protocol):
    """Sends one call to its provider."""

    async def send(self, call: UpstreamCall) -> UpstreamReply:
        """Up to the response head. Raises AttemptFailed, whose `sent` says if the provider may have it."""
        ...


@value
class Permit:
    """The right to send one attempt to a deployment. Verdicts are told under it; `release` ends it, exactly once.

    `since_s` is when it was given: what happened after that is not undone by its success.
    """

    deployment: Deployment
    generation: int
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who and what met a failure (a key id, a hash of the body), so that one bad request opens nothing for all."""

    caller: str
    body: str


class Health(Protocol):
    """Circuits, cooldowns and misconfigurations of deployments. Never waits."""

    @property
    def calm(self) -> bool:
        """True when nothing at all is blocked."""
        ...

    def blocked(self, deployment: Deployment) -> Block | None: ...
    def latency_s(self, deployment: Deployment) -> float: ...
    def admit(self, deployment: Deployment, *, panic: bool) -> Permit | None: ...
    def success(self, permit: Permit, first_token_s: float) -> None: ...
    def failure(self, permit: Permit, failure: Failure, evidence: Evidence) -> None: ...
    def neutral(self, permit: Permit) -> None:
        """The attempt said nothing about the deployment (the caller left, our own limit)."""
        ...

    def proof(self, permit: Permit) -> None:
        """The request that failed under this permit then worked elsewhere."""
        ...

    def release(self, permit: Permit) -> None: ...


class Quota(Protocol):
    """Rates and slots. They are taken all or none; everything taken is settled exactly once."""

    def take_now(self, gates: Gates, tokens: int) -> bool:
        """Takes all where what is known here is enough for that; False, and nothing taken, where it is not."""
        ...

    async def take(self, gates: Gates, tokens: int) -> Refusal | None:
        """Asks others where it has to."""
        ...

    def settle(self, gates: Gates, taken: int, actual: int) -> None:
        """`taken` are the tokens of `take`, `actual` those that were used."""
        ...

    def put_back(self, gates: Gates, taken: int) -> None:
        """Instead of `settle`: the request was refused elsewhere, and nothing of it counts."""
        ...

    def rooms(self, gates: Gates) -> list[Room]: ...


class Runs(Protocol):
    """Which tree a run belongs to."""

    async def root(self, tenant: str, run: str, parent: str | None) -> str:
        """The run at the top; a run without a known parent is its own."""
        ...


class Pins(Protocol):
    """Session key to the deployment that served it last."""

    def get(self, key: bytes) -> str | None: ...
    def put(self, key: bytes, deployment: str) -> None: ...


class Recorder(Protocol):
    """Takes the one record of an exchange; cannot fail the request."""

    def record(self, record: ExchangeRecord) -> None: ...


class StreamDecoder(Protocol):
    """Bytes of a provider's stream to events; the same events for any chunking."""

    def feed(self, chunk: bytes) -> list[StreamEvent]: ...
    def end(self) -> list[StreamEvent]: ...


class ProviderDialect(Protocol):
    """The four functions of a provider's file."""

    def encode_request(
        self, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
    ) -> UpstreamCall: ...
    def decode_reply(self, request: ModelRequest, body: bytes) -> Reply: ...
    def decode_stream(self) -> StreamDecoder: ...
    def decode_error(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, wall_s: float
    ) -> Failure: ...
    def without_usage(self, raw: bytes) -> bytes: ...


@value
class Want:
    """Credit wanted on one counter: at least `need`, up to `wish`, out of `limit`, until the wall time `ends_s`.

    Who needs nothing is never denied, and learns how the counter stands.
    """

    counter: str
    limit: int
    need: int
    wish: int
    ends_s: float


@value
class Grant:
    """`amount` of credit; `spent` is what all processes have reported as spent on the counter so far, `mine` what this
    one has.
    """

    counter: str
    amount: int
    spent: int
    mine: int = 0


@value
class Denied:
    """The first counter without room for its need: `left` could still be leased, `spent` is gone."""

    counter: str
    left: int
    spent: int


@value
class Standing:
    """What a process says about one counter, in absolute figures, so that saying it twice changes nothing.

    `spent` is all that it has charged since its boot, `credit` what it still holds or has left.
    """

    counter: str
    spent: int
    credit: int
    limit: int
    ends_s: float


@value
class Total:
    """Of one counter, by all processes: what they have reported as spent, and the credit that is `lent` to them."""

    spent: int
    lent: int


class BankAway(Exception):
    """The shared store did not answer in time, is down, or is being rebuilt."""


class Bank(Protocol):
    """Lends out credit on counters, so that what all processes together hold and have spent never exceeds a limit.

    Counters of one call belong to one tenant. A counter that the bank does not know begins with nothing spent. Both
    calls are idempotent under a lost reply: `lease` by `ticket`, `report` by its absolute figures.
    """

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        """All or nothing. Raises BankAway."""
        ...

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        """How each counter stands afterwards. Raises BankAway, and then the figures are to be said anew."""
        ...


class Hold(Protocol):
    """Credit that one request holds on its budgets, given back or charged exactly once."""

    __slots__ = ()

    state: HoldState

    def dispatch(self) -> None:
        """From now on it is not void: a provider may have the request."""
        ...

    def settle(self, cost_nano_usd: int, tokens: int) -> bool:
        """Charges what it came to and gives the rest back; whether that was more than was held."""
        ...

    def void(self) -> None:
        """Nothing was sent: all of it comes back."""
        ...

    def left_nano_usd(self) -> int | None:
        """Of the tightest of its budgets in dollars, in the window that it is charged in; held amounts taken off."""
        ...


class Accounts(Protocol):
    """The budgets' counters as this process sees them."""

    def hold_now(self, tenant: str, claims: Sequence[Claim]) -> Hold | None:
        """All claims at once where what is known here is enough for that; None, and nothing held, where it is not."""
        ...

    async def hold(self, tenant: str, claims: Sequence[Claim]) -> Hold | Shortage:
        """All claims at once, or none of them; asks others where it has to."""
        ...

    def left(self, budget: Budget, who: str) -> int:
        """What is left of the current window, held amounts taken off."""
        ...


class JournalFailed(Exception):
    """The journal cannot be written; the message says why and what to do."""


class Journal(Protocol):
    """Facts about money on this machine's disk, in the order in which they were told; a killed process loses none.

    One that does not `keep` facts need not be told any.
    """

    keeps: bool

    def open(self, opened: Opened, booking: Booking) -> None:
        """On record when this returns. Raises JournalFailed where it cannot be."""
        ...

    def write(self, word: Word) -> None:
        """On record when this returns, or as soon as the disk takes it."""
        ...


class Ledger(Protocol):
    """The books, in SQL. Every method blocks; it is called from threads that no request waits for."""

    def append(self, entries: Sequence[Entry]) -> None:
        """All or none; entries that are there already change nothing."""
        ...

    def sums(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, int]:
        """What was charged in a window, in the budget's unit, for each of those that the budget is for."""
        ...

    def sums_of_worker(self, budget: Budget, starts_s: float, ends_s: float, worker: str) -> dict[str, int]:
        """The same, of one boot of one process."""
        ...

    def sums_by_worker(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, dict[str, int]]:
        """The same, by the boots of all processes."""
        ...


class StoreFailed(Exception):
    """The database refused; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The call is ours to make."""

    request_id: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The request `request_id` of some process makes the same call, or has made it."""

    request_id: str
    ended: bool


class Answers(Protocol):
    """Answers under idempotency keys that processes share. `name` tells nothing; what is stored can be read only with
    `seal`. Every method raises BankAway, and may then be called again: once more changes nothing."""

    async def claim(self, name: bytes, fingerprint: bytes, request_id: str) -> Owned | StoredAnswer | None:
        """None where the name stands for another request."""
        ...

    async def renew(self, name: bytes, request_id: str) -> bool:
        """Every few seconds, so that the claim stays; whether it still is ours."""
        ...

    async def append(self, name: bytes, seal: bytes, request_id: str, at: int, frame: bytes) -> bool:
        """The frame at that place; whether the claim still is ours."""
        ...

    async def end(self, name: bytes, request_id: str, kept_bytes: int | None) -> None:
        """Nothing follows; None is an answer that nobody shall get again."""
        ...

    async def read(self, name: bytes, seal: bytes, request_id: str, at: int) -> tuple[list[bytes], bool] | None:
        """The frames from that place on, and whether they are the last; None where the answer is not there."""
        ...


class Keys(Protocol):
    """Whose key a text is."""

    def find(self, text: bytes, address: str = "") -> CallerKey | None: ...
