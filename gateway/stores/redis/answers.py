"""Answers under idempotency keys that several processes share, sealed: only who knows the key can read them."""

from gateway.ports import Owned, StoredAnswer
from gateway.stores.redis.link import Link, Script, Word
from gateway.stores.sealing import Sealing

TTL_S = 86_400
LEASE_S = 15.0
"""A running call's claim; it is renewed with every piece of its answer."""

FAILED_KEPT_S = 10.0
ALL_BYTES_MAX = 256 * 1024 * 1024

_INDEX = "gw.i:{gw}:index"
_BYTES = "gw.i:{gw}:bytes"

CLAIM = Script(
    "gw.answer.claim.1",
    """
-- KEYS: head; ARGV: fingerprint, request, lease_ms
local known = redis.call('HMGET', KEYS[1], 'f', 'r', 's')
if known[1] and known[3] ~= 'gone' then
  if known[1] ~= ARGV[1] then return {'OTHER'} end
  if known[2] == ARGV[2] then return {'YOURS'} end
  return {'HAS', known[2], known[3]}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'f', ARGV[1], 'r', ARGV[2], 's', 'runs')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'YOURS'}
""",
)

APPEND = Script(
    "gw.answer.append.1",
    """
-- KEYS: head, frames; ARGV: request, state, kept_ms, and of a frame: its place, itself
if redis.call('HGET', KEYS[1], 'r') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 's', ARGV[2])
if ARGV[4] and redis.call('LLEN', KEYS[2]) == tonumber(ARGV[4]) then redis.call('RPUSH', KEYS[2], ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
""",
)

READ = Script(
    "gw.answer.read.1",
    """
-- KEYS: head, frames; ARGV: request, from where
local known = redis.call('HMGET', KEYS[1], 'r', 's')
if known[1] ~= ARGV[1] then return {} end
return {known[2], redis.call('LRANGE', KEYS[2], ARGV[2], -1)}
""",
)

BOUND = Script(
    "gw.answer.bound.1",
    """
-- KEYS: index, bytes; ARGV: name, bytes, at most, ttl_s
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1], ARGV[1] .. ' ' .. ARGV[2])
local sum, out = redis.call('INCRBY', KEYS[2], ARGV[2]), {}
while true do
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if #first == 0 or (sum <= tonumber(ARGV[3]) and tonumber(first[2]) > t[1] - ARGV[4]) or #out >= 100 then break end
  local name, size = string.match(first[1], '^(.*) (%d+)$')
  redis.call('ZREM', KEYS[1], first[1])
  sum = redis.call('DECRBY', KEYS[2], size)
  out[#out + 1] = name
end
redis.call('EXPIRE', KEYS[1], 2 * ARGV[4])
redis.call('EXPIRE', KEYS[2], 2 * ARGV[4])
return out
""",
)

DROP = Script(
    "gw.answer.drop.1",
    """
-- KEYS: head, frames; ARGV: request
if redis.call('HGET', KEYS[1], 'r') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return redis.call('DEL', KEYS[2])
""",
)


class SharedAnswers:
    """Implements ports.Answers.

    The oldest answers go first when all of them together are more than `bytes_max`. Every method raises BankAway.
    """

    def __init__(self, link: Link, secret: bytes, *, bytes_max: int = ALL_BYTES_MAX) -> None:
        self._link = link
        self._sealing = Sealing(secret)
        self._bytes_max = bytes_max

    async def claim(self, name: bytes, fingerprint: bytes, request_id: str) -> Owned | StoredAnswer | None:
        words = (fingerprint, request_id, int(LEASE_S * 1000))
        answer = await self._link.run(CLAIM, (_head(name),), words)
        if answer[0] == b"YOURS":
            return Owned(request_id)
        return None if answer[0] == b"OTHER" else StoredAnswer(answer[1].decode(), ended=answer[2] != b"runs")

    async def renew(self, name: bytes, request_id: str) -> bool:
        return await self._told(name, request_id, "runs", LEASE_S)

    async def append(self, name: bytes, seal: bytes, request_id: str, at: int, frame: bytes) -> bool:
        return await self._told(name, request_id, "runs", LEASE_S, at, self._sealing.sealed(seal, request_id, frame))

    async def end(self, name: bytes, request_id: str, kept_bytes: int | None) -> None:
        kept_s, state = (FAILED_KEPT_S, "gone") if kept_bytes is None else (TTL_S, "done")
        owned = await self._told(name, request_id, state, kept_s)
        if owned and kept_bytes is not None:
            indexed = (f"{name.hex()}:{request_id}", kept_bytes, self._bytes_max, TTL_S)
            for old in await self._link.run(BOUND, (_INDEX, _BYTES), indexed):
                text, _, request = old.decode().partition(":")
                other = bytes.fromhex(text)
                await self._link.run(DROP, (_head(other), _frames(other, request)), (request,))

    async def read(self, name: bytes, seal: bytes, request_id: str, at: int) -> tuple[list[bytes], bool] | None:
        answer = await self._link.run(READ, (_head(name), _frames(name, request_id)), (request_id, at))
        if not answer:
            return None
        frames = [self._sealing.opened(seal, request_id, frame) for frame in answer[1]]
        known = [frame for frame in frames if frame is not None]
        return (known, answer[0] != b"runs") if len(known) == len(frames) else None

    async def _told(self, name: bytes, request_id: str, state: str, kept_s: float, *frame: Word) -> bool:
        words = (request_id, state, int(kept_s * 1000), *frame)
        return bool(await self._link.run(APPEND, (_head(name), _frames(name, request_id)), words))


def _head(name: bytes) -> str:
    return f"gw.i:{{{name.hex()}}}"


def _frames(name: bytes, request_id: str) -> str:
    return f"gw.i:{{{name.hex()}}}:{request_id}"
