"""Sends one call to its provider over the origin's pool."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Origin, Provider
from gateway.domain.failure import AttemptFailed, FailureKind, Sent
from gateway.outbox import Outbox
from gateway.ports import Clock, Upstream
from gateway.upstream.connection import WRITE_BYTES, Connection
from gateway.upstream.dial import Dialer, Opener, tcp
from gateway.upstream.egress import Egress
from gateway.upstream.exchange import Exchange, Phase
from gateway.upstream.failures import failed
from gateway.upstream.names import Names, Resolver, system_resolver
from gateway.upstream.policy import AddressPolicy, never_metadata
from gateway.upstream.pool import Pool, PoolStats
from gateway.upstream.trust import Trust

CLOSE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a provider configures of its connections; a pool lives as long as its settings."""

    ca_file: str | None
    connections_max: int


class HttpUpstream(Upstream):
    """All of it runs on the loop of its first call."""

    def __init__(
        self,
        clock: Clock,
        *,
        connections_max: int = 256,
        idle_s: float = 15.0,
        resolver: Resolver = system_resolver,
        happy_eyeballs_s: float = 0.25,
        ca_files: Mapping[Origin, str] | None = None,
        policy: AddressPolicy = never_metadata,
        opener: Opener = tcp,
    ) -> None:
        self._now = clock.monotonic_s
        self._default = _Settings(None, connections_max)
        self._idle_s = idle_s
        self._egress = Egress()
        self._outbox = Outbox()
        self._trust = Trust()
        self._dialer = Dialer(
            Names(resolver, self._now), policy, self._now, happy_eyeballs_s=happy_eyeballs_s, opener=opener
        )
        self._settings = {origin: replace(self._default, ca_file=file) for origin, file in (ca_files or {}).items()}
        self._pools: dict[Origin, Pool] = {}
        self._retired: list[Pool] = []
        self._closed = False

    async def send(self, call: UpstreamCall) -> Exchange:
        """ports.Upstream. A kept-alive connection that turns out stale costs one new connection, nothing else."""
        now_s = self._now()
        if now_s >= call.deadline_s:
            raise failed(FailureKind.DEADLINE, "the deadline of the request has passed", Sent.NO)
        origin = call.credential.origin
        pool = self._pools.get(origin) or self._open_pool(origin)
        connection = pool.take_idle()
        if connection is None:
            connection = await self._connection(pool, call, now_s)
        while True:
            exchange = self._start(connection, pool, call)
            body = call.body
            if len(body) > WRITE_BYTES:
                await connection.finish_writing(exchange, body, self._head_due_s(call))
            if exchange.phase is Phase.HEAD:
                await exchange.wait(self._head_due_s(call))
            if not exchange.stale:  # a connection that is fresh never is
                exchange.raise_failure()
                return exchange
            try:
                connection = await self._connection(pool, call, self._now(), fresh=True)
            except AttemptFailed as error:
                raise AttemptFailed(replace(error.failure, sent=Sent.MAYBE)) from None

    def configure(self, providers: Iterable[Provider]) -> None:
        """Takes over CA files and connection limits; pools of changed origins are replaced, their calls run on."""
        before = self._settings
        self._settings = {provider.origin: _Settings(provider.ca_file, provider.connections) for provider in providers}
        self._trust.forget()
        changed = [origin for origin in self._pools if self._settings.get(origin) != before.get(origin, self._default)]
        for origin in changed:
            pool = self._pools.pop(origin)
            pool.retire()
            self._retired.append(pool)
        self._retired = [pool for pool in self._retired if pool.stats().open]

    def drop_idle(self) -> None:
        """Closes what is idle; calls under way go on."""
        for pool in self._pools.values():
            pool.drop_idle()

    def stats(self) -> dict[Origin, PoolStats]:
        return {origin: pool.stats() for origin, pool in self._pools.items()}

    async def aclose(self) -> None:
        """Closes everything, calls under way too; nothing is left behind."""
        self._closed = True
        await asyncio.gather(*(pool.close(CLOSE_S) for pool in [*self._pools.values(), *self._retired]))

    def _start(self, connection: Connection, pool: Pool, call: UpstreamCall) -> Exchange:
        try:
            head = self._egress.head(call, connection.origin)
        except AttemptFailed:
            pool.freed(connection)  # the request is at fault, not the connection
            raise
        return connection.start(call, head)

    def _head_due_s(self, call: UpstreamCall) -> float:
        return min(self._now() + call.timeouts.first_token_s, call.deadline_s)

    async def _connection(self, pool: Pool, call: UpstreamCall, now_s: float, *, fresh: bool = False) -> Connection:
        """Waiting for a slot and dialling share the connect time-out."""
        until_s = min(now_s + call.timeouts.connect_s, call.deadline_s)
        try:
            connection = await pool.take(until_s, fresh=fresh)
            if connection is None:
                connection = await self._dial(pool, call.credential.origin, until_s)
            return connection
        except AttemptFailed:
            if self._now() >= call.deadline_s - 0.001:
                message = "the deadline of the request has passed before a connection was there"
                raise failed(FailureKind.DEADLINE, message, Sent.NO) from None
            raise

    async def _dial(self, pool: Pool, origin: Origin, until_s: float) -> Connection:
        ca_file = self._settings.get(origin, self._default).ca_file
        try:
            connection = await self._dialer.dial(
                origin, pool, lambda: self._trust.context(ca_file), until_s - self._now()
            )
        except BaseException:
            pool.give_back()
            raise
        if not connection.usable:
            connection.drop()
            pool.give_back()
            raise failed(FailureKind.RESET, "connection lost as soon as it was made", Sent.NO)
        pool.adopt(connection)
        return connection

    def _open_pool(self, origin: Origin) -> Pool:
        if self._closed:
            raise failed(FailureKind.POOL_FULL, "the gateway is closing its connections", Sent.NO)
        connections_max = self._settings.get(origin, self._default).connections_max
        loop = asyncio.get_running_loop()
        pool = Pool(loop, self._now, outbox=self._outbox, connections_max=connections_max, idle_s=self._idle_s)
        self._pools[origin] = pool
        return pool
