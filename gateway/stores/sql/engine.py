"""Opens the database and brings its tables up to date; what it refuses leaves as StoreFailed, in plain words."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.ports import StoreFailed
from gateway.stores.sql.tables import metadata

SCHEMA = 1
"""Of these tables. A database of another number is migrated by Alembic, or refused where it is newer."""

SQLITE_BUSY_S = 5.0
_MIGRATION_LOCK = 7_261_904
_META = "CREATE TABLE IF NOT EXISTS meta (name VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)"


class Database:
    """An engine whose foreign exceptions are ours."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block or not at all."""
        try:
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise StoreFailed(_why(error)) from error

    @contextlib.contextmanager
    def read(self, *, one_moment: bool = False) -> Iterator[Connection]:
        """With `one_moment`, several queries in the block see the same state; SQLite is always like that."""
        options = {"isolation_level": "REPEATABLE READ"} if one_moment and not self.sqlite else {}
        try:
            with self.engine.connect().execution_options(**options) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreFailed(_why(error)) from error

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """`sqlite:///path` or `postgresql://user@host/name`. Raises StoreFailed."""
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        options = {"pool_size": 4, "max_overflow": 4, "pool_pre_ping": True}
        engine = create_engine(parsed, **({} if parsed.drivername.startswith("sqlite") else options))
    except (SQLAlchemyError, ImportError) as error:
        raise StoreFailed(f"the database's URL cannot be used ({error}); see docs/configuration.md") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    database = Database(engine)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """Readers never wait for the one writer; a killed process loses nothing that was committed.

    Up to 32 MB of log are gathered before they are carried into the file: a fifth more entries a second.
    """
    connection.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_S * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
    connection.isolation_level = None


def _begin_sqlite(connection: Connection) -> None:
    """Takes the writer's place at once: two that read first and write later would refuse each other."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _bring_up_to_date(database: Database) -> None:
    with database.begin() as connection:
        if not database.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        connection.execute(text(_META))
        connection.execute(text("INSERT INTO meta VALUES ('schema', 0) ON CONFLICT DO NOTHING"))
        known = int(connection.execute(text("SELECT value FROM meta WHERE name = 'schema'")).scalar_one())
        if known == SCHEMA:
            return
        if known > SCHEMA:
            raise StoreFailed(
                f"the database has schema {known}, newer than this program's {SCHEMA}; update the program"
            )
        metadata.create_all(connection)
        connection.execute(text("UPDATE meta SET value = :schema WHERE name = 'schema'"), {"schema": SCHEMA})
        seed = "INSERT INTO meta VALUES ('version', 1) ON CONFLICT DO NOTHING"
        connection.execute(text(seed))


def _why(error: SQLAlchemyError) -> str:
    cause = str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).strip()
    remedies = {
        "locked": "another process holds it; is a second gateway on the same SQLite file? use PostgreSQL for several",
        "full": "make room on its disk",
        "unable to open": "check the folder and its permissions",
        "readonly": "check the permissions of the file and its folder",
        "disk i/o": "check its disk",
        "connection": "is the server up, and the URL right?",
    }
    remedy = next((advice for word, advice in remedies.items() if word in cause.lower()), "see the database's own log")
    return f"the database refused: {cause.splitlines()[0] if cause else type(error).__name__}; {remedy}"
