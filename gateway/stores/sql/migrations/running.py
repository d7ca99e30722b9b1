"""Carries a database from the schema that it has to a later one; imported only where there is something to carry."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

_MARK = "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"


def migrate(connection: Connection, known: int, wanted: str = "head") -> None:
    """All steps or none: they run in the connection's transaction.

    Revisions are named by schema numbers. `meta` alone says which one a database has, so Alembic's own mark of it lasts
    only as long as this call.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.execute(text(_MARK))
    if known:
        connection.execute(text("INSERT INTO alembic_version VALUES (:known)"), {"known": str(known)})
    command.upgrade(config, wanted)
    connection.execute(text("DROP TABLE alembic_version"))
