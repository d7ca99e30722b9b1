"""The ring of keys follows the directory, never back to an older state; the pepper is whole for whoever finds it."""

import asyncio
import multiprocessing
from pathlib import Path
from typing import cast

import pytest

from gateway.app.doorkeeper import Doorkeeper, pepper_beside
from gateway.domain.catalog import Catalog, Secret
from gateway.domain.tenancy import Directory
from gateway.filing import DirectoryStore
from gateway.ports import StoreFailed
from gateway.stores.keys import Peppers
from tests.clock import ToldClock


class Directories:
    """Whoever asks for a snapshot first waits until a later one was there to be had."""

    def __init__(self) -> None:
        self.now = 1
        self.snapshots = 0

    def version(self) -> int:
        return self.now

    def snapshot(self) -> Directory:
        self.snapshots += 1
        return Directory(self.now)


async def test_two_looks_at_once_end_with_the_newest_state() -> None:
    turns: list[int] = []

    async def adopt(_: object) -> None:
        """The first look is slow, and the directory changes meanwhile."""
        turns.append(store.now)
        if len(turns) == 1:
            store.now = 2
            await asyncio.sleep(0.05)

    store = Directories()
    keeper = Doorkeeper(ToldClock(), Peppers({"p": Secret("x" * 32)}), adopt)
    keeper._store = cast("DirectoryStore", store)
    await asyncio.gather(keeper.look(), keeper.look())
    assert (keeper.directory.version, turns) == (2, [1, 2])


async def test_tenants_of_a_new_file_are_added_once_the_store_can_be_written() -> None:
    seeded: list[int] = []

    class Locked(Directories):
        def seed(self, rows: Directory) -> None:
            seeded.append(len(rows.tenants))
            if len(seeded) == 1:
                raise StoreFailed("locked")

    async def adopt(_: object) -> None:
        """No budgets."""

    keeper = Doorkeeper(ToldClock(), Peppers({"p": Secret("x" * 32)}), adopt)
    keeper._store = cast("DirectoryStore", Locked())
    keeper.follow(Catalog(2, {}))
    with pytest.raises(StoreFailed):
        await keeper.look()
    for _ in range(2):
        await keeper.look()
    assert seeded == [0, 0]


def test_processes_that_start_at_once_have_one_pepper(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for turn in range(20):
            found = pool.map(pepper_beside, [tmp_path / str(turn)] * 4, chunksize=1)
            assert len(set(found)) == 1
            assert [path.name for path in (tmp_path / str(turn)).iterdir()] == ["pepper"]
            assert (tmp_path / str(turn) / "pepper").stat().st_mode & 0o777 == 0o600


def test_a_file_that_holds_no_pepper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pepper").touch()
    with pytest.raises(ValueError, match="holds no pepper; bring it back from a copy"):
        pepper_beside(tmp_path)
