"""Events, conversations and runs in one SQLite file, for one machine."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tenacity import Retrying
from tenacity.retry import retry_if_exception_message
from tenacity.stop import stop_after_delay
from tenacity.wait import wait_random

from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Principal
from agent_runtime.ports import Clock, Entry, RunEntry, Turn
from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.codec import ENTRY, TURN, ends, event_of, event_text
from agent_runtime.stores.memory import MESSAGES_MAX, bounded, with_turn
from agent_runtime.stores.retention import KEEP_S, Retention

POLL_S = 0.05
BUSY_S = 10.0
_T = TypeVar("_T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (run TEXT, number INTEGER, key TEXT, event TEXT, ended INTEGER,
    PRIMARY KEY (run, number), UNIQUE (run, key));
CREATE TABLE IF NOT EXISTS turns (tenant TEXT, user TEXT, conversation TEXT, run TEXT, number INTEGER, turn TEXT,
    PRIMARY KEY (tenant, user, conversation, run));
CREATE TABLE IF NOT EXISTS floors (tenant TEXT, user TEXT, conversation TEXT, run TEXT, until_s REAL,
    PRIMARY KEY (tenant, user, conversation));
CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, tenant TEXT, user TEXT, request TEXT UNIQUE, entry TEXT);
CREATE TABLE IF NOT EXISTS workers (queue TEXT, worker TEXT, until_s REAL, PRIMARY KEY (queue, worker));
CREATE TABLE IF NOT EXISTS places (scope TEXT, run TEXT, until_s REAL, PRIMARY KEY (scope, run));
CREATE TABLE IF NOT EXISTS results (run TEXT, key TEXT, text TEXT, PRIMARY KEY (run, key));
CREATE TABLE IF NOT EXISTS memories (id TEXT PRIMARY KEY, tenant TEXT, user TEXT, agent TEXT, kind TEXT, text TEXT,
    until_s REAL);
CREATE INDEX IF NOT EXISTS memories_of ON memories (tenant, user, agent);
CREATE TABLE IF NOT EXISTS kept (run TEXT PRIMARY KEY, until_s REAL);
CREATE INDEX IF NOT EXISTS kept_until ON kept (until_s);
CREATE INDEX IF NOT EXISTS turns_of ON turns (run);
"""


class SqliteFile:
    """One connection, used by one thread at a time; several processes of a machine may open the same file."""

    def __init__(self, path: Path | str, *, clock: Clock | None = None, keep_s: float = KEEP_S) -> None:
        self.retention = Retention(clock or SystemClock(), keep_s)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        _write_ahead(self._connection)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(SCHEMA)

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """All of it or nothing."""
        return await asyncio.to_thread(self._transaction, work)

    def _transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            return result

    async def read(self, sql: str, *values: object) -> list[tuple[str, ...]]:
        def work() -> list[tuple[str, ...]]:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()

        return await asyncio.to_thread(work)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """SQLite refuses this at once where another process does the same, whatever the timeout says."""
    locked = retry_if_exception_message(match=".*locked")
    for turn in Retrying(stop=stop_after_delay(BUSY_S), wait=wait_random(0, 0.05), retry=locked, reraise=True):
        with turn:
            connection.execute("PRAGMA journal_mode = WAL")


