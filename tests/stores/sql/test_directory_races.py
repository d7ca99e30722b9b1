"""Several processes change and read the directory at once: no change is lost, none is seen by half."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gateway.domain.tenancy import Directory, KeyRow, TenantRow
from gateway.filing import StaleRevision, Taken
from gateway.stores.sql.opening import Kept
from tests.stores.sql.test_contract import BUDGET, KEY, LIMIT, LINE, TENANT

TURNS = 40


@pytest.fixture
def pair(url: str) -> Iterator[tuple[Kept, Kept]]:
    """Two processes' views of one database."""
    one, two = Kept(url), Kept(url)
    yield one, two
    one.close()
    two.close()


def side_by_side(pair: tuple[Kept, Kept], act: Callable[[Kept], None]) -> list[BaseException]:
    """What was raised by the two, who begin together."""
    raised: list[BaseException] = []
    ready = threading.Barrier(2)

    def one(kept: Kept) -> None:
        ready.wait(10)
        try:
            act(kept)
        except BaseException as error:  # noqa: BLE001 - the test says which are right
            raised.append(error)

    threads = [threading.Thread(target=one, args=(kept,)) for kept in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


def test_of_two_changes_on_one_revision_one_is_refused(pair: tuple[Kept, Kept]) -> None:
    pair[0].directory.create(TENANT, LINE)
    for turn in range(TURNS):
        row = pair[0].directory.get(TenantRow, "acme")
        assert row is not None

        def change(kept: Kept, row: TenantRow = row, turn: int = turn) -> None:
            kept.directory.update(replace(row, name=f"{turn}"), LINE)

        raised = side_by_side(pair, change)
        assert [type(error) for error in raised] == [StaleRevision]
    lines = pair[0].directory.audit_lines(None, None, 1_000)
    assert len(lines) == TURNS + 1
    assert pair[1].directory.version() == TURNS + 2


def test_of_two_that_create_one_id_one_is_told_that_it_is_taken(pair: tuple[Kept, Kept]) -> None:
    for turn in range(TURNS):

        def create(kept: Kept, turn: int = turn) -> None:
            kept.directory.create(replace(TENANT, id=f"t{turn}"), LINE)

        assert [type(error) for error in side_by_side(pair, create)] == [Taken]


def test_processes_that_seed_at_once_seed_once(pair: tuple[Kept, Kept]) -> None:
    for turn in range(TURNS):
        name = f"t{turn}"
        rows = Directory(
            0,
            (replace(TENANT, id=name),),
            (replace(KEY, id=f"k{turn}", tenant=name),),
            (replace(LIMIT, id=f"l{turn}", tenant=name),),
            (replace(BUDGET, budget=replace(BUDGET.budget, id=f"b{turn}", tenant=name)),),
        )
        assert side_by_side(pair, lambda kept, rows=rows: kept.directory.seed(rows)) == []  # type: ignore[misc]
    whole = pair[0].directory.snapshot()
    assert [len(kind) for kind in (whole.tenants, whole.keys, whole.limits, whole.budgets)] == [TURNS] * 4
    assert whole.version == 1 + 4 * TURNS


def test_a_snapshot_is_of_one_version(pair: tuple[Kept, Kept]) -> None:
    """Each change moves the version by one and the tenant's revision with it."""
    writer, reader = pair
    writer.directory.create(TENANT, LINE)
    offset = writer.directory.version() - 1
    done = threading.Event()

    def write() -> None:
        row = TENANT
        try:
            for _ in range(TURNS * 5):
                row = replace(row, revision=writer.directory.update(row, LINE))
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        seen = reader.directory.snapshot()
        assert seen.version - offset == seen.tenants[0].revision
    thread.join(60)


def test_a_key_and_its_successor_change_together_or_not_at_all(pair: tuple[Kept, Kept]) -> None:
    directory = pair[0].directory
    directory.create(TENANT, LINE)
    directory.create(KEY, LINE)
    ending = replace(KEY, revoked_at_s=9.0)
    successor = replace(KEY, id="successor", rotated_from=KEY.id)
    with pytest.raises(StaleRevision):
        directory.supersede(replace(ending, revision=7), successor, (LINE, LINE))
    version, lines = directory.version(), len(directory.audit_lines(None, None, 100))
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        directory.supersede(ending, replace(successor, id=KEY.id), (LINE, LINE))
    assert (directory.get(KeyRow, KEY.id), directory.version()) == (KEY, version)
    assert len(directory.audit_lines(None, None, 100)) == lines
    directory.supersede(ending, successor, (LINE, LINE))
    assert directory.get(KeyRow, KEY.id) == replace(ending, revision=2)
    assert directory.get(KeyRow, "successor") == successor
    assert len(directory.audit_lines(None, None, 100)) == lines + 2


def test_who_set_an_object_last_is_known(pair: tuple[Kept, Kept]) -> None:
    directory = pair[0].directory
    directory.create(TENANT, LINE)
    assert directory.set_by("budget", "b") is None
    for role in ("admin", "tenant-admin"):
        directory.note(replace(LINE, kind="budget", object_id="b", role=role))
        assert directory.set_by("budget", "b") == role
    assert directory.set_by("limit", "b") is None
