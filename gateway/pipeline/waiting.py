"""Where background requests wait for room: first in, first out for each tenant, bounded in number and by deadline."""

import asyncio
from collections import deque
from types import TracebackType

WAITING_MAX = 1_000
WAITING_EACH_MAX = 100
LOOK_S = 1.0
"""The first of a line looks again after that long, also when nobody has told of room."""


class WaitingRoom:
    """Interactive requests never enter it, so none waits behind one that does."""

    def __init__(self, *, all_max: int = WAITING_MAX, each_max: int = WAITING_EACH_MAX) -> None:
        self._lines: dict[str, deque[Waiter]] = {}
        self._all_max = all_max
        self._each_max = each_max
        self.count = 0

    def enter(self, tenant: str) -> "Waiter | None":
        """A place at the end of the tenant's line; None where it is full."""
        line = self._lines.get(tenant)
        if self.count >= self._all_max or (line is not None and len(line) >= self._each_max):
            return None
        if line is None:
            line = self._lines[tenant] = deque()
        waiter = Waiter(self, tenant, line)
        line.append(waiter)
        self.count += 1
        return waiter

    def leave(self, waiter: "Waiter") -> None:
        line = self._lines[waiter.tenant]
        first = line[0] is waiter
        line.remove(waiter)
        self.count -= 1
        if not line:
            del self._lines[waiter.tenant]
        elif first:
            line[0].wake()

    def free(self, tenant: str) -> None:
        """Some of the tenant's room is back."""
        if self.count and (line := self._lines.get(tenant)):
            line[0].wake()


class Waiter:
    """`with`: leaves the line at the end of the block."""

    __slots__ = ("_line", "_room", "_woken", "tenant")

    def __init__(self, room: WaitingRoom, tenant: str, line: "deque[Waiter]") -> None:
        self._room = room
        self._line = line
        self._woken = asyncio.Event()
        self.tenant = tenant

    def __enter__(self) -> "Waiter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._room.leave(self)

    def wake(self) -> None:
        self._woken.set()

    async def turn(self, left_s: float) -> bool:
        """Waits to be first and for a sign of room, at most `left_s`; whether it is worth asking again."""
        try:
            async with asyncio.timeout(min(left_s, LOOK_S) if self._first else left_s):
                await self._woken.wait()
        except TimeoutError:
            return self._first
        self._woken.clear()
        return True

    @property
    def _first(self) -> bool:
        return self._line[0] is self
