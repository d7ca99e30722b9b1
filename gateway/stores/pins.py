"""Where sessions were served last, in the memory of one process."""

from collections import OrderedDict

from gateway.ports import Clock, Pins

PIN_TTL_S = 86_400.0
PINS_MAX = 100_000


class MemoryPins(Pins):
    """Least recently used pins go first; a pin lives a day after its last use, as a conversation does."""

    def __init__(self, clock: Clock, *, ttl_s: float = PIN_TTL_S, pins_max: int = PINS_MAX) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._pins_max = pins_max
        self._pins: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def get(self, key: bytes) -> str | None:
        found = self._pins.get(key)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic_s():
            del self._pins[key]
            return None
        return found[0]

    def put(self, key: bytes, deployment: str) -> None:
        self._pins[key] = (deployment, self._clock.monotonic_s() + self._ttl_s)
        self._pins.move_to_end(key)
        if len(self._pins) > self._pins_max:
            self._pins.popitem(last=False)
