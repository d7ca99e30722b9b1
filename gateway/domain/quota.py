"""How fast: the generic cell rate algorithm with cost n and refund, all limits of a request at once or none."""

from dataclasses import dataclass, field, replace

from gateway.domain.budget import StoreAway
from gateway.domain.value import value

MINUTE_S = 60.0
BACKGROUND_PERCENT = 80
"""Of a concurrency limit, what autonomous requests may fill."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit per minute on one counter, in tokens or in requests."""

    counter: str
    dimension: str
    per_minute: int
    by_tokens: bool
    shadow: bool = False
    away: StoreAway = StoreAway.LOCAL
    interval_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval_s", MINUTE_S / self.per_minute)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place among at most `limit` concurrent requests of one counter."""

    counter: str
    limit: int
    shadow: bool = False
    away: StoreAway = StoreAway.LOCAL


@dataclass(frozen=True, slots=True)
class Gates:
    """Every rate and slot that a request passes."""

    rates: tuple[Rate, ...] = ()
    slots: tuple[Slot, ...] = ()

    def plus(self, other: "Gates") -> "Gates":
        return Gates(self.rates + other.rates, self.slots + other.slots) if other is not OPEN else self

    def for_background(self) -> "Gates":
        """The same with a part of each slot limit kept free, so that background work is shed first."""
        if not self.slots:
            return self
        spared = (replace(s, limit=max(1, s.limit * BACKGROUND_PERCENT // 100)) for s in self.slots)
        return Gates(self.rates, tuple(spared))


OPEN = Gates()


def gates_of(
    scope: str,
    *,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    concurrent: int | None,
    shadow: bool = False,
    away: StoreAway = StoreAway.LOCAL,
) -> Gates:
    """`away` is what happens where the counters are shared and their store does not answer."""
    rates = []
    if requests_per_minute is not None:
        rates.append(Rate(f"{scope}:requests", "requests", requests_per_minute, False, shadow, away))
    if tokens_per_minute is not None:
        rates.append(Rate(f"{scope}:tokens", "tokens", tokens_per_minute, True, shadow, away))
    slots = () if concurrent is None else (Slot(f"{scope}:concurrent", concurrent, shadow, away),)
    return Gates(tuple(rates), slots) if rates or slots else OPEN


@value
class Room:
    """What is left of a limit: units, and seconds until all of it is back."""

    dimension: str
    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that stands in the way; `wait_s` is None where waiting cannot help (cost above the whole limit)."""

    dimension: str
    limit: int
    cost: int
    wait_s: float | None


def take(arrivals: dict[str, float], rates: tuple[Rate, ...], tokens: int, now_s: float) -> Refusal | None:
    """GCRA (ITU-T I.371, virtual scheduling). `arrivals` holds a theoretical arrival time for each counter.

    A burst of the whole limit is allowed; nothing changes unless every rate has room.
    """
    refusal: Refusal | None = None
    after: list[float] = []
    for rate in rates:
        cost = tokens if rate.by_tokens else 1
        later_s = max(now_s, arrivals.get(rate.counter, now_s)) + cost * rate.interval_s
        over_s = later_s - now_s - MINUTE_S
        if over_s > 1e-9 and rate.shadow:
            later_s = now_s + MINUTE_S
        elif over_s > 1e-9:
            wait_s = over_s if cost <= rate.per_minute else None
            if refusal is None or _longer(wait_s, refusal.wait_s):
                refusal = Refusal(rate.dimension, rate.per_minute, cost, wait_s)
        after.append(later_s)
    if refusal is None:
        for at in range(len(rates)):  # `zip` costs compiled code more than the rest of it
            arrivals[rates[at].counter] = after[at]
    return refusal


def adjust(arrivals: dict[str, float], rates: tuple[Rate, ...], taken: int, actual: int, now_s: float) -> None:
    """Replace taken tokens by the actual ones: a refund, or a debt where more was used than taken."""
    for rate in rates:
        if rate.by_tokens:
            theoretical_s = max(arrivals.get(rate.counter, now_s), now_s)
            arrivals[rate.counter] = max(now_s, theoretical_s + (actual - taken) * rate.interval_s)


def put_back(arrivals: dict[str, float], rates: tuple[Rate, ...], taken: int, now_s: float) -> None:
    """As if it had never been taken."""
    for rate in rates:
        cost = taken if rate.by_tokens else 1
        theoretical_s = max(arrivals.get(rate.counter, now_s), now_s)
        arrivals[rate.counter] = max(now_s, theoretical_s - cost * rate.interval_s)


def room(arrivals: dict[str, float], rate: Rate, now_s: float) -> Room:
    ahead_s = arrivals.get(rate.counter, now_s) - now_s
    if ahead_s <= 0:
        return Room(rate.dimension, rate.per_minute, rate.per_minute, 0.0)
    remaining = int((MINUTE_S - ahead_s) / rate.interval_s + 1e-6)
    return Room(rate.dimension, rate.per_minute, max(0, remaining), ahead_s)


def _longer(wait_s: float | None, than_s: float | None) -> bool:
    return than_s is not None and (wait_s is None or wait_s > than_s)
