"""How fast: the generic cell rate algorithm with cost n and refund, all limits of a request at once or none."""

from collections.abc import MutableMapping
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit per minute on one counter, and what this request costs it."""

    counter: str
    dimension: str
    per_minute: int
    cost: int

    @property
    def interval_s(self) -> float:
        return MINUTE_S / self.per_minute


@dataclass(frozen=True, slots=True)
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


def take(arrivals: MutableMapping[str, float], rates: tuple[Rate, ...], now_s: float) -> Refusal | None:
    """GCRA (ITU-T I.371, virtual scheduling). `arrivals` holds a theoretical arrival time for each counter.

    A burst of the whole limit is allowed; nothing changes unless every rate has room.
    """
    refusal: Refusal | None = None
    for rate in rates:
        theoretical_s = max(arrivals.get(rate.counter, now_s), now_s)
        over_s = theoretical_s + rate.cost * rate.interval_s - now_s - MINUTE_S
        if over_s > 1e-9:
            wait_s = over_s if rate.cost <= rate.per_minute else None
            if refusal is None or _longer(wait_s, refusal.wait_s):
                refusal = Refusal(rate.dimension, rate.per_minute, rate.cost, wait_s)
    if refusal is None:
        for rate in rates:
            theoretical_s = max(arrivals.get(rate.counter, now_s), now_s)
            arrivals[rate.counter] = theoretical_s + rate.cost * rate.interval_s
    return refusal


def adjust(arrivals: MutableMapping[str, float], rate: Rate, actual: int, now_s: float) -> None:
    """Replace a taken cost by the actual one: a refund, or a debt where more was used than taken."""
    theoretical_s = max(arrivals.get(rate.counter, now_s), now_s)
    arrivals[rate.counter] = max(now_s, theoretical_s + (actual - rate.cost) * rate.interval_s)


def room(arrivals: MutableMapping[str, float], rate: Rate, now_s: float) -> Room:
    ahead_s = max(0.0, arrivals.get(rate.counter, now_s) - now_s)
    remaining = int((MINUTE_S - ahead_s) / rate.interval_s + 1e-6)
    return Room(rate.dimension, rate.per_minute, max(0, remaining), ahead_s)


def _longer(wait_s: float | None, than_s: float | None) -> bool:
    return than_s is not None and (wait_s is None or wait_s > than_s)
