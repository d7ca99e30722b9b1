"""Long-term memory in SQLite: found by the words that it shares with the question."""

import re
import secrets
import sqlite3
from collections.abc import Mapping

from agent_runtime.domain.values import Principal
from agent_runtime.ports import Clock, Recollection
from agent_runtime.stores.sqlite import SqliteFile

SAME_SCORE = 0.85
DAY_S = 86_400.0
KEPT_S: Mapping[str, float] = {"note": 2 * DAY_S, "decision": 7 * DAY_S}
"""Facts, preferences and instructions stay."""
ROWS_MAX = 1_000


class SqliteMemory:
    """Implements ports.Memory. What is nearly the same replaces what was there."""

    distributed = True

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def recall(
        self, whose: Principal, agent: str, query: str, limit: int, score_min: float
    ) -> list[Recollection]:
        """The best matches, else the latest."""
        rows = await self._file.write(lambda connection: self._of(connection, whose, agent))
        scored = [Recollection(one.text, one.kind, contained(query, one.text), one.id) for one in rows]
        good = sorted((one for one in scored if one.score >= score_min), key=lambda one: -one.score)
        return (good or rows)[:limit]

    async def store(self, whose: Principal, agent: str, one: Recollection) -> str:
        def work(connection: sqlite3.Connection) -> str:
            same = next((old for old in self._of(connection, whose, agent) if alike(old.text, one.text)), None)
            known = one.id or (same.id if same else f"mem-{secrets.token_hex(8)}")
            until_s = self._clock.now_s() + KEPT_S[one.kind] if one.kind in KEPT_S else None
            row = (known, whose.tenant, whose.user, agent, one.kind, one.text, until_s)
            connection.execute("INSERT OR REPLACE INTO memories VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return known

        return await self._file.write(work)

    def _of(self, connection: sqlite3.Connection, whose: Principal, agent: str) -> list[Recollection]:
        sql = """SELECT id, kind, text FROM memories WHERE tenant = ? AND user = ? AND agent = ?
                 AND (until_s IS NULL OR until_s > ?) ORDER BY rowid DESC LIMIT ?"""
        key = (whose.tenant, whose.user, agent, self._clock.now_s(), ROWS_MAX)
        return [Recollection(text, kind, id=known) for known, kind, text in connection.execute(sql, key)]

    async def erase(self, whose: Principal) -> None:
        sql = "DELETE FROM memories WHERE tenant = ? AND (user = ? OR ? = '')"
        key = (whose.tenant, whose.user, whose.user)
        await self._file.write(lambda connection: connection.execute(sql, key))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{2,}", text.lower()))


def contained(query: str, text: str) -> float:
    """How much of the shorter one is in the other."""
    asked, told = words(query), words(text)
    return len(asked & told) / min(len(asked), len(told)) if asked and told else 0.0


def alike(one: str, other: str) -> bool:
    mine, theirs = words(one), words(other)
    return bool(mine | theirs) and len(mine & theirs) / len(mine | theirs) >= SAME_SCORE
