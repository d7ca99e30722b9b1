"""The one way to Redis: bounded in time and number, left alone when it fails, BankAway for whatever goes wrong."""

import asyncio
import hashlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    ConnectionError as Disconnected,
)
from redis.exceptions import (
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import (
    TimeoutError as Silent,
)

from gateway.ports import BankAway, Clock
from gateway.stores.redis.address import (
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    TIMEOUT_S,
    Evicting,
    address_of,
    client_of,
    close_client,
)
from gateway.stores.redis.breaker import StoreBreaker

POOL_WAIT_S = 0.02
CLOSE_S = 1.0
LATE_S = 0.005
Word = bytes | str | int | float

_log = logging.getLogger("meterway")


class ReplyLost(BankAway):
    """It was sent, or may have been: whether the store has done it is not known. `late`: it may still do it."""

    def __init__(self, message: str, *, late: bool) -> None:
        super().__init__(message)
        self.late = late


class LinkBusy(BankAway):
    """All connections are in use: this process asks too much, which says nothing about the store."""


class StoreEvicts(BankAway):
    """It may drop what it is given, so it is given nothing (R7)."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script of ours; its name carries a version, so that old and new processes can run side by side (P7)."""

    name: str
    text: str

    @property
    def body(self) -> str:
        return f"-- {self.name}\n{self.text}"


class Link:
    """Calls run as tasks of their own: a caller that is cancelled leaves no half-read answer behind (R11)."""

    def __init__(self, url: str, clock: Clock, *, connections: int = CONNECTIONS, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address_of(url)
        self.clock = clock
        self._timeout_s = timeout_s
        self._client = client_of(self.address, timeout_s=timeout_s)
        self._places = asyncio.Semaphore(connections)
        self._breakers: dict[str, StoreBreaker] = {}
        self._digests: dict[str, str] = {}
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def resting(self) -> bool:
        """Whether the store, or a node of it, is left alone at the moment."""
        return any(breaker.open for breaker in self._breakers.values())

    async def run(self, script: Script, keys: Sequence[str], words: Sequence[Word]) -> Any:
        """Raises BankAway."""
        return await self._call(keys[0], self._evaluate(script, keys, words))

    async def ask(self, command: str, key: str, *words: Word) -> Any:
        """One plain command on one key. Raises BankAway."""
        return await self._call(key, self._client.execute_command(command, key, *words))

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)
        await close_client(self._client)

    async def greet(self) -> None:
        """Connects to the store, or to each node of it that takes writes. Raises BankAway, StoreEvicts among them."""
        await self._call("", self._greet())

    async def _greet(self) -> None:
        client = self._client
        if isinstance(client, RedisCluster):
            await client.initialize()
            await client.execute_command("PING", target_nodes=RedisCluster.PRIMARIES)
        else:
            await client.execute_command("PING")  # type: ignore[no-untyped-call]

    async def _evaluate(self, script: Script, keys: Sequence[str], words: Sequence[Word]) -> Any:
        digest = self._digests.get(script.name)
        if digest is None:
            digest = self._digests[script.name] = hashlib.sha1(script.body.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self._client.execute_command("EVALSHA", digest, len(keys), *keys, *words)
        except NoScriptError:
            return await self._client.execute_command("EVAL", script.body, len(keys), *keys, *words)

    async def _call(self, key: str, work: Coroutine[Any, Any, Any]) -> Any:
        breaker = self._breaker(key)
        if not breaker.admits(self.clock.monotonic_s()):
            work.close()
            raise BankAway("redis did not answer, and is asked once a second until it does")
        waited_s = 0.0
        if self._places.locked():
            waited_s = self.clock.monotonic_s()
            try:
                async with asyncio.timeout(POOL_WAIT_S):
                    await self._places.acquire()
            except TimeoutError:
                work.close()
                raise LinkBusy("all connections to redis are in use") from None
            except asyncio.CancelledError:
                work.close()
                raise
            waited_s = self.clock.monotonic_s() - waited_s
        else:
            await self._places.acquire()
        task = asyncio.create_task(self._work(work, breaker))
        self._running.add(task)
        task.add_done_callback(self._ended)
        left_s = max(0.0, self._timeout_s - waited_s)
        while True:
            asked_s = self.clock.monotonic_s()
            done, _ = await asyncio.wait((task,), timeout=left_s)
            if done:
                return task.result()
            late_s = self.clock.monotonic_s() - asked_s - left_s
            if late_s < LATE_S:
                raise ReplyLost("redis did not answer in time", late=True)
            left_s = min(late_s, self._timeout_s)  # this process was busy: the answer may lie here unread

    async def _work(self, work: Coroutine[Any, Any, Any], breaker: StoreBreaker) -> Any:
        """It may go on after its caller has given up: a connection that was begun is finished for the next one."""
        timeout = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + 2 * self._timeout_s):
                answer = await work
        except (TimeoutError, Silent) as error:
            timeout = True
            lost: BankAway = ReplyLost(f"redis did not answer in time: {error}", late=True)
        except (Disconnected, OSError) as error:
            lost = ReplyLost(f"the connection to redis broke: {error}", late=False)
        except (RedisError, RedisClusterException) as error:
            evicts = isinstance(error.__cause__ or error, Evicting)
            lost = StoreEvicts(str(error)) if evicts else BankAway(f"redis refused: {error}")
            if evicts and not breaker.open:
                _log.error("%s", lost)
            if isinstance(error, ReadOnlyError) and isinstance(self._client, Redis):
                await self._client.connection_pool.disconnect(inuse_connections=False)
        else:
            breaker.answered()
            return answer
        breaker.failed(self.clock.monotonic_s(), timeout=timeout)
        raise lost

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._places.release()
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    def _breaker(self, key: str) -> StoreBreaker:
        """One for each node of a cluster, as the others go on."""
        node = ""
        if isinstance(self._client, RedisCluster) and key:
            try:
                found = self._client.get_node_from_key(key)
            except (RedisError, RedisClusterException):
                found = None  # not connected yet
            node = "" if found is None else found.name
        breaker = self._breakers.get(node)
        if breaker is None:
            breaker = self._breakers[node] = StoreBreaker()
        return breaker
