"""Rates and slots in the memory of one process."""

from gateway.domain.quota import Rate, Refusal, Room, adjust, room, take
from gateway.ports import Clock, Slot


class MemoryQuota:
    """All rates and slots of a request are taken at once or not at all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}
        self._busy: dict[str, int] = {}

    async def take(self, rates: tuple[Rate, ...], slots: tuple[Slot, ...]) -> Refusal | None:
        for slot in slots:
            if self._busy.get(slot.counter, 0) >= slot.limit:
                return Refusal("concurrent", slot.limit, 1, 1.0)
        refusal = take(self._arrivals, rates, self._clock.monotonic_s())
        if refusal is None:
            for slot in slots:
                self._busy[slot.counter] = self._busy.get(slot.counter, 0) + 1
        return refusal

    def settle(self, rates: tuple[Rate, ...], actual: tuple[int, ...], slots: tuple[Slot, ...]) -> None:
        now_s = self._clock.monotonic_s()
        for rate, used in zip(rates, actual, strict=True):
            if used != rate.cost:
                adjust(self._arrivals, rate, used, now_s)
        for slot in slots:
            left = self._busy[slot.counter] - 1
            if left:
                self._busy[slot.counter] = left
            else:
                del self._busy[slot.counter]

    def room(self, rate: Rate) -> Room:
        return room(self._arrivals, rate, self._clock.monotonic_s())
