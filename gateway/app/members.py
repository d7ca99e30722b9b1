"""Who may call, as requests see it: the directory's rows compiled to keys, tenants, limits and budgets."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.domain.budget import Budget, Mode
from gateway.domain.catalog import CallerKey, Limits, Pace, Tenant
from gateway.domain.tenancy import BudgetRow, Directory, KeyRow, LimitRow, TenantRow
from gateway.stores.keys import Peppers

Holders = dict[str, tuple[bytes, str, CallerKey]]


def holders_of_file(keys: Iterable[CallerKey], peppers: Peppers) -> Holders:
    """The callers of a configuration without a database."""
    holders: Holders = {}
    for key in keys:
        if key.secret is not None:
            text = key.secret.reveal()
            holders[peppers.id_of(text)] = (peppers.digest(text), peppers.newest, key)
    return holders


def holders_of(directory: Directory) -> Holders:
    """The callers of the directory. A revoked key works until its time, which for a rotated one may lie ahead."""
    tenants = tenants_of(directory)
    holders: Holders = {}
    for row in directory.keys:
        tenant = tenants.get(row.tenant)
        if tenant is not None:
            holders[row.id] = (row.digest, row.pepper_id, _caller_key(row, tenant))
    return holders


def tenants_of(directory: Directory) -> Mapping[str, Tenant]:
    budgets: dict[str, list[Budget]] = {}
    for row in directory.budgets:
        budgets.setdefault(row.budget.tenant, []).append(row.budget)
    limits: dict[str, list[LimitRow]] = {}
    for limit in directory.limits:
        limits.setdefault(limit.tenant, []).append(limit)
    return {row.id: _tenant(row, limits.get(row.id, []), budgets.get(row.id, [])) for row in directory.tenants}


def rows_of_file(keys: Iterable[CallerKey], peppers: Peppers, now_s: float) -> Directory:
    """What the configuration's tenants would be in the directory, to begin it with."""
    tenants: dict[str, Tenant] = {}
    rows: list[KeyRow] = []
    for key in keys:
        tenants.setdefault(key.tenant.id, key.tenant)
        if key.secret is not None:
            text = key.secret.reveal()
            digest = peppers.digest(text)
            row = KeyRow(peppers.id_of(text), key.tenant.id, digest, peppers.newest, key.id, created_at_s=now_s)
            rows.append(row)
    return Directory(
        0,
        tuple(TenantRow(t.id, models=tuple(sorted(t.models)), created_at_s=now_s) for t in tenants.values()),
        tuple(rows),
        tuple(limit for t in tenants.values() if (limit := _limit_row(t, now_s)) is not None),
        tuple(BudgetRow(budget, now_s) for t in tenants.values() for budget in t.budgets),
    )


def _caller_key(row: KeyRow, tenant: Tenant) -> CallerKey:
    ends = [at_s for at_s in (row.expires_at_s, row.revoked_at_s) if at_s is not None]
    return CallerKey(row.id, row.digest, tenant, row.user, row.tags, frozenset(row.models), min(ends) if ends else None)


def _tenant(row: TenantRow, limits: list[LimitRow], budgets: list[Budget]) -> Tenant:
    """The first limit of the tenant itself is its own; every other one is a pace beside it."""
    own: Limits | None = None
    paces: list[Pace] = []
    for limit in limits:
        rates = limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent
        speeds = Limits(*rates, limit.mode is Mode.SHADOW, limit.store_away)
        if own is None and limit.per == "tenant":
            own = speeds
        else:
            paces.append(Pace(limit.id, speeds, limit.per, limit.of))
    tenant = Tenant(row.id, own or Limits(), frozenset(row.models), tuple(budgets), tuple(paces))
    return replace(tenant, blocked=True) if row.blocked else tenant


def _limit_row(tenant: Tenant, now_s: float) -> LimitRow | None:
    limits = tenant.limits
    speeds = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
    if speeds == (None, None, None):
        return None
    modes = Mode.SHADOW if limits.shadow else Mode.ENFORCE, limits.away
    return LimitRow(f"{tenant.id}-limits", tenant.id, "tenant", None, *speeds, *modes, created_at_s=now_s)
