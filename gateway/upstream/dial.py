"""Makes connections: names, the race between addresses, TLS."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from itertools import chain, zip_longest

from gateway.domain.catalog import Origin
from gateway.domain.failure import AttemptFailed, FailureKind, Sent
from gateway.upstream.connection import Connection
from gateway.upstream.failures import Stage, connect_failure, failed, timed_out
from gateway.upstream.names import Names
from gateway.upstream.policy import AddressPolicy
from gateway.upstream.pool import Pool

# Opens TCP to one address for the connection given; `tcp` is the real one.
Opener = Callable[[Connection, str, int], Awaitable[None]]


async def tcp(connection: Connection, address: str, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: connection, address, port)


class Dialer:
    """One dial is one connection, or AttemptFailed with `sent` NO and nothing left open."""

    def __init__(
        self,
        names: Names,
        policy: AddressPolicy,
        now: Callable[[], float],
        *,
        happy_eyeballs_s: float,
        opener: Opener = tcp,
    ) -> None:
        self._names = names
        self._policy = policy
        self._now = now
        self._happy_eyeballs_s = happy_eyeballs_s
        self._opener = opener

    async def dial(self, origin: Origin, pool: Pool, trust: Callable[[], ssl.SSLContext], wait_s: float) -> Connection:
        attempt = _Dial(origin, pool, self._now)
        try:
            async with asyncio.timeout(max(wait_s, 0.0)):
                connection = await self._connect(attempt)
                if origin.scheme == "https":
                    attempt.stage = Stage.TLS
                    await _secure(connection, trust(), origin)
        except TimeoutError as error:
            attempt.drop()
            # The kernel's own time-out has an errno, ours has none.
            timeout = timed_out(attempt.stage) if error.errno is None else connect_failure(error, attempt.stage)
            raise AttemptFailed(timeout) from None
        except (OSError, UnicodeError) as error:
            attempt.drop()
            raise AttemptFailed(connect_failure(error, attempt.stage)) from None
        except BaseException:
            attempt.drop()
            raise
        return connection

    async def _connect(self, attempt: "_Dial") -> Connection:
        """To the first address that answers; if none of a kept answer does, once more to those of a fresh one."""
        origin = attempt.origin
        addresses = await self._addresses(attempt)
        try:
            connection, address = await self._race(attempt, addresses)
        except OSError:
            if not self._names.doubt(origin.host):
                raise
            others = [other for other in await self._addresses(attempt) if other not in addresses]
            if not others:
                raise
            connection, address = await self._race(attempt, others)
        self._names.connected(origin.host, address)
        return connection

    async def _addresses(self, attempt: "_Dial") -> Sequence[str]:
        """Every address must pass: an answer that mixes allowed and refused ones is not to be trusted at all."""
        attempt.stage = Stage.NAME
        origin = attempt.origin
        addresses = await self._names.addresses(origin.host, origin.port)
        for address in addresses:
            reason = self._policy(origin, ip_address(address))
            if reason is not None:
                raise failed(FailureKind.REFUSED, f"resolves to an address never connected to: {reason}", Sent.NO)
        attempt.stage = Stage.CONNECT
        return _interleaved(addresses)

    async def _race(self, attempt: "_Dial", addresses: Sequence[str]) -> tuple[Connection, str]:
        """Happy eyeballs (RFC 8305): the next address starts when the one before has failed or has had its time."""
        if len(addresses) == 1:
            connection = attempt.connection()
            await self._opener(connection, addresses[0], attempt.origin.port)
            return connection, addresses[0]
        winner: tuple[Connection, str] | None = None
        waiting = list(reversed(addresses))
        errors: list[OSError] = []
        running: set[asyncio.Task[tuple[Connection, str] | OSError]] = set()
        async with asyncio.TaskGroup() as group:
            while waiting or running:
                if waiting:
                    running.add(group.create_task(self._open(attempt, waiting.pop())))
                patience_s = self._happy_eyeballs_s if waiting else None
                done, running = await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                outcomes = [task.result() for task in done]
                errors += [outcome for outcome in outcomes if isinstance(outcome, OSError)]
                winner = next((outcome for outcome in outcomes if not isinstance(outcome, OSError)), None)
                if winner is not None:
                    for task in running:
                        task.cancel()
                    break
        if winner is None:
            raise errors[0]
        attempt.drop(but=winner[0])
        return winner

    async def _open(self, attempt: "_Dial", address: str) -> tuple[Connection, str] | OSError:
        connection = attempt.connection()
        try:
            await self._opener(connection, address, attempt.origin.port)
        except OSError as error:
            return error
        return connection, address


class _Dial:
    """What one dial has opened so far, so that whatever ends it can close all of it."""

    def __init__(self, origin: Origin, pool: Pool, now: Callable[[], float]) -> None:
        self.origin = origin
        self.stage = Stage.NAME
        self._pool = pool
        self._now = now
        self._opened: list[Connection] = []

    def connection(self) -> Connection:
        connection = Connection(self.origin, self._pool, asyncio.get_running_loop(), self._now)
        self._opened.append(connection)
        return connection

    def drop(self, but: Connection | None = None) -> None:
        for connection in self._opened:
            if connection is not but:
                connection.drop()


async def _secure(connection: Connection, context: ssl.SSLContext, origin: Origin) -> None:
    """Verifies against the name of the origin, whatever the address is."""
    raw = connection.transport
    if raw is None or raw.is_closing():
        raise ConnectionResetError
    secured = await asyncio.get_running_loop().start_tls(
        raw, connection, context, server_hostname=origin.host.strip("[]")
    )
    if secured is None:
        raise ConnectionResetError
    connection.secured(secured)


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """The families in turn, beginning with that of the first, each in the resolver's order."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    second = [address for address in addresses if address not in first]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]
