"""Keeps the ring of caller keys as the configuration or the directory says, and follows the directory's changes."""

import asyncio
import contextlib
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

from gateway.app.members import holders_of, holders_of_file, rows_of_file, tenants_of
from gateway.domain.catalog import CallerKey, Catalog
from gateway.domain.tenancy import AdminKeyRow, BudgetRow, Directory
from gateway.filing import DirectoryStore
from gateway.ports import Clock
from gateway.stores.keys import KeyRing, Peppers
from gateway.upkeep import keep_up, woken

LOOK_S = 0.5
"""How often the directory is looked at: a revoked key is refused everywhere within a second."""

PEPPER_LETTERS_MIN = 16

Adopt = Callable[[Sequence[BudgetRow]], Awaitable[None]]


class Doorkeeper:
    """`adopt_budgets` is awaited before a changed directory is in force, so that no budget starts from nothing."""

    def __init__(self, clock: Clock, peppers: Peppers, adopt_budgets: Adopt) -> None:
        self.peppers = peppers
        self.ring: KeyRing[CallerKey] = KeyRing(clock, peppers)
        self.admins: KeyRing[AdminKeyRow] = KeyRing(clock, peppers)
        self.directory = Directory(0)
        self._clock = clock
        self._adopt_budgets = adopt_budgets
        self._store: DirectoryStore | None = None
        self._looking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._unseeded: Catalog | None = None
        self._wake = asyncio.Event()

    def budgets(self) -> Sequence[BudgetRow]:
        return self.directory.budgets

    def caller(self, tenant: str, key: str | None) -> CallerKey | None:
        """The key of that id; without one, a key of the tenant that says nothing of its own."""
        if key is None:
            known = tenants_of(self.directory).get(tenant)
            return None if known is None else CallerKey("", b"", known)
        _, _, found = holders_of(self.directory).get(key, (b"", "", None))
        return found if found is not None and found.tenant.id == tenant else None

    async def begin(self, store: DirectoryStore | None, catalog: Catalog) -> None:
        """With a store, it owns the tenants; those of the file only begin it. Without one, the file is all there is."""
        self._store = store
        self.follow(catalog)
        if store is not None:
            await self.look()
            trouble = "the directory cannot be read, tenants stay as they are"
            self._looking = asyncio.create_task(keep_up(trouble, self.look, lambda: woken(self._wake, LOOK_S)))

    def follow(self, catalog: Catalog) -> None:
        """A new configuration: tenants that the store does not know are added to it, as soon as it can be written."""
        if self._store is None:
            self.ring.adopt(holders_of_file(catalog.keys.values(), self.peppers))
        else:
            self._unseeded = catalog
            self._wake.set()

    async def look(self) -> None:
        """Takes over the directory where it has changed; one at a time, as an older state would bring keys back."""
        store = self._store
        async with self._turn:
            if store is None:
                return
            await self._seed(store)
            if await asyncio.to_thread(store.version) == self.directory.version:
                return
            directory = await asyncio.to_thread(store.snapshot)
            await self._adopt_budgets(directory.budgets)
            self.ring.adopt(holders_of(directory))
            self.admins.adopt({row.id: (row.digest, row.pepper_id, row) for row in directory.admin_keys})
            self.directory = directory

    async def _seed(self, store: DirectoryStore) -> None:
        catalog = self._unseeded
        if catalog is None:
            return
        await asyncio.to_thread(store.seed, rows_of_file(catalog.keys.values(), self.peppers, self._clock.wall_s()))
        if self._unseeded is catalog:
            self._unseeded = None

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def __aenter__(self) -> "Doorkeeper":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def pepper_beside(folder: Path) -> str:
    """Made once, whole before anybody can read it, and readable by this user alone; the database never sees it.

    Raises ValueError for a file that holds none.
    """
    path = folder / "pepper"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        fd, name = tempfile.mkstemp(prefix="pepper-", dir=folder)
        written = Path(name)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(written)
        written.unlink()
    text = path.read_text()
    if len(text) < PEPPER_LETTERS_MIN:
        raise ValueError(f"{path} holds no pepper; bring it back from a copy, or remove it and issue all keys anew")
    return text
