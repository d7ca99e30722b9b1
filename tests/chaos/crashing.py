"""A gateway that ends like a killed one at a named point: `python -m tests.chaos.crashing CONFIG POINT COUNT`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event

from gateway.app.gateway import Gateway
from gateway.config.load import load
from gateway.config.prices import day_of
from gateway.domain.budget import Claim, Shortage
from gateway.domain.call import UpstreamCall
from gateway.domain.fact import Beat, Booking, Opened, Word
from gateway.ports import Accounts, Hold, Journal, Upstream, UpstreamReply

CRASHED = 137

POINTS = [
    f"{moment}-{what}"
    for what in ("hold", "opened", "send", "beat", "closed", "commit")
    for moment in ("before", "after")
]


class Fuse:
    """Ends the process when `point` is reached for the `count`-th time."""

    def __init__(self, point: str, count: int) -> None:
        self._point = point
        self._left = count

    def at(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os._exit(CRASHED)


class CrashingJournal:
    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal = journal
        self._fuse = fuse
        self.keeps = journal.keeps

    def open(self, opened: Opened, booking: Booking) -> None:
        self._fuse.at("before-opened")
        self._journal.open(opened, booking)
        self._fuse.at("after-opened")

    def write(self, word: Word) -> None:
        name = "beat" if isinstance(word, Beat) else "closed"
        self._fuse.at(f"before-{name}")
        self._journal.write(word)
        self._fuse.at(f"after-{name}")


class CrashingUpstream:
    def __init__(self, upstream: Upstream, fuse: Fuse) -> None:
        self._upstream = upstream
        self._fuse = fuse

    async def send(self, call: UpstreamCall) -> UpstreamReply:
        self._fuse.at("before-send")
        reply = await self._upstream.send(call)
        self._fuse.at("after-send")
        return reply


class CrashingAccounts:
    def __init__(self, accounts: Accounts, fuse: Fuse) -> None:
        self._accounts = accounts
        self._fuse = fuse

    def hold_now(self, tenant: str, claims: Sequence[Claim]) -> None:
        """`hold` takes them."""

    async def hold(self, tenant: str, claims: Sequence[Claim]) -> Hold | Shortage:
        self._fuse.at("before-hold")
        held = await self._accounts.hold(tenant, claims)
        self._fuse.at("after-hold")
        return held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._accounts, name)


async def serve(path: Path, fuse: Fuse) -> None:
    loaded = load(path, os.environ, version=1, today=day_of(1_790_000_000.0))
    gateway = Gateway(loaded, lambda _: loaded)
    await gateway.start()
    desk = gateway.door.desk
    desk.journal = CrashingJournal(desk.journal, fuse)
    desk.upstream = CrashingUpstream(desk.upstream, fuse)
    desk.accounts = CrashingAccounts(desk.accounts, fuse)
    engine = gateway.kept.database.engine
    event.listen(engine, "commit", lambda _: fuse.at("before-commit"))
    event.listen(engine, "checkin", lambda *_: fuse.at("after-commit"))
    print(f"serving m on http://127.0.0.1:{gateway.server.port}/v1", file=sys.stderr, flush=True)
    await gateway.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Fuse(sys.argv[2], int(sys.argv[3]))))
