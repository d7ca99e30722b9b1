"""Brings a database's tables to this program's schema, once, however many processes start at that moment."""

from importlib import import_module

from sqlalchemy import Connection, text

from gateway.ports import StoreFailed
from gateway.stores.sql.tables import metadata

SCHEMA = 10
"""Of the tables. A new number is a new step in migrations/versions, and the same change in tables.py."""

_START_LOCK = 7_261_904
_META = "CREATE TABLE IF NOT EXISTS meta (name VARCHAR(64) NOT NULL PRIMARY KEY, value BIGINT NOT NULL)"


def bring_up_to_date(connection: Connection) -> None:
    """Inside one transaction. A new database is made as it has to be; Alembic is imported only for an older one."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _START_LOCK})
    connection.execute(text(_META))
    connection.execute(text("INSERT INTO meta VALUES ('schema', 0) ON CONFLICT DO NOTHING"))
    known = int(connection.execute(text("SELECT value FROM meta WHERE name = 'schema'")).scalar_one())
    if known == SCHEMA:
        return
    if known > SCHEMA:
        raise StoreFailed(f"the database has schema {known}, newer than this program's {SCHEMA}; update the program")
    if known == 0:
        metadata.create_all(connection)
        connection.execute(text("INSERT INTO meta VALUES ('version', 1) ON CONFLICT DO NOTHING"))
    else:
        import_module("gateway.stores.sql.migrations.running").migrate(connection, known)
    connection.execute(text("UPDATE meta SET value = :schema WHERE name = 'schema'"), {"schema": SCHEMA})
