"""What is kept of a run in SQLite goes some time after the run was last touched."""

import sqlite3

from agent_runtime.ports import Clock

KEEP_S = 40 * 86_400.0
"""Longer than any approval may wait."""
SWEEP_EVERY_S = 600.0
SWEEP_RUNS_MAX = 500
OF_A_RUN = ("events", "turns", "runs", "results", "kept")
WITH_AN_END = ("floors", "workers", "places", "memories")


class Retention:
    """Each touch puts off the end of its run; now and then one also sweeps out what is past it."""

    def __init__(self, clock: Clock, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._swept_s = 0.0

    def touch(self, connection: sqlite3.Connection, run_id: str) -> None:
        now_s = self._clock.now_s()
        connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (run_id, now_s + self._keep_s))
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            sweep(connection, now_s)


def sweep(connection: sqlite3.Connection, now_s: float) -> None:
    """So many runs at once that nobody waits long; the rest is for the next time."""
    sql = "SELECT run FROM kept WHERE until_s <= ? ORDER BY until_s LIMIT ?"
    gone = connection.execute(sql, (now_s, SWEEP_RUNS_MAX)).fetchall()
    for table in OF_A_RUN:
        connection.executemany(f"DELETE FROM {table} WHERE run = ?", gone)  # noqa: S608 - one of ours
    for table in WITH_AN_END:
        connection.execute(f"DELETE FROM {table} WHERE until_s <= ?", (now_s,))  # noqa: S608 - one of ours