class SqliteEvents:
    """Implements ports.EventLog. Readers of other processes look every few hundredths of a second."""

    distributed = True

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def append(self, run_id: str, entries: Sequence[Entry]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            self._file.retention.touch(connection, run_id)
            row = connection.execute("SELECT count(*), max(ended) FROM events WHERE run = ?", (run_id,)).fetchone()
            number, ended = int(row[0]), bool(row[1])
            for entry in entries:
                if ended:
                    return
                ended = ends(entry.event)
                number += connection.execute(
                    "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)",
                    (run_id, number, entry.key, event_text(entry.event), ended),
                ).rowcount

        await self._file.write(work)

    async def read(self, run_id: str, offset: int, wait_s: float) -> list[tuple[int, Shown]]:
        until_s = self._clock.now_s() + wait_s
        while True:
            sql = "SELECT number, event FROM events WHERE run = ? AND number >= ? ORDER BY number"
            rows = await self._file.read(sql, run_id, offset)
            if rows or self._clock.now_s() >= until_s:
                return [(int(number), event_of(event)) for number, event in rows]
            await self._clock.sleep_s(POLL_S)

    async def erase(self, run_ids: Sequence[str]) -> None:
        await self._file.write(
            lambda connection: connection.executemany("DELETE FROM events WHERE run = ?", [(one,) for one in run_ids])
        )


class SqliteConversations:
    """Implements ports.Conversations."""

    distributed = True

    def __init__(self, file: SqliteFile, clock: Clock, *, messages_max: int = MESSAGES_MAX) -> None:
        self._file = file
        self._clock = clock
        self._messages_max = messages_max

    async def claim(self, whose: Principal, conversation: str, run_id: str, ttl_s: float) -> str:
        now_s = self._clock.now_s()
        key = (whose.tenant, whose.user, conversation)

        def work(connection: sqlite3.Connection) -> str:
            sql = "SELECT run FROM floors WHERE tenant = ? AND user = ? AND conversation = ? AND until_s > ?"
            row = connection.execute(sql, (*key, now_s)).fetchone()
            if row is not None:
                return str(row[0])
            connection.execute("INSERT OR REPLACE INTO floors VALUES (?, ?, ?, ?, ?)", (*key, run_id, now_s + ttl_s))
            return run_id

        return await self._file.write(work)

    async def release(self, whose: Principal, conversation: str, run_id: str) -> None:
        sql = "DELETE FROM floors WHERE tenant = ? AND user = ? AND conversation = ? AND run = ?"
        key = (whose.tenant, whose.user, conversation, run_id)
        await self._file.write(lambda connection: connection.execute(sql, key))

    async def keep(self, whose: Principal, conversation: str, turn: Turn) -> None:
        key = (whose.tenant, whose.user, conversation)

        def work(connection: sqlite3.Connection) -> None:
            turns = bounded(with_turn(_turns(connection, key), turn), self._messages_max)
            connection.execute("DELETE FROM turns WHERE tenant = ? AND user = ? AND conversation = ?", key)
            rows = [(*key, one.run_id, number, TURN.dump_json(one).decode()) for number, one in enumerate(turns)]
            connection.executemany("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._file.retention.touch(connection, turn.run_id)

        await self._file.write(work)

    async def turns(self, whose: Principal, conversation: str) -> list[Turn]:
        return await self._file.write(lambda connection: _turns(connection, (whose.tenant, whose.user, conversation)))

    async def clear(self, whose: Principal, conversation: str) -> None:
        sql = "DELETE FROM turns WHERE tenant = ? AND user = ? AND conversation = ?"
        await self._file.write(lambda connection: connection.execute(sql, (whose.tenant, whose.user, conversation)))

    async def erase(self, whose: Principal) -> list[str]:
        def work(connection: sqlite3.Connection) -> list[str]:
            sql = "DELETE FROM turns WHERE tenant = ? AND (user = ? OR ? = '') RETURNING run"
            return [row[0] for row in connection.execute(sql, (whose.tenant, whose.user, whose.user)).fetchall()]

        return await self._file.write(work)


def _turns(connection: sqlite3.Connection, key: tuple[str, str, str]) -> list[Turn]:
    sql = "SELECT turn FROM turns WHERE tenant = ? AND user = ? AND conversation = ? ORDER BY number"
    return [TURN.validate_json(row[0]) for row in connection.execute(sql, key)]


class SqliteRuns:
    """Implements ports.Runs."""

    distributed = True

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def find(self, request: str) -> str | None:
        rows = await self._file.read("SELECT run FROM runs WHERE request = ?", request)
        return rows[0][0] if rows else None

    async def begin(self, entry: RunEntry, request: str | None) -> str:
        ref = entry.ref
        row = (ref.run_id, ref.principal.tenant, ref.principal.user, request, ENTRY.dump_json(entry).decode())

        def work(connection: sqlite3.Connection) -> str:
            self._file.retention.touch(connection, ref.run_id)
            if connection.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)", row).rowcount:
                return ref.run_id
            known = connection.execute("SELECT run FROM runs WHERE request = ?", (request,)).fetchone()
            return ref.run_id if known is None else str(known[0])

        return await self._file.write(work)

    async def take_place(self, run_id: str, bounds: Mapping[str, int], now_s: float, until_s: float) -> str | None:
        def work(connection: sqlite3.Connection) -> str | None:
            for scope, most in bounds.items():
                sql = "SELECT count(*) >= ? FROM places WHERE scope = ? AND until_s > ?"
                if connection.execute(sql, (most, scope, now_s)).fetchone()[0]:
                    return scope
            rows = [(scope, run_id, until_s) for scope in bounds]
            connection.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", rows)
            return None

        return await self._file.write(work)

    async def leave_place(self, run_id: str, scopes: Collection[str]) -> None:
        rows = [(scope, run_id) for scope in scopes]
        sql = "DELETE FROM places WHERE scope = ? AND run = ?"
        await self._file.write(lambda connection: connection.executemany(sql, rows))

    async def end(self, outcome: Outcome) -> None:
        known = await self.get(outcome.ref.run_id)
        entry = replace(known or RunEntry(outcome.ref, ""), outcome=outcome)
        whose = outcome.ref.principal
        text = ENTRY.dump_json(entry).decode()
        sql = "INSERT INTO runs VALUES (?, ?, ?, NULL, ?) ON CONFLICT (run) DO UPDATE SET entry = excluded.entry"
        row = (outcome.ref.run_id, whose.tenant, whose.user, text)
        await self._touching(outcome.ref.run_id, sql, row)

    async def get(self, run_id: str) -> RunEntry | None:
        rows = await self._file.read("SELECT entry FROM runs WHERE run = ?", run_id)
        return ENTRY.validate_json(rows[0][0]) if rows else None

    async def result_of_call(self, run_id: str, key: str) -> str | None:
        rows = await self._file.read("SELECT text FROM results WHERE run = ? AND key = ?", run_id, key)
        return rows[0][0] if rows else None

    async def keep_result(self, run_id: str, key: str, text: str) -> None:
        await self._touching(run_id, "INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (run_id, key, text))

    async def _touching(self, run_id: str, sql: str, row: tuple[str, ...]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            self._file.retention.touch(connection, run_id)
            connection.execute(sql, row)

        await self._file.write(work)

    async def erase(self, whose: Principal) -> list[str]:
        def work(connection: sqlite3.Connection) -> list[str]:
            sql = "DELETE FROM runs WHERE tenant = ? AND (user = ? OR ? = '') RETURNING run"
            gone = connection.execute(sql, (whose.tenant, whose.user, whose.user)).fetchall()
            connection.executemany("DELETE FROM results WHERE run = ?", gone)
            return [row[0] for row in gone]

        return await self._file.write(work)


class SqliteRoster:
    """Implements ports.Roster."""

    distributed = True

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def beat(self, queue: str, worker: str, ttl_s: float) -> None:
        row = (queue, worker, self._clock.now_s() + ttl_s)
        sql = "INSERT OR REPLACE INTO workers VALUES (?, ?, ?)"
        await self._file.write(lambda connection: connection.execute(sql, row))

    async def leave(self, queue: str, worker: str) -> None:
        sql = "DELETE FROM workers WHERE queue = ? AND worker = ?"
        await self._file.write(lambda connection: connection.execute(sql, (queue, worker)))

    async def present(self, queue: str) -> list[str]:
        sql = "SELECT worker FROM workers WHERE queue = ? AND until_s > ? ORDER BY worker"
        return [row[0] for row in await self._file.read(sql, queue, self._clock.now_s())]
