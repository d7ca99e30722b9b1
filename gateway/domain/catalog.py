"""What can be called: providers, credentials, deployments and the routes over them, as immutable values."""

import hashlib
from dataclasses import dataclass, field, replace

from gateway.domain.budget import Budget, Dimensions, StoreAway
from gateway.domain.quota import Gates, gates_of
from gateway.domain.symbol import Symbol
from gateway.domain.value import value


class Secret:
    """A secret text that never shows in a repr, a log or a traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@value
class Origin:
    """Where sockets go: the only place to which the credentials bound to it may be sent."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class AuthStyle(Symbol):
    """Which header carries the provider key."""

    BEARER = "authorization"
    X_API_KEY = "x-api-key"
    API_KEY = "api-key"
    X_GOOG_API_KEY = "x-goog-api-key"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """One provider key and the one origin that it may be sent to."""

    id: str
    origin: Origin
    secret: Secret
    auth: AuthStyle = AuthStyle.BEARER


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast; None is unlimited. `away` is what happens while the store that processes share is."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    shadow: bool = False
    away: StoreAway = StoreAway.LOCAL

    def gates(self, scope: str) -> Gates:
        """What a request of `scope` has to pass."""
        return gates_of(
            scope,
            shadow=self.shadow,
            away=self.away,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrent=self.concurrent,
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_token_s` runs from the sent request to the first content, `idle_s` between chunks."""

    connect_s: float = 3.0
    first_token_s: float = 60.0
    idle_s: float = 60.0
    total_s: float = 600.0


NATIVE = frozenset({"embeddings", "responses"})
"""APIs that only a provider of their dialect can serve."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a host differs from others of its dialect.

    `output_limit` is its name for the limit on the output, `api_version` Azure's, whose paths name the deployment.
    `stream_usage` is false where the wish for usage is refused. `renames`, `hints` and `refuses` are members of a
    request: called otherwise, left out, and left out only where the route may lose them; `refuses_said` are those of a
    message.
    """

    output_limit: str = "max_tokens"
    api_version: str = ""
    stream_usage: bool = True
    renames: tuple[tuple[str, str], ...] = ()
    hints: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    refuses_said: frozenset[str] = frozenset()
    native: frozenset[str] = frozenset({"embeddings"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model behind a target can take; None for a size means unknown, thus no limit."""

    tools: bool = True
    vision: bool = True
    json_schema: bool = True
    context_tokens: int | None = None
    output_tokens: int | None = None
    native: frozenset[str] = NATIVE


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD for each million tokens, so that USD per million has nine exact decimals.

    None is the price of what the kind is a part of: input or output. `per_request` is nano-USD. `tiers` are whole
    prices for requests with more input tokens than their threshold, ascending; the highest one reached holds for all
    tokens. `id` names source, model and date, for the books.
    """

    input: int
    output: int
    cached_input: int | None = None
    reasoning: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    audio_output: int | None = None
    image_output: int | None = None
    per_request: int = 0
    id: str = ""
    tiers: tuple[tuple[int, "Price"], ...] = ()
    simple: bool = field(init=False, compare=False)
    dearest: tuple[tuple[int, int, int], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """`simple`: only input, output and cached input matter. `dearest`: (threshold, input, output) of each tier."""
        rare_in = (self.cache_write_5m, self.cache_write_1h, self.audio_input, self.image_input)
        rare_out = (self.reasoning, self.audio_output, self.image_output)
        simple = not self.tiers and not self.per_request and all(price is None for price in (*rare_in, *rare_out))
        object.__setattr__(self, "simple", simple)
        dear_in = max(price for price in (self.input, self.cached_input, *rare_in) if price is not None)
        dear_out = max(price for price in (self.output, *rare_out) if price is not None)
        mine = (0, dear_in, dear_out)
        above = tuple((above, price.dearest[0][1], price.dearest[0][2]) for above, price in self.tiers)
        object.__setattr__(self, "dearest", (mine, *above))


PriceDates = tuple[tuple[float, Price | None], ...]
"""Prices by the wall-clock second from which on they hold, ascending; None is none."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One configured provider account: a dialect (`kind`), an origin and its keys.

    `drains` says that it goes on, and bills, when its caller leaves. Where it does not enforce output limits,
    whole answers are asked for as streams, which can be cut.
    """

    name: str
    kind: str
    origin: Origin
    base_path: str
    credentials: tuple[Credential, ...]
    limits: Limits = Limits()
    ca_file: str | None = None
    connections: int = 256
    drains: bool = False
    quirks: Quirks = Quirks()
    enforces_output_limit: bool = True


@dataclass(frozen=True, slots=True)
class Deployment:
    """One (provider, model, key): the unit with a breaker, a cooldown and a latency; `target` is its model there.

    `later_prices` replace `price`, each from its wall-clock time on, ascending. `service_prices` are those of service
    tiers that a request may declare (flex, priority, batch), dated likewise; None there is the price of all others.
    """

    id: str
    target: str
    provider: Provider
    credential: Credential
    model: str
    priority: int = 1
    weight: float = 1.0
    capabilities: Capabilities = Capabilities()
    timeouts: Timeouts = Timeouts()
    price: Price | None = None
    later_prices: PriceDates = ()
    service_prices: dict[str, PriceDates] = field(default_factory=dict, hash=False)
    gates: Gates = field(init=False, compare=False)
    salt: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gates", self.provider.limits.gates("provider:" + self.credential.id))
        digest = hashlib.blake2b(self.id.encode(), digest_size=4).digest()
        object.__setattr__(self, "salt", int.from_bytes(digest, "big") >> 2)

    def price_at(self, wall_s: float, service_tier: str | None = None) -> Price | None:
        """What holds for a request that began then and was served at this tier; None where no price is known."""
        if service_tier is not None:
            special = _begun(None, self.service_prices.get(service_tier, ()), wall_s)
            if special is not None:
                return special
        return _begun(self.price, self.later_prices, wall_s)

    def prices_at(self, wall_s: float, service_tier: str | None = None) -> tuple[Price, ...]:
        """All that a request which declares this tier may be charged at: a provider may serve it at the default one."""
        default, declared = self.price_at(wall_s), self.price_at(wall_s, service_tier)
        if declared is None or declared is default:
            return () if default is None else (default,)
        return (declared,) if default is None else (default, declared)


def _begun(price: Price | None, later: PriceDates, wall_s: float) -> Price | None:
    for starts_s, other in later:
        if wall_s >= starts_s:
            price = other
    return price


class Strategy(Symbol):
    WEIGHTED = "weighted"
    LEAST_LATENCY = "least_latency"
    CHEAPEST = "cheapest"


@dataclass(frozen=True, slots=True)
class Route:
    """A model name that callers use, and what may answer it.

    `lossy`: what a target's dialect cannot express is dropped; otherwise such a target is left out.
    `filtered_elsewhere`: what one provider's filter refuses, another one is asked.
    """

    name: str
    deployments: tuple[Deployment, ...]
    strategy: Strategy = Strategy.WEIGHTED
    sticky: bool = True
    attempts: int = 3
    timeouts: Timeouts = Timeouts()
    fallback_models: tuple[str, ...] = ()
    lossy: bool = False
    filtered_elsewhere: bool = False
    tiers: tuple[tuple[Deployment, ...], ...] = field(init=False, compare=False)
    undemanding: bool = field(init=False, compare=False)
    drains: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """`tiers` are the deployments by priority; `undemanding` that every one takes any that is not native; `drains`
        that one of them goes on, and bills, when nobody waits for its answer."""
        priorities = sorted({deployment.priority for deployment in self.deployments})
        tiers = tuple(tuple(d for d in self.deployments if d.priority == priority) for priority in priorities)
        object.__setattr__(self, "tiers", tiers)
        able = all(replace(one.capabilities, native=NATIVE) == Capabilities() for one in self.deployments)
        object.__setattr__(self, "undemanding", able)
        object.__setattr__(self, "drains", any(one.provider.drains for one in self.deployments))


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits for each value of a dimension by itself (`per`), or for one of them (`of`)."""

    id: str
    limits: Limits
    per: str = "tenant"
    of: str | None = None

    def gates(self, who: str) -> Gates:
        return self.limits.gates(f"{self.id}:{who}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who calls, what they may call (empty `models` is all), and how fast."""

    id: str
    limits: Limits = Limits()
    models: frozenset[str] = frozenset()
    budgets: tuple[Budget, ...] = ()
    paces: tuple[Pace, ...] = ()
    blocked: bool = False
    gates: Gates = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gates", self.limits.gates("tenant:" + self.id))

    def gates_for(self, dimensions: Dimensions) -> Gates:
        """The tenant's own limits and every further one that the request falls under."""
        gates = self.gates
        for pace in self.paces:
            who = dimensions.of(pace.per)
            if who is not None and (pace.of is None or pace.of == who):
                gates = gates.plus(pace.gates(who))
        return gates


@dataclass(frozen=True, slots=True)
class CallerKey:
    """A key that a caller presents, known by the SHA-256 digest of its text.

    `user` and `tags` are what its requests are booked under unless they say otherwise; empty `models` is all of the
    tenant's. Wall-clock seconds. `secret` is known of keys that stand in the configuration.
    """

    id: str
    digest: bytes
    tenant: Tenant
    user: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    models: frozenset[str] = frozenset()
    expires_at_s: float | None = None
    secret: Secret | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that one configuration offers; swapped whole, held by a request for all of its life."""

    version: int
    routes: dict[str, Route]
    keys: dict[bytes, CallerKey] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
