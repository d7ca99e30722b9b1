"""Puts a tenant's counters together again from the ledger, by one process at a time."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.ports import BankAway
from gateway.stores.redis import scripts
from gateway.stores.redis.link import Link, Script, Word
from gateway.stores.redis.registry import Registry

GRACE_S = 2.0
LOCK_S = 10
POLL_S = 0.02
POLLS_MAX = 10
CHUNK = 200

_log = logging.getLogger("meterway")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the ledger says of a tenant: `spent` by counter, `by_worker` by process what each has charged.

    `ends_s` are the ends of the counters' windows, as wall time; a counter without one is kept 40 days.
    """

    spent: Mapping[str, int] = field(default_factory=dict)
    by_worker: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ends_s: Mapping[str, float] = field(default_factory=dict)


class Rebuilder:
    def __init__(
        self, link: Link, registry: Registry, ledger: Callable[[str], Awaitable[Rebuilt]], grace_s: float
    ) -> None:
        self._link = link
        self._registry = registry
        self._ledger = ledger
        self._grace_s = grace_s

    async def rebuild(self, tenant: str, name: str, known: str) -> None:
        """Nothing is done when another epoch than the `known` one is there by now. Raises BankAway.

        Then follows a time in which living processes say what credit they hold, unless there cannot be another one.
        """
        epoch, lock, token = f"gw:{{{name}}}:epoch", f"gw:{{{name}}}:lock", secrets.token_hex(8)
        if not await self._link.ask("SET", lock, token, "NX", "PX", LOCK_S * 1000):
            await self._others(tenant, epoch, known)
            return
        current = await self._link.ask("HGET", epoch, "id")
        if current is not None and current.decode() != known:
            await self._link.ask("DEL", lock)
            return
        alone = await self._registry.register((name,)) and current is None
        await self._held(scripts.CLEAR, (epoch, lock), (token, LOCK_S * 1000))
        try:
            found = await self._ledger(tenant)
        except BankAway:
            raise
        except Exception as error:
            _log.error("the ledger of %r cannot be read, its budgets wait: %s", tenant, error)
            raise BankAway(f"the ledger of {tenant!r} cannot be read") from error
        fresh = secrets.token_hex(8)
        counters = sorted(set(found.spent).union(*found.by_worker.values()))
        for at in range(0, len(counters), CHUNK):
            part = counters[at : at + CHUNK]
            keys = (lock, *(f"gw:{{{name}}}:c:{counter}" for counter in part))
            await self._held(scripts.FILL, keys, (token, LOCK_S * 1000, fresh, *_filled(found, part)))
        await self._registry.rebuilt(name)
        grace_ms = 0 if alone else int(self._grace_s * 1000)
        await self._held(scripts.OPEN, (epoch, lock), (token, fresh, grace_ms))
        _log.warning("the counters of %r were put together from the ledger (%d)", tenant, len(counters))

    async def _others(self, tenant: str, epoch: str, known: str) -> None:
        """Another process is at it: mostly that takes no time worth a refusal."""
        for _ in range(POLLS_MAX):
            await self._link.clock.sleep_s(POLL_S)
            current = await self._link.ask("HGET", epoch, "id")
            if current is not None and current.decode() != known:
                return
        raise BankAway(f"the counters of {tenant!r} are being rebuilt by another process")

    async def _held(self, script: Script, keys: tuple[str, ...], words: tuple[Any, ...]) -> None:
        if not await self._link.run(script, keys, words):
            raise BankAway("a rebuild took too long and was left to another process")


def _filled(found: Rebuilt, counters: list[str]) -> list[Word]:
    words: list[Word] = []
    for counter in counters:
        shares = [(boot, sums[counter]) for boot, sums in found.by_worker.items() if counter in sums]
        words += (found.spent.get(counter, 0), _ends_ms(found, counter), len(shares))
        for share in shares:
            words += share
    return words


def _ends_ms(found: Rebuilt, counter: str) -> int:
    ends_s = found.ends_s.get(counter)
    return 0 if ends_s is None else int((min(ends_s, 1e11) + 3 * 86_400) * 1000)
