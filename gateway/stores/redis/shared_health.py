"""Lets processes know what each has found out about deployments, so that one probes for all."""

import asyncio
import json
import logging
from functools import partial
from itertools import count
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.ports import BankAway, Clock
from gateway.stores.circuit import Circuit
from gateway.stores.health import MemoryHealth
from gateway.stores.redis.address import close_client, listener_of
from gateway.stores.redis.link import Link, Script
from gateway.upkeep import keep_up, woken

TICK_S = 0.1
READ_EVERY_S = 5.0
AWAY_S = 3.0
ASKED_S = 2.0
RIGHT_S = 2.0
RIGHT_KEPT_S = 10.0
"""A right that is not used is given up; it ends by itself only where its owner died, or was held up this long."""

PROBE_KEPT_S = 30.0
RECONNECT_S = 0.5
PAUSE_SLACK_S = 0.02

_OPEN = "gw.h:{gw}:open"
_PAUSES = "gw.h:{gw}:pauses"
_CHANNEL = "gw.h:{gw}:news"

TELL = Script(
    "gw.health.tell.1",
    """
-- KEYS: open, pauses, news; ARGV: boot, kind, name, left_ms, reason
local t = redis.call('TIME')
local at = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[4]
local kind, name = ARGV[2], ARGV[3]
if kind == 'open' then redis.call('HSET', KEYS[1], name, string.format('%.0f', at))
elseif kind == 'close' then redis.call('HDEL', KEYS[1], name)
elseif kind == 'pause' then redis.call('HSET', KEYS[2], name, string.format('%.0f', at) .. ' ' .. ARGV[5])
else redis.call('HDEL', KEYS[2], name) end
redis.call('EXPIRE', KEYS[1], 86400)
redis.call('EXPIRE', KEYS[2], 86400)
return redis.call('PUBLISH', KEYS[3], cjson.encode({ARGV[1], kind, name, ARGV[4], ARGV[5]}))
""",
)

READ = Script(
    "gw.health.read.1",
    """
-- KEYS: open, pauses; names of open circuits with what is left of their rest, then scopes with what is left and why
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open, pauses = {}, {}
local f = redis.call('HGETALL', KEYS[1])
for i = 1, #f, 2 do open[#open + 1] = {f[i], tonumber(f[i + 1]) - now} end
f = redis.call('HGETALL', KEYS[2])
for i = 1, #f, 2 do
  local at, reason = string.match(f[i + 1], '^(%d+) (.*)$')
  if tonumber(at) > now then pauses[#pauses + 1] = {f[i], tonumber(at) - now, reason}
  else redis.call('HDEL', KEYS[2], f[i]) end
end
return {open, pauses}
""",
)

RENEW = Script(
    "gw.health.renew.1",
    """
-- KEYS: right; ARGV: boot, ms
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""",
)

DROP = Script(
    "gw.health.drop.1",
    """
-- KEYS: right; ARGV: boot
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""",
)

_log = logging.getLogger("meterway")


