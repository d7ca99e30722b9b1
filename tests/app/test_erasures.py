"""Who is forgotten goes from the ledger as soon as no budget counts it, and no figure changes by that."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app.erasures import LATE_S, Erasures
from gateway.domain.budget import Budget, Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.period import Period
from gateway.domain.tenancy import AuditLine, BudgetRow, ErasureRow, TenantRow
from gateway.filing import Span
from gateway.stores.erasure import carry_out
from gateway.stores.sql import forgetting
from gateway.stores.sql.opening import Kept
from tests.clock import ToldClock
from tests.stores.sql.test_contract import entry
from tests.sums import ENTRIES_MAX, in_all

DAY_S = 86_400.0
LINE = AuditLine(1.0, "root", "admin", "create", "it", "it", "acme")
HOURLY = Budget("hourly", "acme", 1_000, Unit.NANO_USD, Period.HOUR, "user")
DAILY = Budget("daily", "acme", 1_000, Unit.NANO_USD, Period.DAY, "user")
FOR_GOOD = Budget("for-good", "acme", 1_000, Unit.TOKENS, Period.LIFETIME, "user")
BY_TEAM = Budget("by-team", "acme", 1_000, Unit.NANO_USD, Period.LIFETIME, "tag:team")
ELSEWHERE = Budget("elsewhere", "other", 1_000, Unit.NANO_USD, Period.LIFETIME, "user")
_numbers = itertools.count()


@pytest.fixture
def kept(kept: Kept) -> Kept:
    for tenant in ("acme", "other"):
        kept.directory.create(TenantRow(tenant), LINE)
    return kept


@pytest.fixture
def clock() -> ToldClock:
    """Noon."""
    clock = ToldClock()
    clock.wall = clock.wall // DAY_S * DAY_S + DAY_S / 2 - clock.now_s
    return clock


def booked(kept: Kept, at_s: float, user: str | None = "ann", **more: Any) -> str:
    name = f"r{next(_numbers)}.1"
    kept.ledger.append([entry(name, user=user, reserved_at_s=at_s, session_id="s", **more)])
    return name


def found(kept: Kept) -> dict[str, Entry]:
    return {one.attempt_id: one for _, one in kept.ledger.entries(Span(), 0, ENTRIES_MAX)}


def carried_out(order: ErasureRow, kept: Kept, clock: ToldClock) -> int:
    return carry_out(order, kept.directory, kept.ledger, clock.wall_s())[0]


def ordered(kept: Kept, clock: ToldClock, user: str = "ann") -> ErasureRow:
    row = ErasureRow("erased-1", "acme", user, clock.wall_s())
    kept.directory.create(row, LINE)
    return row


def test_a_name_goes_when_no_budget_counts_it_any_more(
    kept: Kept, clock: ToldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BATCH", 2)
    now_s = clock.wall_s()
    for budget in (HOURLY, DAILY, BY_TEAM, ELSEWHERE):
        kept.directory.create(BudgetRow(budget), LINE)
    old = [booked(kept, now_s - DAY_S - at) for at in range(5)]
    counted = booked(kept, now_s - 4 * 3_600)
    others = [booked(kept, now_s - DAY_S, tenant="other"), booked(kept, now_s - DAY_S, user="bob"),
              booked(kept, now_s - DAY_S, user=None, budget_id="by-team", budget_who="ann")]  # fmt: skip
    credit = booked(kept, now_s - DAY_S, user=None, budget_id="daily", budget_who="ann")
    before, total = found(kept), in_all(kept.ledger)
    order = ordered(kept, clock)
    assert carried_out(order, kept, clock) == len(old) + 1
    later = booked(kept, now_s + 1)

    after = found(kept)
    for name in old:
        assert after[name] == replace(before[name], user=order.id, session_id=None)
    assert after[credit] == replace(before[credit], budget_who=order.id)
    for name in (*others, counted):
        assert after[name] == before[name]
    assert carried_out(order, kept, clock) == 0

    clock.now_s += DAY_S
    came_late = booked(kept, now_s - 1)
    Erasures(clock, kept.directory, kept.ledger).look()
    after = found(kept)
    assert (after[counted].user, after[came_late].user, after[later].user) == (order.id, order.id, "ann")
    assert in_all(kept.ledger)[2] == total[2] + 2 * before[counted].cost_nano_usd
    assert not kept.directory.page(ErasureRow, "acme", "", 10)
    assert [line.action for line in kept.directory.audit_lines("acme", None, 1)] == ["erased"]


def test_an_order_stays_while_a_budget_counts_for_good_and_while_entries_may_still_come(
    kept: Kept, clock: ToldClock
) -> None:
    kept.directory.create(BudgetRow(FOR_GOOD), LINE)
    name = booked(kept, clock.wall_s() - 1)
    order = ordered(kept, clock)
    erasures = Erasures(clock, kept.directory, kept.ledger)
    clock.now_s += 400 * DAY_S
    erasures.look()
    assert found(kept)[name].user == "ann"
    kept.directory.delete(BudgetRow, "for-good", 1, LINE)
    erasures.look()
    assert found(kept)[name].user == order.id
    assert not kept.directory.page(ErasureRow, None, "", 10)


def test_an_order_without_budgets_waits_for_what_comes_late(kept: Kept, clock: ToldClock) -> None:
    order = ordered(kept, clock)
    erasures = Erasures(clock, kept.directory, kept.ledger)
    clock.now_s += LATE_S - 1
    erasures.look()
    assert kept.directory.page(ErasureRow, None, "", 10) == [order]
    clock.now_s += 1
    erasures.look()
    assert not kept.directory.page(ErasureRow, None, "", 10)


def test_a_name_that_no_database_keeps_as_it_is_is_found_all_the_same(kept: Kept, clock: ToldClock) -> None:
    name = booked(kept, clock.wall_s() - DAY_S, user="a\0nn\ud800")
    order = ordered(kept, clock, "a\0nn\ud800")
    Erasures(clock, kept.directory, kept.ledger).look()
    assert found(kept)[name].user == order.id


_ANNS, _BOBS = replace(DAILY, id="anns", of="ann"), replace(DAILY, id="bobs", of="bob")
_WHOLE = replace(FOR_GOOD, id="whole", per="tenant")
_budgets = st.sampled_from([HOURLY, DAILY, FOR_GOOD, BY_TEAM, _ANNS, _BOBS, _WHOLE])
_entries = st.tuples(
    st.floats(-2 * DAY_S, -1.0), st.sampled_from(["ann", "bob", None]), st.none() | _budgets, st.integers(0, 9)
)


def test_no_counter_changes_by_forgetting(tmp_path: Path, clock: ToldClock) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(_budgets, unique=True), st.lists(_entries, max_size=8), st.integers(0, 30))
    def check(budgets: list[Budget], entries: list[Any], hours: int) -> None:
        kept = Kept(f"sqlite:///{tmp_path}/{next(_numbers)}.db")
        kept.directory.create(TenantRow("acme"), LINE)
        for budget in budgets:
            kept.directory.create(BudgetRow(budget), LINE)
        for ago_s, user, own, cost in entries:
            whose = {} if own is None else {"budget_id": own.id, "budget_who": user or "acme"}
            booked(kept, clock.wall_s() + ago_s, user, kind=EntryKind.POST, cost=cost, **whose)
        told = ToldClock()
        told.wall, told.now_s = clock.wall, clock.now_s
        order = ordered(kept, told)
        told.now_s += hours * 3_600

        def sums() -> list[dict[str, int]]:
            windows = [(budget, budget.window(told.wall_s())) for budget in budgets]
            return [kept.ledger.sums(budget, window.starts_s, window.ends_s) for budget, window in windows]

        before = sums()
        carried_out(order, kept, told)
        assert sums() == before
        if not order.held_by(budgets, told.wall_s()):
            assert all(one.user != "ann" for one in found(kept).values())
        kept.close()

    check()
