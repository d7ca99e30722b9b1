"""What is read from the books is the fold of their entries, and what cannot be is found."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.reply import Usage
from gateway.filing import Span, UsageRow
from gateway.stores.entry_row import row_of
from gateway.stores.sql.entry_rows import additions
from gateway.stores.sql.opening import Kept
from tests.stores.sql.test_contract import entry

_numbers = itertools.count()
_HOUR_S = 3_600.0


def planted(kept: Kept, *wrong: Entry) -> None:
    """Past the rules of `append`."""
    with kept.database.begin() as connection:
        for statement, rows in additions([row_of(item) for item in wrong], sqlite=kept.database.sqlite):
            connection.exec_driver_sql(statement, rows)


_texts = st.sampled_from(["a", "b"])
_rows = st.builds(
    lambda request, tenant, team, user, at_s, cost, kind, own: entry(
        f"r{request}.{next(_numbers)}", kind, cost, request_id=f"r{request}", tenant=tenant, user=user,
        tags=(("team", team),) if team else (), reserved_at_s=at_s, budget_id="b" if own else None,
        usage=Usage(cost % 11, cost % 7, cost % 5), replay_of="r9" if kind is EntryKind.VOID and cost % 2 else None,
    ),
    st.integers(0, 5), _texts, st.none() | _texts, st.none() | _texts,
    st.sampled_from([0.0, 3_599.9, 3_600.0, 86_399.0, 86_400.0, 1_763_870_400.5]), st.integers(0, 10**12),
    st.sampled_from([EntryKind.POST, EntryKind.POST, EntryKind.EXPIRE, EntryKind.ADJUST, EntryKind.VOID]),
    st.booleans(),
)  # fmt: skip


@pytest.mark.parametrize("bucket", [None, "hour", "day"])
@pytest.mark.parametrize("group_by", [(), ("tenant",), ("tenant", "tag:team"), ("user", "model", "provider")])
def test_usage_is_the_fold_of_the_entries(kept: Kept, group_by: tuple[str, ...], bucket: str | None) -> None:
    seen: list[Entry] = []

    @settings(max_examples=8)
    @given(st.lists(_rows, max_size=12), st.none() | _texts)
    def check(added: list[Entry], tenant: str | None) -> None:
        kept.ledger.append(added)
        seen.extend(added)
        found = kept.ledger.usage(Span(tenant=tenant, from_s=0.0, to_s=1e12), group_by, bucket)
        assert sorted(found, key=repr) == sorted(_folded(seen, tenant, group_by, bucket), key=repr)
        paged: list[UsageRow] = []
        while page := kept.ledger.usage(Span(tenant=tenant), group_by, bucket, (paged[-1].place if paged else None, 3)):
            paged += page
        assert paged == list(found)

    check()


def _folded(seen: list[Entry], tenant: str | None, group_by: tuple[str, ...], bucket: str | None) -> list[UsageRow]:
    size = {"hour": _HOUR_S, "day": 24 * _HOUR_S}.get(bucket or "")
    heaps: dict[tuple[object, ...], list[Entry]] = {}
    for item in seen:
        if item.budget_id is None and tenant in (None, item.tenant):
            named = {"tenant": item.tenant, "user": item.user, "model": item.model, "provider": item.provider}
            group = tuple((name, named.get(name, dict(item.tags).get("team"))) for name in group_by)
            slot = None if size is None else item.reserved_at_s // size * size
            heaps.setdefault((group, slot), []).append(item)
    return [
        UsageRow(
            group,  # type: ignore[arg-type]
            slot,  # type: ignore[arg-type]
            len({item.request_id for item in heap if item.kind in (EntryKind.POST, EntryKind.EXPIRE)}),
            sum(item.usage.input for item in heap),
            sum(item.usage.output for item in heap),
            sum(item.usage.cached_input for item in heap),
            sum(item.cost_nano_usd for item in heap),
            sum(item.replay_of is not None for item in heap),
        )
        for (group, slot), heap in heaps.items()
    ]


def test_a_request_of_two_attempts_is_one_request(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1", cost=0, provider="down"), entry("r1.2", provider="up"), entry("r2.1")])
    assert [row.requests for row in kept.ledger.usage(Span(), (), None)] == [2]


def test_pages_give_every_entry_once_in_order(kept: Kept) -> None:
    kept.ledger.append([entry(f"r{number}.1") for number in range(25)])
    seen: list[str] = []
    after = 0
    while page := kept.ledger.entries(Span(tenant="acme"), after, 10):
        seen += [item.attempt_id for _, item in page]
        after = page[-1][0]
    assert sorted(seen) == sorted(f"r{number}.1" for number in range(25))


def test_a_run_is_its_whole_tree(kept: Kept) -> None:
    kept.ledger.append(
        [
            entry("r1.1", run_id="root", root_run_id="root"),
            entry("r2.1", run_id="leaf", root_run_id="root"),
            entry("r3.1"),
        ]
    )
    assert [row.cost_nano_usd for row in kept.ledger.usage(Span(run="root"), (), None)] == [1_000]
    assert [row.cost_nano_usd for row in kept.ledger.usage(Span(run="leaf"), (), None)] == [500]


def test_books_that_were_written_by_the_rules_agree(kept: Kept) -> None:
    kept.ledger.append([entry("r1.1"), entry("r2.1", EntryKind.EXPIRE, 900), entry("r3.1", EntryKind.VOID, 0)])
    kept.ledger.append([entry("r2.1"), entry("r1.1:p@2", EntryKind.ADJUST, -100)])
    assert list(kept.ledger.verify()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        [entry("r1.1"), entry("r1.1", EntryKind.EXPIRE)],
        [entry("r1.1"), entry("r1.1", EntryKind.TRUE_UP)],
        [entry("r1.1", EntryKind.TRUE_UP)],
        [entry("r1.1", cost=-1)],
        [entry("r1.1", EntryKind.EXPIRE, 5), replace(entry("r1.1", EntryKind.TRUE_UP, -6), tokens=0)],
        [entry("r1.1", tokens=-1)],
    ],
    ids=[
        "two last words",
        "a true-up of a post",
        "a true-up of nothing",
        "money back",
        "more back than paid",
        "tokens",
    ],
)
def test_what_cannot_be_is_found(kept: Kept, wrong: list[Entry]) -> None:
    planted(kept, *wrong, entry("r9.1"))
    (found,) = kept.ledger.verify()
    assert "attempt r1.1" in found


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_a_request_is_found_by_name_in_books_of_any_size(kept: Kept, tenant: str | None) -> None:
    names = ["r1.1", "r1.2", "r10.1", "r2.1", "r1-1.1", "r.1"]
    told = [entry(name) for name in names] + [entry("r1.1:p@2", EntryKind.ADJUST, request_id="r1")]
    kept.ledger.append([*told, entry("adjust:a", EntryKind.ADJUST, request_id="adjust:a")])
    statements: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, values: Any, *rest: object) -> None:
        statements.append((statement, values))

    event.listen(kept.database.engine, "before_cursor_execute", note)
    found = [one.attempt_id for _, one in kept.ledger.entries(Span(tenant, request="r1"), 0, 100)]
    event.remove(kept.database.engine, "before_cursor_execute", note)
    assert sorted(found) == ["r1.1", "r1.1:p@2", "r1.2"]
    assert [one.attempt_id for one in kept.ledger.entries_of_request("adjust:a")] == ["adjust:a"]
    if kept.database.sqlite:
        (asked,) = (pair for pair in statements if pair[0].startswith("SELECT"))
        with kept.database.read() as connection:
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + asked[0], asked[1]).all()
        assert "(attempt_id>? AND attempt_id<?)" in str(plan)


def test_the_runs_of_the_newest_entries_are_told_with_their_roots(kept: Kept) -> None:
    told = [("r1.1", "root", "root"), ("r2.1", "child", "root"), ("r3.1", None, None), ("r4.1", "root", "root")]
    kept.ledger.append([entry(name, run_id=run, root_run_id=root) for name, run, root in told])
    assert list(kept.ledger.roots()) == [("acme", "child", "root"), ("acme", "root", "root")]
