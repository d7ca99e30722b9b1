"""When a circuit trips: enough traffic, enough failures, and proof that it is the deployment that is bad."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class TripRule:
    """Trip on `ratio` failures among at least `volume` results of `window_s`, proven by different callers or bodies."""

    window_s: float = 30.0
    volume: int = 20
    ratio: float = 0.5
    callers: int = 2
    bodies: int = 10
    open_s: float = 5.0
    probes: int = 1


@dataclass(slots=True)
class _Bucket:
    at: int
    good: int = 0
    bad: int = 0


class TripWindow:
    """Results of the last `window_s` in ten buckets, with the evidence of who and what failed.

    A failure that needs no proof (nothing was sent, or the same request then worked elsewhere) counts as its own body.
    """

    __slots__ = ("_bodies", "_buckets", "_callers", "_proofs", "_rule", "_width_s", "bad", "good")

    EVIDENCE_MAX: ClassVar[int] = 64

    def __init__(self, rule: TripRule) -> None:
        self._rule = rule
        self._width_s = rule.window_s / 10
        self._buckets: deque[_Bucket] = deque()
        self.good = 0
        self.bad = 0
        self._callers: dict[str, float] = {}
        self._bodies: dict[str, float] = {}
        self._proofs = 0

    def success(self, now_s: float) -> None:
        self._bucket(now_s).good += 1
        self.good += 1

    def failure(self, now_s: float, *, caller: str, body: str, proven: bool) -> None:
        self._bucket(now_s).bad += 1
        self.bad += 1
        self._remember(self._callers, caller, now_s)
        self._remember(self._bodies, body, now_s)
        if proven:
            self.proof()

    def proof(self) -> None:
        """Something that shows that a failure was not the request's own doing."""
        self._proofs += 1

    def trips(self, now_s: float) -> bool:
        self._bucket(now_s)
        total = self.good + self.bad
        return total >= self._rule.volume and self.bad >= self._rule.ratio * total and self._proven(now_s)

    def _proven(self, now_s: float) -> bool:
        since_s = now_s - self._rule.window_s
        callers = sum(at >= since_s for at in self._callers.values())
        bodies = sum(at >= since_s for at in self._bodies.values())
        return callers >= self._rule.callers or bodies + self._proofs >= self._rule.bodies

    def _remember(self, seen: dict[str, float], key: str, now_s: float) -> None:
        if key in seen or len(seen) < self.EVIDENCE_MAX:
            seen[key] = now_s

    def _bucket(self, now_s: float) -> _Bucket:
        at = int(now_s / self._width_s)
        buckets = self._buckets
        if buckets and buckets[-1].at >= at:
            return buckets[-1]
        while buckets and buckets[0].at <= at - 10:
            gone = buckets.popleft()
            self.good -= gone.good
            self.bad -= gone.bad
        if not self.bad:
            self._proofs = 0
        buckets.append(_Bucket(at))
        return buckets[-1]
