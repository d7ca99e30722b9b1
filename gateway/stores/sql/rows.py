"""Rows of the directory's tables to domain values and back."""

import json
from dataclasses import asdict, replace
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping

from gateway.domain.budget import Budget, Mode, StoreAway, Unit, WhenShort
from gateway.domain.period import Period
from gateway.domain.tenancy import AdminKeyRow, AuditLine, BudgetRow, ErasureRow, KeyRow, LimitRow, Role, TenantRow
from gateway.filing import OwnedRow
from gateway.stores.entry_row import storable

Row = RowMapping
Values = dict[str, Any]


def tenant_of(row: Row) -> TenantRow:
    return TenantRow(**{**row, "models": tuple(json.loads(row["models"]))})


def key_of(row: Row) -> KeyRow:
    lists = {"models": tuple(json.loads(row["models"])), "tags": tuple(json.loads(row["tags"]).items())}
    return KeyRow(**{**row, **lists, "digest": bytes(row["digest"])})


def limit_of(row: Row) -> LimitRow:
    return LimitRow(**{**row, "mode": Mode(row["mode"]), "store_away": StoreAway(row["store_away"])})


def budget_of(row: Row) -> BudgetRow:
    plain = {name: row[name] for name in ("id", "tenant", "amount", "per", "of")}
    budget = Budget(
        **plain,
        unit=Unit(row["unit"]),
        period=Period(row["period"]),
        zone=ZoneInfo(row["zone"]),
        thresholds=tuple(json.loads(row["thresholds"])),
        mode=Mode(row["mode"]),
        store_away=StoreAway(row["store_away"]),
        when_short=WhenShort(row["when_short"]),
    )
    return BudgetRow(budget, row["created_at_s"], row["revision"])


def admin_key_of(row: Row) -> AdminKeyRow:
    return AdminKeyRow(**{**row, "role": Role(row["role"]), "digest": bytes(row["digest"])})


def erasure_of(row: Row) -> ErasureRow:
    return ErasureRow(**row)


def audit_of(row: Row) -> AuditLine:
    return AuditLine(**row)


def values_of(row: OwnedRow) -> Values:
    """For INSERT and UPDATE."""
    if isinstance(row, BudgetRow):
        budget = row.budget
        values = {name: getattr(budget, name) for name in ("id", "tenant", "amount", "per", "of")}
        enums = ("unit", "period", "mode", "store_away", "when_short")
        values |= {name: getattr(budget, name).value for name in enums}
        values |= {"zone": str(budget.zone), "thresholds": json.dumps(budget.thresholds)}
        return values | {"created_at_s": row.created_at_s, "revision": row.revision}
    values = asdict(row)
    if isinstance(row, TenantRow | KeyRow):
        values["models"] = json.dumps(row.models)
    if isinstance(row, KeyRow):
        values["tags"] = json.dumps(dict(row.tags))
    if isinstance(row, LimitRow):
        values |= {"mode": row.mode.value, "store_away": row.store_away.value}
    if isinstance(row, AdminKeyRow):
        values["role"] = row.role.value
    if isinstance(row, ErasureRow):
        values["user"] = storable(row.user)
    return values


def id_of(row: OwnedRow) -> str:
    return row.budget.id if isinstance(row, BudgetRow) else row.id


def revised(row: OwnedRow, revision: int) -> OwnedRow:
    return replace(row, revision=revision)
