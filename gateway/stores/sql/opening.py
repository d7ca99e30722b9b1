"""The one door of this room: a database's URL to what is kept in it."""

from gateway.stores.sql.directory import SqlDirectory
from gateway.stores.sql.engine import Database, open_database
from gateway.stores.sql.reports import SqlReports


class Kept:
    """Raises StoreFailed when it cannot be opened."""

    def __init__(self, url: str) -> None:
        self.database: Database = open_database(url)
        self.ledger = SqlReports(self.database)
        self.directory = SqlDirectory(self.database)

    def close(self) -> None:
        self.database.close()
