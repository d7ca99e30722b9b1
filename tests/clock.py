"""A clock that moves when told, with dice that can be set."""

import random


class ToldClock:
    """Implements gateway.ports.Clock without the machine."""

    def __init__(self, seed: int = 7) -> None:
        self.now_s = 1_000.0
        self.wall = 1_800_000_000.0
        self.slept_s: list[float] = []
        self._random = random.Random(seed)

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.wall + self.now_s

    def dice(self) -> float:
        return self._random.random()

    async def sleep_s(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        self.now_s += delay_s
