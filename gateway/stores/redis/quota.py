"""Rates and slots that several processes share: units are leased from Redis in chunks and spent in memory."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import quote

from gateway.domain.budget import StoreAway
from gateway.domain.quota import Gates, Rate, Refusal, Room, Slot, take
from gateway.ports import BankAway, Clock
from gateway.stores.redis import quota_scripts
from gateway.stores.redis.link import Link, Word

CHUNK_PERCENT = 1
"""Of a limit, what one process holds at most beyond what it needs."""

CHUNKED_FROM = 2 * 100 // CHUNK_PERCENT
"""A slot with fewer places than this is leased one by one."""

IDLE_S = 1.0
LEASE_S = 30.0
RENEW_S = 10.0
FORGET_S = 600.0


@dataclass(slots=True)
class _Purse:
    """Units of one rate: `have` is leased and free (below 0: a debt), `room` what Redis had left at `told_s`."""

    rate: Rate
    have: int = 0
    room: int = 0
    told_s: float = 0.0
    used_s: float = 0.0


@dataclass(slots=True)
class _Bench:
    """Places of one slot: `busy` with requests, `held` in Redis for this process; more or fewer while it is away."""

    slot: Slot
    busy: int = 0
    held: int = 0
    used_s: float = 0.0
    told_s: float = 0.0

    def due(self, now_s: float) -> bool:
        """Few places go back at once, as others may wait for each; those in use are renewed."""
        if self.held != self.busy and (self.slot.limit < CHUNKED_FROM or now_s - self.used_s >= IDLE_S):
            return True
        return self.told_s == 0.0 or (self.busy > 0 and now_s - self.told_s >= RENEW_S)


class LeasedQuota:
    """Implements ports.Quota. Redis is asked only when what is leased here does not cover a request.

    While Redis is away, each process goes on with its part of every limit, as many as `processes` there are; each
    rate and slot says whether to do so. What a lost answer has taken comes back by itself: rates run full
    again, and places are told in absolute figures.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        boot: str,
        *,
        processes: Callable[[], int] = lambda: 1,
    ) -> None:
        self._clock = clock
        self._link = link
        self._boot = boot
        self._processes = processes
        self._serial = count(1)
        self._purses: dict[str, _Purse] = {}
        self._benches: dict[str, _Bench] = {}
        self._arrivals: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._away = False

    def take_now(self, gates: Gates, tokens: int) -> bool:
        covered = self._covered(gates, tokens)
        if covered:
            self._pay(gates, tokens)
        return covered

    async def take(self, gates: Gates, tokens: int) -> Refusal | None:
        if self.take_now(gates, tokens):
            return None
        taken: list[Gates] = []
        refusal: Refusal | None = None
        whole = False
        try:
            for part in _scopes(gates):
                refusal = await self._take(part, tokens)
                if refusal is not None:
                    break
                taken.append(part)
            self._away = False
            whole = refusal is None
        except BankAway:
            self._away = True
        finally:
            if not whole:
                for part in taken:
                    self.put_back(part, tokens)
        return self._alone(gates, tokens) if self._away else refusal

    def settle(self, gates: Gates, taken: int, actual: int) -> None:
        for rate in gates.rates:
            if rate.by_tokens and actual != taken:
                self._give(rate, taken - actual)
        self._leave(gates)

    def put_back(self, gates: Gates, taken: int) -> None:
        for rate in gates.rates:
            self._give(rate, taken if rate.by_tokens else 1)
        self._leave(gates)

    def rooms(self, gates: Gates) -> list[Room]:
        """As far as is known here: what Redis had left when it was asked last, and what has come back since."""
        now_s = self._clock.monotonic_s()
        found: list[Room] = []
        for rate in gates.rates:
            purse = self._purse(rate)
            back = int((now_s - purse.told_s) / rate.interval_s) if purse.told_s else rate.per_minute
            remaining = max(0, min(rate.per_minute, purse.have + purse.room + back))
            reset_s = (rate.per_minute - remaining) * rate.interval_s
            found.append(Room(rate.dimension, rate.per_minute, remaining, reset_s))
        return found

    async def tend(self) -> None:
        """Several times a second: what lay idle goes back, debts are told, places are renewed. Raises BankAway."""
        now_s = self._clock.monotonic_s()
        rates: dict[str, list[_Purse]] = {}
        for name, purse in list(self._purses.items()):
            if purse.have < 0 or (purse.have > 0 and now_s - purse.used_s >= IDLE_S):
                rates.setdefault(_scope(name), []).append(purse)
            elif now_s - purse.used_s > FORGET_S:
                del self._purses[name]
        slots: dict[str, list[_Bench]] = {}
        for name, bench in list(self._benches.items()):
            if bench.due(now_s):
                slots.setdefault(_scope(name), []).append(bench)
            elif not bench.busy and not bench.held and now_s - bench.used_s > FORGET_S:
                del self._benches[name]
        for scope in sorted(rates.keys() | slots.keys()):
            async with self._lock(scope):
                await self._tell(rates.get(scope, ()), slots.get(scope, ()))
        self._locks = {scope: lock for scope, lock in self._locks.items() if lock.locked()}

    async def _tell(self, purses: Sequence[_Purse], benches: Sequence[_Bench]) -> None:
        now_s = self._clock.monotonic_s()
        words: list[Word] = [self._boot, next(self._serial), int(LEASE_S * 1e6), len(purses)]
        back = [purse.have for purse in purses]
        for purse, units in zip(purses, back, strict=True):
            purse.have -= units
            words += (purse.rate.per_minute, units)
        for bench in benches:
            bench.held, bench.told_s = bench.busy, now_s
            words.append(bench.busy)
        keys = [*(_key(purse.rate) for purse in purses), *(_key(bench.slot) for bench in benches)]
        try:
            await self._link.run(quota_scripts.SETTLE, keys, words)
        except BankAway:
            for purse, units in zip(purses, back, strict=True):
                purse.have += min(0, units)  # debts stay; credit runs back by itself
            for bench in benches:
                bench.told_s = 0.0
            raise

    def _covered(self, gates: Gates, tokens: int) -> bool:
        return all(self._purse(rate).have >= _cost(rate, tokens) for rate in gates.rates) and all(
            bench.busy < bench.held for bench in map(self._bench, gates.slots)
        )

    def _pay(self, gates: Gates, tokens: int) -> None:
        now_s = self._clock.monotonic_s()
        for rate in gates.rates:
            purse = self._purse(rate)
            purse.have -= _cost(rate, tokens)
            purse.used_s = now_s
        self._sit(gates, now_s)

    def _sit(self, gates: Gates, now_s: float) -> None:
        for slot in gates.slots:
            bench = self._bench(slot)
            bench.busy += 1
            bench.used_s = now_s

    async def _take(self, gates: Gates, tokens: int) -> Refusal | None:
        """All gates of one scope or none; what others lease meanwhile is not for this request."""
        async with self._lock(_scope(_first(gates).counter)):
            refusal = None if self._covered(gates, tokens) else await self._lease(gates, tokens)
            if refusal is None:
                self._pay(gates, tokens)
            return refusal

    async def _lease(self, gates: Gates, tokens: int) -> Refusal | None:
        """What is lacking here."""
        purses = [p for rate in gates.rates if (p := self._purse(rate)).have < _cost(rate, tokens)]
        benches = [b for slot in gates.slots if (b := self._bench(slot)).busy >= b.held]
        words: list[Word] = [self._boot, next(self._serial), int(LEASE_S * 1e6), len(purses)]
        for purse in purses:
            need = _cost(purse.rate, tokens) - purse.have
            chunk = purse.rate.per_minute * CHUNK_PERCENT // 100
            words += (purse.rate.per_minute, need, max(need, chunk), int(purse.rate.shadow))
        for bench in benches:
            limit, need = bench.slot.limit, bench.busy + 1
            words += (limit, need, need + max(0, limit * CHUNK_PERCENT // 100 - 1), int(bench.slot.shadow))
        wanted: list[Rate | Slot] = [*(p.rate for p in purses), *(b.slot for b in benches)]
        try:
            answer = await self._link.run(quota_scripts.TAKE, [_key(gate) for gate in wanted], words)
            if answer[0] == b"STALE":
                raise BankAway("a later call came first")
        except (BankAway, asyncio.CancelledError):
            for bench in benches:
                bench.told_s = 0.0  # Redis may count places that nobody got
            raise
        if answer[0] == b"NO":
            return _refusal(wanted[answer[1]], tokens, answer[2])
        now_s = self._clock.monotonic_s()
        for at, purse in enumerate(purses):
            purse.have += answer[1 + 2 * at]
            purse.room, purse.told_s, purse.used_s = answer[2 + 2 * at], now_s, now_s
        for at, bench in enumerate(benches, start=len(purses)):
            bench.held, bench.told_s, bench.used_s = answer[1 + 2 * at], now_s, now_s
        return None

    def _alone(self, gates: Gates, tokens: int) -> Refusal | None:
        """Redis is away: this process keeps to its part of each limit."""
        now_s, share = self._clock.monotonic_s(), max(1, self._processes())
        every: list[Rate | Slot] = [*gates.rates, *gates.slots]
        for gate in every:
            if gate.away is StoreAway.DENY and not gate.shadow:
                return _refusal(gate, tokens, 1_000)
        for slot in gates.slots:
            part = max(1, slot.limit // share)
            if self._bench(slot).busy >= part and not slot.shadow and slot.away is StoreAway.LOCAL:
                return _refusal(slot, tokens, 1_000)
        parts = tuple(
            replace(rate, per_minute=max(1, rate.per_minute // share))
            for rate in gates.rates
            if rate.away is StoreAway.LOCAL
        )
        refusal = take(self._arrivals, parts, tokens, now_s)
        if refusal is None:
            self._sit(gates, now_s)
        return refusal

    def _give(self, rate: Rate, units: int) -> None:
        """While Redis is away nothing is credited: it may never have been taken there."""
        if units < 0 or not self._away:
            purse = self._purse(rate)
            purse.have += units
            purse.used_s = self._clock.monotonic_s()

    def _leave(self, gates: Gates) -> None:
        now_s = self._clock.monotonic_s()
        for slot in gates.slots:
            bench = self._bench(slot)
            bench.busy -= 1
            bench.used_s = now_s

    def _purse(self, rate: Rate) -> _Purse:
        purse = self._purses.get(rate.counter)
        if purse is None:
            purse = self._purses[rate.counter] = _Purse(rate, used_s=self._clock.monotonic_s())
        elif purse.rate is not rate:
            purse.rate = rate
        return purse

    def _bench(self, slot: Slot) -> _Bench:
        bench = self._benches.get(slot.counter)
        if bench is None:
            now_s = self._clock.monotonic_s()
            bench = self._benches[slot.counter] = _Bench(slot, used_s=now_s, told_s=now_s)
        elif bench.slot is not slot:
            if slot.limit < bench.slot.limit:
                bench.held = min(bench.held, bench.busy)  # ask anew under the smaller limit
            bench.slot = slot
        return bench

    def _lock(self, scope: str) -> asyncio.Lock:
        lock = self._locks.get(scope)
        if lock is None:
            lock = self._locks[scope] = asyncio.Lock()
        return lock


def _cost(rate: Rate, tokens: int) -> int:
    return tokens if rate.by_tokens else 1


def _scope(counter: str) -> str:
    return counter.rpartition(":")[0] or counter


def _key(gate: Rate | Slot) -> str:
    """All limits of one scope are in one slot of a cluster."""
    scope, _, name = gate.counter.rpartition(":")
    return f"gw.q:{{{quote(scope or name, safe='')}}}:{name}"


def _first(gates: Gates) -> Rate | Slot:
    return gates.rates[0] if gates.rates else gates.slots[0]


def _scopes(gates: Gates) -> list[Gates]:
    """The same gates, by scope."""
    every: list[Rate | Slot] = [*gates.rates, *gates.slots]
    names = dict.fromkeys(_scope(gate.counter) for gate in every)
    if len(names) == 1:
        return [gates]
    return [
        Gates(
            tuple(rate for rate in gates.rates if _scope(rate.counter) == name),
            tuple(slot for slot in gates.slots if _scope(slot.counter) == name),
        )
        for name in names
    ]


def _refusal(gate: Rate | Slot, tokens: int, wait_ms: int) -> Refusal:
    if isinstance(gate, Slot):
        return Refusal("concurrent", gate.limit, 1, 1.0)
    cost = _cost(gate, tokens)
    return Refusal(gate.dimension, gate.per_minute, cost, wait_ms / 1000 if cost <= gate.per_minute else None)
