"""The one door of this room: a database's URL to what is kept in it."""

from gateway.ports import Clock
from gateway.stores.sql.answers import SqlAnswers
from gateway.stores.sql.directory import SqlDirectory
from gateway.stores.sql.engine import Database, open_database
from gateway.stores.sql.reports import SqlReports


class Kept:
    """Raises StoreFailed when it cannot be opened."""

    def __init__(self, url: str) -> None:
        self.database: Database = open_database(url)
        self.ledger = SqlReports(self.database)
        self.directory = SqlDirectory(self.database)
        self._answers: SqlAnswers | None = None

    def answers(self, secret: bytes, clock: Clock) -> SqlAnswers:
        """Raises StoreFailed."""
        self._answers = SqlAnswers(self.database, secret, clock)
        return self._answers

    def close(self) -> None:
        if self._answers is not None:
            self._answers.close()
        self.database.close()
