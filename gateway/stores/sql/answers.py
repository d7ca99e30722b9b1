"""Answers under idempotency keys that outlive the process: what has ended is in the database, what runs is not."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, insert, select

from gateway.ports import BankAway, Clock, Owned, StoredAnswer, StoreFailed
from gateway.stores.sealing import Sealing
from gateway.stores.sql.engine import Database
from gateway.stores.sql.tables import answers

_log = logging.getLogger("meterway")

TTL_S = 86_400.0
ALL_BYTES_MAX = 256 * 1024 * 1024
ANSWERS_MAX = 100_000
DELETED_AT_ONCE = 500
THREADS = 2

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class _Kept(NamedTuple):
    fingerprint: bytes
    request_id: str
    bytes: int
    expires_at_s: float


class _Running(NamedTuple):
    fingerprint: bytes
    frames: list[bytes]


class _Row(NamedTuple):
    name: bytes
    kept: _Kept
    sealed: bytes


class SqlAnswers:
    """Implements ports.Answers where one process serves alone: another that runs beside it learns nothing.

    A claim is decided in memory; only what is given again is read from the database, in a thread. The oldest answers go
    first when all of them together are more than `bytes_max`. A process that is killed forgets what it has not yet
    written: the answers of its last tenths of a second.
    """

    def __init__(self, database: Database, secret: bytes, clock: Clock, *, bytes_max: int = ALL_BYTES_MAX) -> None:
        self._database = database
        self._sealing = Sealing(secret)
        self._clock = clock
        self._bytes_max = bytes_max
        self._known: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0
        self._running: dict[tuple[bytes, str], _Running] = {}
        self._unwritten: list[_Row] = []
        self._unwanted: list[bytes] = []
        self._writing = False
        self._threads = ThreadPoolExecutor(THREADS, "answers")
        self._recall()

    def _recall(self) -> None:
        """Oldest first. Raises StoreFailed."""
        columns = (answers.c.name, *(answers.c[name] for name in _Kept._fields))
        with self._database.begin() as connection:
            connection.execute(delete(answers).where(answers.c.expires_at_s <= self._clock.wall_s()))
            for name, *facts in connection.execute(select(*columns).order_by(answers.c.expires_at_s)):
                self._remember(name, _Kept(*facts))
        self._shrink()

    async def claim(self, name: bytes, fingerprint: bytes, request_id: str) -> Owned | StoredAnswer | None:
        known = self._known.get(name)
        if known is not None and known.expires_at_s <= self._clock.wall_s():
            self._forget(name)
            known = None
        if known is None:
            self._running.setdefault((name, request_id), _Running(fingerprint, []))
            return Owned(request_id)
        return StoredAnswer(known.request_id, ended=True) if known.fingerprint == fingerprint else None

    async def renew(self, name: bytes, request_id: str) -> bool:
        return (name, request_id) in self._running

    async def append(self, name: bytes, seal: bytes, request_id: str, at: int, frame: bytes) -> bool:
        running = self._running.get((name, request_id))
        if running is None:
            return False
        if at == len(running.frames):
            running.frames.append(self._sealing.sealed(seal, request_id, frame))
        return True

    async def end(self, name: bytes, request_id: str, kept_bytes: int | None) -> None:
        running = self._running.pop((name, request_id), None)
        if running is not None and kept_bytes is not None:
            kept = _Kept(running.fingerprint, request_id, kept_bytes, self._clock.wall_s() + TTL_S)
            self._unwritten.append(_Row(name, kept, _encode(running.frames)))
            await self._write_all()

    async def read(self, name: bytes, seal: bytes, request_id: str, at: int) -> tuple[list[bytes], bool] | None:
        known = self._known.get(name)
        if known is None or known.request_id != request_id:
            return None
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._sealed, name, request_id)
        except StoreFailed as error:
            raise BankAway(str(error)) from error
        frames = [self._sealing.opened(seal, request_id, frame) for frame in found]
        whole = [frame for frame in frames if frame is not None]
        if not whole or len(whole) < len(frames):
            self._forget(name)
            return None
        return whole[at:], True

    def _sealed(self, name: bytes, request_id: str) -> list[bytes]:
        where = (answers.c.name == name) & (answers.c.request_id == request_id)
        with self._database.read() as connection:
            sealed = connection.execute(select(answers.c.sealed).where(where)).scalar()
        return [] if sealed is None else _decode(sealed)

    def close(self) -> None:
        """Writes what nobody has come to write any more."""
        rows, self._unwritten = self._unwritten, []
        with contextlib.suppress(StoreFailed):
            self._write(rows, ())

    async def _write_all(self) -> None:
        """Whoever comes while one writes leaves the rows to it: one transaction for all of them."""
        while self._unwritten and not self._writing:
            self._writing = True
            rows, self._unwritten = self._unwritten, []
            unwanted, self._unwanted = self._unwanted, []
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._write, rows, unwanted)
            except StoreFailed as error:
                _log.warning("%d answers under idempotency keys will not outlive this process: %s", len(rows), error)
            else:
                for row in rows:
                    self._remember(row.name, row.kept)
                self._shrink()
            finally:
                self._writing = False

    def _write(self, rows: Sequence[_Row], unwanted: Sequence[bytes]) -> None:
        names = [*unwanted, *(row.name for row in rows)]
        given = [{"name": row.name, "sealed": row.sealed, **row.kept._asdict()} for row in rows]
        with self._database.begin() as connection:
            for first in range(0, len(names), DELETED_AT_ONCE):
                connection.execute(delete(answers).where(answers.c.name.in_(names[first : first + DELETED_AT_ONCE])))
            if given:
                connection.execute(insert(answers), given)

    def _remember(self, name: bytes, kept: _Kept) -> None:
        self._known[name] = kept
        self._bytes += kept.bytes

    def _forget(self, name: bytes) -> None:
        self._bytes -= self._known.pop(name).bytes

    def _shrink(self) -> None:
        """What goes is deleted with the next write, or at the next start."""
        while self._bytes > self._bytes_max or len(self._known) > ANSWERS_MAX:
            oldest = next(iter(self._known))
            self._forget(oldest)
            self._unwanted.append(oldest)
