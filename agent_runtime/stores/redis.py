"""Events, conversations and runs in Redis, for any number of machines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Principal
from agent_runtime.ports import Entry, RunEntry, Turn
from agent_runtime.stores.codec import ENTRY, TURN, ends, event_of, event_text, whose_key
from agent_runtime.stores.memory import MESSAGES_MAX, bounded, with_turn

TTL_S = 86_400
TIMEOUT_S = 5.0
READ_MAX = 500

APPEND = """
local ended = redis.call('HGET', KEYS[2], 'ended')
for i = 2, #ARGV, 3 do
  if not ended and redis.call('HSETNX', KEYS[2], 'key:' .. ARGV[i], 1) == 1 then
    redis.call('XADD', KEYS[1], '1-' .. (redis.call('HINCRBY', KEYS[2], 'count', 1)), 'e', ARGV[i + 1])
    if ARGV[i + 2] == '1' then ended = '1'; redis.call('HSET', KEYS[2], 'ended', 1) end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

BEGIN = """
if ARGV[3] == '1' then
  if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[4]) then return redis.call('GET', KEYS[2]) end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
return ARGV[1]
"""

TAKE = """
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[2])
  if redis.call('ZCARD', key) >= tonumber(ARGV[3 + i]) then return i end
end
for _, key in ipairs(KEYS) do redis.call('ZADD', key, ARGV[3], ARGV[1]) end
return 0
"""


