"""R7: a store that may drop what it was given is given nothing, whenever it is met."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.ports import BankAway
from gateway.stores.redis.link import Link, StoreEvicts
from tests.redis import served, until

AWAY_S = 15.0

Linked = Callable[[str], Link]


@pytest.fixture
async def linked() -> AsyncIterator[Linked]:
    async with AsyncExitStack() as stack:

        def link(url: str) -> Link:
            made = Link(url, SystemClock())
            stack.push_async_callback(made.close)
            return made

        yield link


async def asked(link: Link, *words: Any) -> Any:
    """Once it is no longer away; one that evicts is not away."""
    async with asyncio.timeout(AWAY_S):
        while True:
            try:
                return await link.ask(*words)
            except StoreEvicts:
                raise
            except BankAway:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["single", "sentinels", "cluster"])
async def test_r7_a_store_that_may_evict_counters_is_refused(linked: Linked, kind: str) -> None:
    with served(kind) as store:
        await linked(store.url).greet()
        store.masters[-1].say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(StoreEvicts, match=r"maxmemory-policy 'allkeys-lru'.* set it to 'noeviction'"):
            await linked(store.url).greet()


@pytest.mark.parametrize("kind", ["single", "sentinels"])
async def test_r7_a_store_that_comes_back_evicting_is_given_nothing_until_it_is_put_right(
    linked: Linked, kind: str
) -> None:
    with served(kind) as store:
        link, (first,) = linked(store.url), store.masters
        await link.ask("SET", "gw:{a}:x", 1)
        first.kill()
        if kind == "single":
            first.start()
        else:
            until(lambda: store.master is not first, "another master")
        (master,) = store.masters
        master.say("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        with pytest.raises(StoreEvicts, match="volatile-ttl"):
            await asked(link, "SET", "gw:{a}:y", 1)
        assert master.say("EXISTS", "gw:{a}:y") == 0
        master.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await asked(link, "SET", "gw:{a}:y", 1)
