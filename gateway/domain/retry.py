"""What to do after a failed attempt: wait and try again here, go to the next target, or stop."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from gateway.domain.failure import Failure, FailureKind, Health

WAIT_IN_PROCESS_MAX_S = 2.0
TRANSIENT_BASE_S = 0.05
THROTTLE_BASE_S = 1.0
BACKOFF_CAP_S = 20.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try the same target again after `wait_s`."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Next:
    """Go on to the next target at once."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Give up, for `reason`."""

    reason: str


Verdict = Again | Next | Stop


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the loop stands after a failure. `tries_here` counts attempts on this target, the failed one included.

    `opens_in_s` is when this target may be used again: now, unless the failure has closed it.
    """

    tries_here: int
    tries_left: int
    remaining_s: float
    others: bool
    opens_in_s: float = 0.0


def decide(failure: Failure, at: Situation, dice: float) -> Verdict:
    """Pure: a fallback that can start at once is better than a wait; a wait must leave time for the attempt."""
    rule = failure.rule
    if not rule.fallback and rule.again == 0:
        return Stop("not_retryable")
    if at.tries_left <= 0:
        return Stop("attempts_used_up")
    if at.remaining_s <= 0:
        return Stop("deadline")
    if at.others and rule.fallback:
        return Next()
    if at.tries_here > _again(failure):
        return Stop("no_other_target")
    wait_s = max(_wait_s(failure, at, dice), at.opens_in_s)
    if wait_s > min(WAIT_IN_PROCESS_MAX_S, at.remaining_s / 4):
        return Stop("wait_too_long")
    return Again(wait_s)


def _again(failure: Failure) -> int:
    """A provider that throttles and does not say for how long is left alone."""
    return 0 if failure.kind is FailureKind.THROTTLED and failure.hint_s is None else failure.rule.again


def _wait_s(failure: Failure, at: Situation, dice: float) -> float:
    if failure.kind is FailureKind.DNS:
        return 0.0
    jittered = backoff_s(at.tries_here, dice, throttled=failure.rule.health is Health.COOLDOWN)
    return jittered if failure.hint_s is None else max(failure.hint_s, min(jittered, WAIT_IN_PROCESS_MAX_S))


def backoff_s(tries: int, dice: float, *, throttled: bool) -> float:
    """Full jitter over an exponential: uniform in [0, base * 2^(tries-1)), capped."""
    base_s = THROTTLE_BASE_S if throttled else TRANSIENT_BASE_S
    exponential_s: float = base_s * 2 ** min(tries - 1, 10)
    return dice * min(BACKOFF_CAP_S, exponential_s)


class RetryBudget:
    """At most `ratio` of the traffic of the last ten seconds may be retries, but `floor_per_s` always may.

    Attempts after the first of a request count, fallbacks included.
    """

    __slots__ = ("_buckets", "_floor", "_ratio", "_requests", "_retries")

    WINDOW_S: ClassVar[int] = 10

    def __init__(self, *, ratio: float = 0.2, floor_per_s: float = 3.0) -> None:
        self._ratio = ratio
        self._floor = floor_per_s * self.WINDOW_S
        self._buckets: deque[list[int]] = deque()  # [second, requests, retries], oldest first
        self._requests = 0
        self._retries = 0

    def request(self, now_s: float) -> None:
        self._bucket(now_s)[1] += 1
        self._requests += 1

    def spend(self, now_s: float) -> bool:
        """Take one retry if the budget has it."""
        bucket = self._bucket(now_s)
        if self._retries >= max(self._floor, self._ratio * self._requests):
            return False
        bucket[2] += 1
        self._retries += 1
        return True

    def _bucket(self, now_s: float) -> list[int]:
        second = int(now_s)
        buckets = self._buckets
        if buckets and buckets[-1][0] >= second:
            return buckets[-1]
        while buckets and buckets[0][0] <= second - self.WINDOW_S:
            _, requests, retries = buckets.popleft()
            self._requests -= requests
            self._retries -= retries
        buckets.append([second, 0, 0])
        return buckets[-1]
