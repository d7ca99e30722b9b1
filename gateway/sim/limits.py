"""Requests and tokens a minute, with the headers providers send about them."""

from dataclasses import dataclass
from typing import Final

from gateway.sim.ask import ANTHROPIC, Dialect
from gateway.sim.failure import go_duration, rfc3339
from gateway.sim.script import Limits

HOLDERS_MAX: Final = 10_000


@dataclass(slots=True)
class Bucket:
    """Fills evenly to its size within a minute."""

    size: int
    level: float
    at_s: float

    def fill(self, now_s: float) -> None:
        self.level = min(float(self.size), self.level + (now_s - self.at_s) * self.size / 60)
        self.at_s = now_s

    def wait_s(self, amount: int) -> float:
        """Until `amount` is there, or the bucket is full."""
        return max(0.0, (min(amount, self.size) - self.level) * 60 / self.size)

    @property
    def reset_s(self) -> float:
        return (self.size - self.level) * 60 / self.size


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wait_s` is None when the request is admitted."""

    wait_s: float | None
    headers: tuple[tuple[str, str], ...]


class Limiter:
    """One pair of buckets for each key and model."""

    def __init__(self, limits: Limits | None) -> None:
        self.limits = limits
        self._buckets: dict[tuple[str, str], dict[str, Bucket]] = {}

    def admit(self, dialect: Dialect, holder: tuple[str, str], tokens: int, now_s: float, wall_s: float) -> Verdict:
        if self.limits is None:
            return Verdict(None, ())
        buckets = self._of(holder, self.limits, now_s)
        amounts = {"requests": 1, "tokens": tokens}
        for bucket in buckets.values():
            bucket.fill(now_s)
        waits = {name: bucket.wait_s(amounts[name]) for name, bucket in buckets.items()}
        wait_s = max(waits.values(), default=0.0)
        short = {name for name, wait in waits.items() if wait > 0}
        if not short:
            for name, bucket in buckets.items():
                bucket.level -= min(amounts[name], bucket.size)
        headers = _headers(dialect, buckets, short, wall_s)
        return Verdict(wait_s if short else None, headers)

    def _of(self, holder: tuple[str, str], limits: Limits, now_s: float) -> dict[str, Bucket]:
        buckets = self._buckets.get(holder)
        if buckets is None:
            if len(self._buckets) >= HOLDERS_MAX:
                self._buckets.clear()
            sizes = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
            buckets = {name: Bucket(size, float(size), now_s) for name, size in sizes.items() if size is not None}
            self._buckets[holder] = buckets
        return buckets


def _headers(
    dialect: Dialect, buckets: dict[str, Bucket], short: set[str], wall_s: float
) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for name, bucket in buckets.items():
        left = 0 if name in short else int(bucket.level)
        if dialect in ANTHROPIC:
            prefix = f"anthropic-ratelimit-{name}"
            values = (
                ("limit", str(bucket.size)),
                ("remaining", str(left)),
                ("reset", rfc3339(wall_s + bucket.reset_s)),
            )
            lines += [(f"{prefix}-{part}", value) for part, value in values]
        else:
            reset = go_duration(round(bucket.reset_s, 3))
            values = (("limit", str(bucket.size)), ("remaining", str(left)), ("reset", reset))
            lines += [(f"x-ratelimit-{part}-{name}", value) for part, value in values]
    return tuple(lines)
