"""How long a target takes, as a peak-sensitive moving average: it rises at once and forgets slowly."""

import math
from typing import ClassVar


class PeakEwma:
    """Peak EWMA as in Finagle: a slower sample counts at once, a faster one pulls down by its age; idle time decays.

    `load_s` multiplies the average by what is in flight, so that a target that is slow to answer now is avoided now.
    """

    __slots__ = ("_at_s", "_value_s", "in_flight")

    TAU_S: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._value_s = 0.0
        self._at_s = 0.0
        self.in_flight = 0

    def observe(self, sample_s: float, now_s: float) -> None:
        if sample_s >= self._value_s:
            self._value_s = sample_s
        else:
            keep = math.exp(-max(0.0, now_s - self._at_s) / self.TAU_S)
            self._value_s = self._value_s * keep + sample_s * (1.0 - keep)
        self._at_s = now_s

    def load_s(self, now_s: float) -> float:
        idle = math.exp(-max(0.0, now_s - self._at_s) / (6 * self.TAU_S))
        return self._value_s * idle * (self.in_flight + 1)
