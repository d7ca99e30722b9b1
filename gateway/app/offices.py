"""The admin API and its office: what it may touch of the gateway that runs."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette

from gateway.admin.office import Office, Running
from gateway.admin.routes import admin_routes
from gateway.app.books import Books
from gateway.app.doorkeeper import Doorkeeper
from gateway.app.foresight import Foresight
from gateway.config.effective import effective
from gateway.config.settings import Loaded
from gateway.domain.catalog import Secret
from gateway.domain.record import ExchangeRecord
from gateway.filing import DirectoryStore, LedgerReports
from gateway.http.door import Door
from gateway.ports import Clock
from gateway.stores.health import MemoryHealth
from gateway.stores.keys import new_key


def admin_app(
    clock: Clock,
    books: Books,
    doorkeeper: Doorkeeper,
    kept: tuple[DirectoryStore, LedgerReports] | None,
    running: Running,
    *,
    key: Secret,
    metrics: Callable[[], Awaitable[bytes]],
) -> Starlette:
    office = Office(
        clock=clock,
        directory=None if kept is None else kept[0],
        ledger=None if kept is None else kept[1],
        peppers=doorkeeper.peppers,
        new_key=new_key,
        settled=books.caught_up,
        changed=doorkeeper.look,
        corrected=books.correct,
        astray=books.astray,
        running=running,
    )
    return admin_routes(metrics=metrics, key=key, find=doorkeeper.admins.find, office=office)


def running_of(
    door: Door,
    health: MemoryHealth,
    loaded: Callable[[], Loaded],
    reload: Callable[[], Sequence[str]],
    record: Callable[[str], ExchangeRecord | None],
    foresight: Foresight,
) -> Running:
    return Running(
        catalog=lambda: door.catalog,
        effective=lambda: effective(loaded()),
        check=lambda text: loaded().instead(text).warnings,
        reload=reload,
        targets=lambda: health.lines(door.catalog),
        force=lambda name, state: health.force(door.catalog, name, state),
        record=record,
        foresee=foresight.foresee,
    )
