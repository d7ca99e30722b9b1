"""A database of any earlier schema becomes this program's, whole or not at all, with all that it holds."""

import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from gateway.ports import StoreFailed
from gateway.stores.entry_row import row_of
from gateway.stores.sql import schema
from gateway.stores.sql.engine import Database, open_database
from gateway.stores.sql.entry_rows import COLUMNS, insert
from gateway.stores.sql.migrations.running import migrate
from gateway.stores.sql.opening import Kept
from gateway.stores.sql.tables import metadata
from tests.books import fresh
from tests.stores.sql.test_contract import LINE, TENANT, entry, total

COLUMNS_SINCE = {3: ("service_tier",), 6: ("parent_run_id", "session_id")}
ORPHANS_UNTIL = 9
STEPS = Path(schema.__file__).parent / "migrations" / "versions"


def old(url: str, number: int) -> None:
    """A database as the program of that schema left it."""
    database = raw(url)
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE meta (name VARCHAR(64) NOT NULL PRIMARY KEY, value BIGINT NOT NULL)")
        migrate(connection, 0, str(number))
        connection.exec_driver_sql(f"INSERT INTO meta VALUES ('schema', {number}), ('version', 1)")
    database.close()


def raw(url: str) -> Database:
    return Database(create_engine(url.replace("postgresql:", "postgresql+psycopg:")))


def differences(connection: Connection) -> list[object]:
    def made_here(thing: object, name: str | None, kind: str, found: bool, other: object) -> bool:
        return found or name != "ix_entries_request_id" or connection.dialect.name != "sqlite"

    options = {"include_object": made_here}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_every_number_up_to_this_one_has_its_step() -> None:
    steps = sorted(path.name for path in STEPS.glob("*.py"))
    assert steps == sorted(f"schema_{number}.py" for number in range(1, schema.SCHEMA + 1))


def test_the_steps_lead_to_the_tables_that_a_new_database_gets(url: str) -> None:
    old(url, schema.SCHEMA)
    database = raw(url)
    with database.read() as connection:
        assert differences(connection) == []
    database.close()


@pytest.mark.parametrize("number", range(1, schema.SCHEMA))
def test_an_older_database_is_carried_on_with_all_that_it_holds(url: str, number: int) -> None:
    old(url, number)
    before = raw(url)
    with before.begin() as connection:
        later = {name for since, names in COLUMNS_SINCE.items() if number < since for name in names}
        row = {name: said for name, said in zip(COLUMNS, chain(*row_of(entry())), strict=False) if name not in later}
        statement = insert(tuple(row), 1, sqlite=before.sqlite)
        if number < ORPHANS_UNTIL:
            statement = statement.replace("(", '("orphan", ', 1).replace("VALUES (", "VALUES (false, ", 1)
        connection.exec_driver_sql(statement, [tuple(row.values())])
    before.close()
    for _ in range(2):
        kept = Kept(url)
        assert total(kept) == {"acme": 500}
        with kept.database.read() as connection:
            assert differences(connection) == []
            found = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'schema'").scalar_one()
            assert found == schema.SCHEMA
        kept.close()
    kept = Kept(url)
    kept.directory.create(TENANT, LINE)
    kept.close()


def test_a_step_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    old(url, 1)
    spoilt = raw(url)
    with spoilt.begin() as connection:
        connection.exec_driver_sql("DROP INDEX entries_expired")
    spoilt.close()
    with pytest.raises(StoreFailed):
        open_database(url)
    again = raw(url)
    with again.read() as connection:
        assert connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'schema'").scalar_one() == 1
        assert not again.engine.dialect.has_table(connection, "alembic_version")
    again.close()


def test_a_database_of_today_opens_without_alembic(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom gateway.stores.sql.opening import Kept\n"
        f"[Kept('sqlite:///{tmp_path}/books.db').close() for _ in range(2)]\n"
        "sys.exit(sorted(name for name in ('alembic', 'mako', 'sqlalchemy.orm') if name in sys.modules) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("begins", ["new", "older"])
def test_all_that_start_at_one_moment_find_the_database_ready(
    tmp_path: Path, request: pytest.FixtureRequest, begins: str
) -> None:
    for turn in range(5):
        for url in (f"sqlite:///{tmp_path}/{turn}.db", fresh(request.getfixturevalue("server"))):
            if begins == "older":
                old(url, 1)
            assert started_together(url) == []


def started_together(url: str) -> list[BaseException]:
    refused: list[BaseException] = []
    ready = threading.Barrier(6)

    def start() -> None:
        ready.wait(10)
        try:
            open_database(url).close()
        except BaseException as error:  # noqa: BLE001 - the test says that there is none
            refused.append(error)

    starters = [threading.Thread(target=start) for _ in range(6)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    return refused
