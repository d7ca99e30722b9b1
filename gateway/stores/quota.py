"""Rates and slots in the memory of one process."""

from gateway.domain.quota import Gates, Refusal, Room, adjust, put_back, room, take
from gateway.ports import Clock, Quota


class MemoryQuota(Quota):
    """All rates and slots of a request are taken at once or not at all."""

    def __init__(self, clock: Clock) -> None:
        self._now_s = clock.monotonic_s
        self._arrivals: dict[str, float] = {}
        self._busy: dict[str, int] = {}

    def take_now(self, gates: Gates, tokens: int) -> bool:
        return self._take(gates, tokens) is None

    async def take(self, gates: Gates, tokens: int) -> Refusal | None:
        return self._take(gates, tokens)

    def _take(self, gates: Gates, tokens: int) -> Refusal | None:
        busy = self._busy
        for slot in gates.slots:
            if busy.get(slot.counter, 0) >= slot.limit and not slot.shadow:
                return Refusal("concurrent", slot.limit, 1, 1.0)
        refusal = take(self._arrivals, gates.rates, tokens, self._now_s())
        if refusal is None:
            for slot in gates.slots:
                busy[slot.counter] = busy.get(slot.counter, 0) + 1
        return refusal

    def settle(self, gates: Gates, taken: int, actual: int) -> None:
        if actual != taken:
            adjust(self._arrivals, gates.rates, taken, actual, self._now_s())
        for slot in gates.slots:
            self._busy[slot.counter] -= 1

    def put_back(self, gates: Gates, taken: int) -> None:
        put_back(self._arrivals, gates.rates, taken, self._now_s())
        for slot in gates.slots:
            self._busy[slot.counter] -= 1

    def rooms(self, gates: Gates) -> list[Room]:
        now_s = self._now_s()
        return [room(self._arrivals, rate, now_s) for rate in gates.rates]
