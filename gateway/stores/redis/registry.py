"""Which processes live, and for which tenants each of them has credit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.stores.redis.link import Link, Script

LEASE_S = 30.0
REBUILT_KEPT_S = 15.0
KEPT_S = 40 * 86_400
YOUNG_S = 3.0
"""A registry younger than this may have been emptied: processes that live have not all come back to it."""

_ALIVE = "gw.boots:{gw}:alive"
_CLOCK = "gw.boots:{gw}:clock"
_REBUILT = "gw.boots:{gw}:rebuilt"

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local clock = redis.call('HMGET', KEYS[1], 'last', 'born')
now = math.max(now, tonumber(clock[1] or 0))
local function digits(x) return string.format('%.0f', x) end
redis.call('HSET', KEYS[1], 'last', digits(now))
if not clock[2] then redis.call('HSET', KEYS[1], 'born', digits(now)) end
local age = now - tonumber(clock[2] or now)
"""

BEAT = Script(
    "gw.beat.2",
    _NOW
    + """
-- KEYS: clock, alive, tenants of this boot, rebuilt; ARGV: boot, lease_ms, rebuilt_kept_ms, how many dead at most
-- a process whose own time has passed sees nobody dead: the store was away, and the others come back as it does
local mine, dead = redis.call('ZSCORE', KEYS[2], ARGV[1]), {}
redis.call('ZADD', KEYS[2], digits(now + ARGV[2]), ARGV[1])
if mine and tonumber(mine) > now then
  dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now), 'LIMIT', 0, ARGV[4])
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', digits(now - ARGV[3]))
local alive = redis.call('ZCOUNT', KEYS[2], '(' .. digits(now), '+inf')
return {redis.call('SCARD', KEYS[3]), dead, redis.call('ZRANGE', KEYS[4], 0, -1), alive}
""",
)

REGISTER = Script(
    "gw.register.1",
    _NOW
    + """
-- KEYS: clock, alive, tenants of this boot, boots of each tenant; ARGV: boot, lease_ms, kept_s, tenants
redis.call('ZADD', KEYS[2], 'NX', digits(now + ARGV[2]), ARGV[1])
local others = 0
for i = 4, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[i])
  for _, boot in ipairs(redis.call('SMEMBERS', KEYS[i])) do
    if not redis.call('ZSCORE', KEYS[2], boot) then redis.call('SREM', KEYS[i], boot)
    elseif boot ~= ARGV[1] then others = others + 1 end
  end
  redis.call('SADD', KEYS[i], ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
redis.call('EXPIRE', KEYS[3], ARGV[3])
return {age, others}
""",
)

REBUILT = Script(
    "gw.rebuilt.1",
    _NOW
    + """
-- KEYS: clock, rebuilt; ARGV: tenant
redis.call('ZADD', KEYS[2], digits(now), ARGV[1])
return 1
""",
)

DONE = Script(
    "gw.done.1",
    """
-- KEYS: alive, tenants of a boot, boots of the tenant; ARGV: boot, tenant
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('SREM', KEYS[3], ARGV[1])
if redis.call('SCARD', KEYS[2]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
""",
)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a beat brings back: how many tenants Redis has for this process, who is dead, what was rebuilt lately, and
    how many processes live."""

    tenants: int
    dead: tuple[str, ...]
    rebuilt: tuple[str, ...]
    alive: int


class Registry:
    """Names of tenants are as they stand in keys. Every method raises BankAway."""

    def __init__(self, link: Link, boot: str, *, lease_s: float = LEASE_S, dead_max: int = 100) -> None:
        self._link = link
        self._boot = boot
        self._lease_ms = int(lease_s * 1000)
        self._dead_max = dead_max

    async def beat(self) -> Pulse:
        keys = (_CLOCK, _ALIVE, _tenants(self._boot), _REBUILT)
        words = (self._boot, self._lease_ms, int(REBUILT_KEPT_S * 1000), self._dead_max)
        count, dead, rebuilt, alive = await self._link.run(BEAT, keys, words)
        return Pulse(count, _texts(dead), _texts(rebuilt), alive)

    async def register(self, tenants: Iterable[str]) -> bool:
        """Before the first lease; whether no other process can have credit of these tenants."""
        names = list(tenants)
        keys = (_CLOCK, _ALIVE, _tenants(self._boot), *(_boots(name) for name in names))
        age_ms, others = await self._link.run(REGISTER, keys, (self._boot, self._lease_ms, KEPT_S, *names))
        return bool(others == 0 and age_ms > YOUNG_S * 1000)

    async def rebuilt(self, tenant: str) -> None:
        """Tells all processes, which look at every beat."""
        await self._link.run(REBUILT, (_CLOCK, _REBUILT), (tenant,))

    async def tenants(self, boot: str) -> tuple[str, ...]:
        return _texts(await self._link.ask("SMEMBERS", _tenants(boot)))

    async def done(self, boot: str, tenant: str) -> None:
        """Nothing of a dead process is left to do for this tenant."""
        await self._link.run(DONE, (_ALIVE, _tenants(boot), _boots(tenant)), (boot, tenant))


def _tenants(boot: str) -> str:
    return f"gw.boots:{{gw}}:t:{boot}"


def _boots(tenant: str) -> str:
    return f"gw.boots:{{gw}}:of:{tenant}"


def _texts(answer: Any) -> tuple[str, ...]:
    return tuple(sorted(text.decode() for text in answer))