class HealthMirror:
    """The health of this process stays the judge of every request, which never waits for Redis.

    What it finds out is told to the others, and theirs is followed. The right to probe an open circuit is claimed when
    requests ask for it; who has it probes, the others wait for the verdict. Without Redis each probes for itself.
    """

    def __init__(self, clock: Clock, link: Link, health: MemoryHealth, boot: str) -> None:
        self._clock = clock
        self._link = link
        self._health = health
        self._boot = boot
        self._open: set[str] = set()
        self._paused: dict[str, float] = {}
        self._rights: set[str] = set()
        self._wake = asyncio.Event()
        self._attempts = count()
        self._read_s = 0.0
        self._answered_s = clock.monotonic_s()
        health.changed = self._wake.set

    async def run(self) -> None:
        """Until it is cancelled."""
        reconnect_pause = partial(self._clock.sleep_s, RECONNECT_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_up("news of other processes are missed", self._listen_once, reconnect_pause))
            pause = partial(woken, self._wake, TICK_S)
            group.create_task(keep_up("what is known of providers is not shared", self.tick, pause))

    async def tick(self) -> None:
        """Tells what has changed here, looks after rights to probe. Raises BankAway."""
        now_s = self._clock.monotonic_s()
        try:
            if now_s - self._read_s >= READ_EVERY_S or not self._read_s:
                await self._read()
                self._read_s = now_s
            await self._tell_circuits(now_s)
            await self._tell_pauses(now_s)
            await self._claim(now_s)
        except BankAway:
            if now_s - self._answered_s >= AWAY_S:
                self._health.gate(gated=False)
                self._read_s = 0.0
            raise
        self._answered_s = now_s
        self._health.gate(gated=True)

    def heard(self, message: bytes) -> None:
        """News of another process."""
        boot, kind, name, left_ms, reason = json.loads(message)
        if boot == self._boot:
            return
        left_s = int(left_ms) / 1000
        match kind:
            case "open":
                self._follow_open(name, left_s)
            case "close":
                self._open.discard(name)
                self._health.follow_circuit(name, due_in_s=None)
            case "pause":
                self._follow_pause(name, reason, left_s)
            case "resume":
                self._paused.pop(name, None)
                self._health.follow_resume(name)

    async def _read(self) -> None:
        """Everything, as news may have been missed."""
        opened, pauses = await self._link.run(READ, (_OPEN, _PAUSES), ())
        names = {name.decode() for name, _ in opened}
        for name in self._open - names:
            self._health.follow_circuit(name, due_in_s=None)
        self._open &= names
        for name, left_ms in opened:
            if name.decode() not in self._open:
                self._follow_open(name.decode(), left_ms / 1000)
        for scope, left_ms, reason in pauses:
            if scope.decode() not in self._paused:
                self._follow_pause(scope.decode(), reason.decode(), left_ms / 1000)

    def _follow_open(self, name: str, left_s: float) -> None:
        self._open.add(name)
        self._health.follow_circuit(name, due_in_s=max(0.0, left_s))

    def _follow_pause(self, scope: str, reason: str, left_s: float) -> None:
        self._paused[scope] = self._clock.monotonic_s() + left_s
        self._health.follow_pause(scope, reason, left_s)

    async def _tell_circuits(self, now_s: float) -> None:
        broken = self._health.broken()
        for name, circuit in broken.items():
            if name not in self._open or (name in self._rights and circuit.due_in_s(now_s) > 0 and not circuit.probing):
                circuit.grant(now_s)  # the right goes back, so it ends here first
                await self._tell("open", name, circuit.due_in_s(now_s), "")
                self._open.add(name)
                await self._give_up(name)
        for name in self._open - broken.keys():
            await self._tell("close", name, 0.0, "")
            self._open.discard(name)
            await self._give_up(name)

    async def _tell_pauses(self, now_s: float) -> None:
        pauses = self._health.pauses()
        for scope, (reason, until_s) in pauses.items():
            if until_s > self._paused.get(scope, 0.0) + PAUSE_SLACK_S:
                await self._tell("pause", scope, until_s - now_s, reason)
                self._paused[scope] = until_s
        for scope, until_s in list(self._paused.items()):
            if scope not in pauses:
                if until_s > now_s:
                    await self._tell("resume", scope, 0.0, "")
                self._paused.pop(scope, None)

    async def _claim(self, now_s: float) -> None:
        """Before a probe is needed: whoever is asked for a circuit that may soon be tried claims the right."""
        broken = self._health.broken()
        self._rights &= broken.keys()
        for name, circuit in broken.items():
            if name in self._rights:
                await self._keep(name, circuit, now_s)
            elif now_s - circuit.asked_s < ASKED_S and circuit.due_in_s(now_s) <= 0 and not circuit.probing:
                claimed = await self._link.ask("SET", _right(name), self._boot, "NX", "PX", int(RIGHT_KEPT_S * 1000))
                if claimed:
                    self._rights.add(name)
                    circuit.grant(now_s + RIGHT_S)

    async def _keep(self, name: str, circuit: Circuit, now_s: float) -> None:
        """As long as a probe is under way; a right that nobody uses goes back by itself."""
        if circuit.probing:
            await self._link.run(RENEW, (_right(name),), (self._boot, int(PROBE_KEPT_S * 1000)))
        elif not circuit.may_probe(now_s):
            await self._give_up(name)

    async def _give_up(self, name: str) -> None:
        if name in self._rights:
            await self._link.run(DROP, (_right(name),), (self._boot,))
            self._rights.discard(name)

    async def _tell(self, kind: str, name: str, left_s: float, reason: str) -> None:
        words = (self._boot, kind, name, max(0, int(left_s * 1000)), reason)
        await self._link.run(TELL, (_OPEN, _PAUSES, _CHANNEL), words)

    async def _listen_once(self) -> None:
        """Until the connection breaks."""
        client = listener_of(self._link.address, next(self._attempts))
        try:
            await self._listen(client)
        except (RedisError, OSError) as error:
            _log.info("news of other processes are missed for a moment: %s", error)
        finally:
            await close_client(client)

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as news:
            await news.subscribe(_CHANNEL)
            self._read_s = 0.0
            async for message in news.listen():
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            self.heard(message["data"])


def _right(name: str) -> str:
    return f"gw.h:{{gw}}:right:{name}"
