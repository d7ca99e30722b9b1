"""Opens the database; what it refuses leaves as StoreFailed, in plain words."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random

from gateway.ports import StoreFailed
from gateway.stores.sql.schema import bring_up_to_date

SQLITE_BUSY_S = 5.0
POSTGRES_CONNECT_S = 5
_LOCKED = retry_if_exception_message(match=".*locked")
_NOT_USABLE = "the database's URL cannot be used; write sqlite:///PATH or postgresql://USER@HOST/NAME"


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
    engine = _engine(url)
    database = Database(engine)
    try:
        with database.begin() as connection:
            bring_up_to_date(connection)
    except BaseException:
        database.close()
        raise
    return database


def _engine(url: str) -> Engine:
    """Whatever is wrong with a URL is told without it: it may hold a password."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise StoreFailed(_NOT_USABLE) from None
    if parsed.drivername == "sqlite" and parsed.database:
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.drivername not in ("postgresql", "postgres"):
        raise StoreFailed(_NOT_USABLE)
    parsed = parsed.set(drivername="postgresql+psycopg").update_query_dict({"connect_timeout": str(POSTGRES_CONNECT_S)})
    try:
        return create_engine(parsed, pool_size=4, max_overflow=4, pool_pre_ping=True)
    except ImportError:
        raise StoreFailed("PostgreSQL needs a driver; run: pip install 'meterway[postgres]'") from None


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """Readers never wait for the one writer; a killed process loses nothing that was committed.

    Up to 32 MB of log are gathered before they are carried into the file: a fifth more entries a second. 8 MB of pages
    hold the ends of the ledger's indexes: a tenth more.
    """
    connection.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_S * 1000)}")
    # SQLite refuses this one at once where another process does the same, whatever the timeout says.
    for turn in Retrying(stop=stop_after_delay(SQLITE_BUSY_S), wait=wait_random(0, 0.05), retry=_LOCKED, reraise=True):
        with turn:
            connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
    connection.execute("PRAGMA cache_size = -8000")
    connection.isolation_level = None


def _begin_sqlite(connection: Connection) -> None:
    """Takes the writer's place at once: two that read first and write later would refuse each other."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _why(error: SQLAlchemyError) -> str:
    cause = str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).strip()
    remedies = {
        "not a database": "it is some other file, or was damaged; name another one, or bring back a copy",
        "malformed": "it was damaged; bring back a copy",
        "locked": "another process holds it; is a second gateway on the same SQLite file? use PostgreSQL for several",
        "full": "make room on its disk",
        "unable to open": "check the folder and its permissions",
        "readonly": "check the permissions of the file and its folder",
        "disk i/o": "check its disk",
        "connection": "is the server up, and the URL right?",
    }
    remedy = next((advice for word, advice in remedies.items() if word in cause.lower()), "see the database's own log")
    return f"the database refused: {cause.splitlines()[0] if cause else type(error).__name__}; {remedy}"