def connect(url: str) -> "Redis":
    """The client's own retries are off: who repeats is decided by those who know whether it may be repeated."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class RedisEvents:
    """Implements ports.EventLog with a stream for each run: entry `1-n` is the event numbered n - 1."""

    distributed = True

    def __init__(self, redis: "Redis", *, ttl_s: int = TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._append = redis.register_script(APPEND)

    async def append(self, run_id: str, entries: Sequence[Entry]) -> None:
        values: list[Any] = [self._ttl_s]
        for entry in entries:
            values += [entry.key, event_text(entry.event), "1" if ends(entry.event) else "0"]
        await self._append(keys=[f"ma:{{{run_id}}}:events", f"ma:{{{run_id}}}:facts"], args=values)

    async def read(self, run_id: str, offset: int, wait_s: float) -> list[tuple[int, Shown]]:
        name = f"ma:{{{run_id}}}:events"
        block_ms = max(1, int(min(wait_s, TIMEOUT_S / 2) * 1000))
        found: Any = await self._redis.xread({name: f"1-{offset}"}, count=READ_MAX, block=block_ms)
        rows = found[0][1] if found else []
        return [(int(entry.split("-")[1]) - 1, event_of(fields["e"])) for entry, fields in rows]

    async def erase(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            await self._redis.delete(f"ma:{{{run_id}}}:events", f"ma:{{{run_id}}}:facts")


class RedisConversations:
    """Implements ports.Conversations; a conversation expires some time after its last turn."""

    distributed = True

    def __init__(self, redis: "Redis", *, ttl_s: int = TTL_S, messages_max: int = MESSAGES_MAX) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._messages_max = messages_max
        self._release = redis.register_script(RELEASE)

    async def claim(self, whose: Principal, conversation: str, run_id: str, ttl_s: float) -> str:
        key = f"ma:floor:{_conversation(whose, conversation)}"
        while not await self._redis.set(key, run_id, nx=True, px=max(1, int(ttl_s * 1000))):
            holder = await self._redis.get(key)
            if holder is not None:
                return str(holder)
        return run_id

    async def release(self, whose: Principal, conversation: str, run_id: str) -> None:
        await self._release(keys=[f"ma:floor:{_conversation(whose, conversation)}"], args=[run_id])

    async def keep(self, whose: Principal, conversation: str, turn: Turn) -> None:
        """One writer at a time, as only the run that has the floor writes."""
        key = f"ma:turns:{_conversation(whose, conversation)}"
        turns = bounded(with_turn(await self.turns(whose, conversation), turn), self._messages_max)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.rpush(key, *[TURN.dump_json(one).decode() for one in turns])
            pipe.expire(key, self._ttl_s)
            await pipe.execute()

    async def turns(self, whose: Principal, conversation: str) -> list[Turn]:
        found: Any = await self._redis.lrange(f"ma:turns:{_conversation(whose, conversation)}", 0, -1)
        return [TURN.validate_json(one) for one in found]

    async def clear(self, whose: Principal, conversation: str) -> None:
        await self._redis.delete(f"ma:turns:{_conversation(whose, conversation)}")

    async def erase(self, whose: Principal) -> list[str]:
        gone: list[str] = []
        async for key in self._redis.scan_iter(f"ma:turns:{_prefix(whose)}*", count=500):
            found: Any = await self._redis.lrange(key, 0, -1)
            gone += [TURN.validate_json(one).run_id for one in found]
            await self._redis.delete(key)
        return gone


class RedisRuns:
    """Implements ports.Runs."""

    distributed = True

    def __init__(self, redis: "Redis", *, ttl_s: int = TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._begin = redis.register_script(BEGIN)
        self._take = redis.register_script(TAKE)

    async def find(self, request: str) -> str | None:
        found = await self._redis.get(f"ma:request:{request}")
        return None if found is None else str(found)

    async def begin(self, entry: RunEntry, request: str | None) -> str:
        run_id = entry.ref.run_id
        text = ENTRY.dump_json(entry).decode()
        keys = [f"ma:run:{run_id}", f"ma:request:{request or ''}"]
        return str(await self._begin(keys=keys, args=[run_id, text, "0" if request is None else "1", self._ttl_s]))

    async def take_place(self, run_id: str, bounds: Mapping[str, int], now_s: float, until_s: float) -> str | None:
        keys = [f"ma:places:{scope}" for scope in bounds]
        full = int(await self._take(keys=keys, args=[run_id, now_s, until_s, *bounds.values()]))
        return list(bounds)[full - 1] if full else None

    async def leave_place(self, run_id: str, scopes: Collection[str]) -> None:
        async with self._redis.pipeline() as pipeline:
            for scope in scopes:
                pipeline.zrem(f"ma:places:{scope}", run_id)
            await pipeline.execute()

    async def end(self, outcome: Outcome) -> None:
        known = await self.get(outcome.ref.run_id)
        entry = replace(known or RunEntry(outcome.ref, ""), outcome=outcome)
        await self._redis.set(f"ma:run:{outcome.ref.run_id}", ENTRY.dump_json(entry).decode(), ex=self._ttl_s)

    async def get(self, run_id: str) -> RunEntry | None:
        found = await self._redis.get(f"ma:run:{run_id}")
        return None if found is None else ENTRY.validate_json(found)

    async def result_of_call(self, run_id: str, key: str) -> str | None:
        found = await self._redis.get(f"ma:result:{run_id}:{key}")
        return None if found is None else str(found)

    async def keep_result(self, run_id: str, key: str, text: str) -> None:
        await self._redis.set(f"ma:result:{run_id}:{key}", text, ex=self._ttl_s)

    async def erase(self, whose: Principal) -> list[str]:
        gone: list[str] = []
        async for key in self._redis.scan_iter("ma:run:*", count=500):
            found = await self._redis.get(key)
            if found is None:
                continue
            owner = ENTRY.validate_json(found).ref
            if owner.principal.tenant == whose.tenant and whose.user in ("", owner.principal.user):
                await self._redis.delete(key)
                async for result in self._redis.scan_iter(f"ma:result:{owner.run_id}:*", count=500):
                    await self._redis.delete(result)
                gone.append(owner.run_id)
        return gone


class RedisRoster:
    """Implements ports.Roster."""

    distributed = True

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def beat(self, queue: str, worker: str, ttl_s: float) -> None:
        await self._redis.set(f"ma:worker:{queue}:{worker}", "1", px=max(1, int(ttl_s * 1000)))

    async def leave(self, queue: str, worker: str) -> None:
        await self._redis.delete(f"ma:worker:{queue}:{worker}")

    async def present(self, queue: str) -> list[str]:
        prefix = f"ma:worker:{queue}:"
        return sorted([key[len(prefix) :] async for key in self._redis.scan_iter(f"{prefix}*", count=500)])


def _conversation(whose: Principal, conversation: str) -> str:
    return f"{whose_key(whose.tenant, whose.user)}:{conversation}"


def _prefix(whose: Principal) -> str:
    text = whose_key(whose.tenant, whose.user) if whose.user else f"{len(whose.tenant)}:{whose.tenant}"
    return (
        "".join(
            f"[{letter}]" if letter in "*?[" else ("\\" + letter if letter in "]^\\" else letter) for letter in text
        )
        + ":"
    )
