"""Databases for tests of what is kept in SQL: each test gets an empty one, of either kind."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stores.sql.engine import open_database
from gateway.stores.sql.opening import Kept
from tests.postgres import postgres

_numbers = itertools.count()


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    """One PostgreSQL for all of a room's tests."""
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return fresh(request.getfixturevalue("server"))


@pytest.fixture
def kept(url: str) -> Iterator[Kept]:
    opened = Kept(url)
    yield opened
    opened.close()


def fresh(server: str) -> str:
    """A database of its own on the server."""
    name = f"books{next(_numbers)}"
    engine = open_database(server).engine
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.rpartition("/")[0] + "/" + name
