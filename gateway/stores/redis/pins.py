"""Session pins that follow a session to another process, behind the pins of this one's memory."""

from collections import OrderedDict

from gateway.stores.pins import PIN_TTL_S, MemoryPins
from gateway.stores.redis.link import Link, Script, Word

QUEUE_MAX = 10_000
BATCH = 500

EXCHANGE = Script(
    "gw.pins.1",
    """
-- KEYS: pins; ARGV: ttl_s, how many of them are written, their deployments; what the others are
local written = tonumber(ARGV[2])
for i = 1, written do redis.call('SET', KEYS[i], ARGV[2 + i], 'EX', ARGV[1]) end
local found = {}
for i = written + 1, #KEYS do found[#found + 1] = redis.call('GET', KEYS[i]) or '' end
return found
""",
)


class SharedPins:
    """Implements ports.Pins. A request never waits: what is not known here is asked for, for the session's next one.

    Until then rendezvous hashing sends a session to the same place from every process.
    """

    def __init__(self, link: Link, pins: MemoryPins) -> None:
        self._link = link
        self._pins = pins
        self._written: OrderedDict[bytes, str] = OrderedDict()
        self._missed: OrderedDict[bytes, None] = OrderedDict()

    def get(self, key: bytes) -> str | None:
        found = self._pins.get(key)
        if found is None and len(self._missed) < QUEUE_MAX:
            self._missed[key] = None
        return found

    def put(self, key: bytes, deployment: str) -> None:
        if self._pins.get(key) != deployment:
            self._written[key] = deployment
            if len(self._written) > QUEUE_MAX:
                self._written.popitem(last=False)
        self._missed.pop(key, None)
        self._pins.put(key, deployment)

    async def tend(self) -> None:
        """A few times a second. What cannot be written is forgotten: a pin is a hint, no more. Raises BankAway."""
        writes = [self._written.popitem(last=False) for _ in range(min(BATCH, len(self._written)))]
        reads = [self._missed.popitem(last=False)[0] for _ in range(min(BATCH, len(self._missed)))]
        for bucket in sorted({_bucket(key) for key in (*(key for key, _ in writes), *reads)}):
            written = [pair for pair in writes if _bucket(pair[0]) == bucket]
            missed = [key for key in reads if _bucket(key) == bucket]
            words: list[Word] = [int(PIN_TTL_S), len(written), *(deployment for _, deployment in written)]
            keys = [_name(key) for key in (*(key for key, _ in written), *missed)]
            found = await self._link.run(EXCHANGE, keys, words)
            for key, deployment in zip(missed, found, strict=True):
                if deployment and self._pins.get(key) is None:
                    self._pins.put(key, deployment.decode())


def _bucket(key: bytes) -> int:
    """Sixteen slots of a cluster, so that pins go in few calls."""
    return key[0] >> 4 if key else 0


def _name(key: bytes) -> str:
    return f"gw.p:{{{_bucket(key):x}}}:{key.hex()}"
