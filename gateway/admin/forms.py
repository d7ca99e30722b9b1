"""Rows of the directory as the admin API shows them, and what it is sent as rows."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.admin import shapes
from gateway.admin.problems import Problem
from gateway.config.prices import nano
from gateway.domain.budget import Budget, Mode, StoreAway, Unit, WhenShort
from gateway.domain.period import Period
from gateway.domain.tenancy import AdminKeyRow, BudgetRow, KeyRow, LimitRow, TenantRow


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def tenant_out(row: TenantRow) -> shapes.TenantOut:
    return shapes.TenantOut(
        id=row.id, name=row.name, models=list(row.models), blocked=row.blocked,
        created_at=shapes.at(row.created_at_s), revision=row.revision,
    )  # fmt: skip


def key_out(row: KeyRow, text: str | None = None) -> shapes.KeyOut:
    return shapes.KeyOut(
        id=row.id, tenant=row.tenant, name=row.name, user=row.user, tags=dict(row.tags), models=list(row.models),
        expires_at=shapes.at_or_none(row.expires_at_s), revoked_at=shapes.at_or_none(row.revoked_at_s),
        rotated_from=row.rotated_from, created_at=shapes.at(row.created_at_s), revision=row.revision, key=text,
    )  # fmt: skip


def admin_key_out(row: AdminKeyRow, text: str | None = None) -> shapes.AdminKeyOut:
    return shapes.AdminKeyOut(
        id=row.id, role=row.role.value, tenant=row.tenant, name=row.name,
        expires_at=shapes.at_or_none(row.expires_at_s), revoked_at=shapes.at_or_none(row.revoked_at_s),
        created_at=shapes.at(row.created_at_s), revision=row.revision, key=text,
    )  # fmt: skip


def limit_out(row: LimitRow) -> shapes.LimitOut:
    return shapes.LimitOut(
        id=row.id, tenant=row.tenant, **{"for": row.per}, of=row.of, requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute, concurrent=row.concurrent, mode=row.mode.value,
        store_away=row.store_away.value, revision=row.revision,
    )  # fmt: skip


def limit_of(tenant: str, limit_id: str, given: shapes.LimitIn, now_s: float) -> LimitRow:
    speeds = (given.requests_per_minute, given.tokens_per_minute, given.concurrent)
    if speeds == (None, None, None):
        errors = [{"field": "requests_per_minute", "message": "or tokens_per_minute, or concurrent: at least one"}]
        raise Problem(422, "Invalid", "a limit limits something", errors=errors)
    modes = Mode(given.mode), StoreAway(given.store_away)
    return LimitRow(limit_id, tenant, given.for_, given.of, *speeds, *modes, created_at_s=now_s)


def budget_of(tenant: str, budget_id: str, given: shapes.BudgetIn) -> Budget:
    usd = given.usd is not None
    return Budget(
        id=budget_id,
        tenant=tenant,
        amount=nano(given.usd) if given.usd is not None else given.tokens or 0,
        unit=Unit.NANO_USD if usd else Unit.TOKENS,
        period=Period(given.per),
        per=given.for_,
        of=given.of,
        zone=ZoneInfo(given.zone),
        thresholds=tuple(sorted(set(given.thresholds))),
        mode=Mode(given.mode),
        store_away=StoreAway(given.store_away),
        when_short=WhenShort(given.when_short),
    )


def budget_out(row: BudgetRow, now_s: float, spent: Mapping[str, int]) -> shapes.BudgetOut:
    budget = row.budget
    window = budget.window(now_s)
    usd = budget.unit is Unit.NANO_USD
    return shapes.BudgetOut(
        id=budget.id,
        tenant=budget.tenant,
        usd=shapes.usd(budget.amount) if usd else None,
        tokens=None if usd else budget.amount,
        per=budget.period.value,
        **{"for": budget.per},
        of=budget.of,
        zone=str(budget.zone),
        thresholds=list(budget.thresholds),
        mode=budget.mode.value,
        when_short=budget.when_short.value,
        store_away=budget.store_away.value,
        window=window.id,
        resets_at=None if budget.period is Period.LIFETIME else shapes.at(window.ends_s),
        spent={who: shapes.usd(amount) if usd else amount for who, amount in spent.items()},
        revision=row.revision,
    )


def plain_budget(row: BudgetRow) -> shapes.BudgetOut:
    return budget_out(row, row.created_at_s, {})
