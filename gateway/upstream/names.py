"""Host names to addresses: asked once for all who wait, kept for a while, and the last good ones kept longer."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

FRESH_S = 30.0  # getaddrinfo tells no TTL
GOOD_S = 300.0
NEGATIVE_S = 5.0
DOUBT_S = 1.0  # while a provider is down its name is not looked up for every call
_HOSTS_MAX = 1024
_ADDRESSES_MAX = 16

# IP addresses as text, best first; raises OSError (socket.gaierror).
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(slots=True)
class _Entry:
    addresses: tuple[str, ...] = ()
    asked_s: float = float("-inf")
    good: tuple[str, ...] = ()
    good_s: float = float("-inf")
    doubted_s: float = float("-inf")
    failed_s: float = float("-inf")
    error: OSError | None = None
    asking: asyncio.Future[None] | None = None


async def system_resolver(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Names:
    """A cache in front of a resolver. A failed look-up is asked once more, then remembered for NEGATIVE_S."""

    def __init__(self, resolver: Resolver, now: Callable[[], float]) -> None:
        self._resolver = resolver
        self._now = now
        self._entries: dict[str, _Entry] = {}

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        host = host.strip("[]")
        if is_address(host):
            return (host,)
        entry = self._entry(host)
        while True:
            now_s = self._now()
            if entry.addresses and now_s - entry.asked_s < FRESH_S:
                return entry.addresses
            if entry.error is not None and now_s - entry.failed_s < NEGATIVE_S:
                return self._last_good(entry, now_s)
            if entry.asking is None:
                break
            await asyncio.shield(entry.asking)  # who asks may be cancelled: then the next one asks
        return await self._ask(entry, host, port)

    def connected(self, host: str, address: str) -> None:
        """The address answered: it is the one to fall back on when the resolver does not."""
        entry = self._entries.get(host.strip("[]"))
        if entry is not None:
            entry.good, entry.good_s = (address,), self._now()

    def doubt(self, host: str) -> bool:
        """No address of the last answer could be reached: ask anew next time. False if there is nothing to ask."""
        entry = self._entries.get(host.strip("[]"))
        now_s = self._now()
        if entry is None or not entry.addresses or now_s - entry.doubted_s < DOUBT_S:
            return False
        entry.asked_s, entry.doubted_s = float("-inf"), now_s
        return True

    async def _ask(self, entry: _Entry, host: str, port: int) -> tuple[str, ...]:
        entry.asking = asyncio.get_running_loop().create_future()
        try:
            entry.addresses = await self._ask_twice(host, port)
            entry.asked_s, entry.error = self._now(), None
            return entry.addresses
        except OSError as error:
            entry.error, entry.failed_s = error.with_traceback(None), self._now()
            return self._last_good(entry, entry.failed_s)
        finally:
            entry.asking.set_result(None)
            entry.asking = None

    async def _ask_twice(self, host: str, port: int) -> tuple[str, ...]:
        try:
            return self._some(await self._resolver(host, port))
        except OSError:
            return self._some(await self._resolver(host, port))

    @staticmethod
    def _some(found: Sequence[str]) -> tuple[str, ...]:
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return tuple(found[:_ADDRESSES_MAX])

    @staticmethod
    def _last_good(entry: _Entry, now_s: float) -> tuple[str, ...]:
        if now_s - entry.good_s < GOOD_S:
            return entry.good
        error = entry.error or socket.gaierror(socket.EAI_NONAME, "no address")
        raise type(error)(*error.args)

    def _entry(self, host: str) -> _Entry:
        entry = self._entries.get(host)
        if entry is None:
            if len(self._entries) >= _HOSTS_MAX:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[host] = _Entry()
        return entry


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
