"""Who may call: tenants, their keys, limits and budgets, and the keys of the admin API, as the directory keeps them."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.domain.budget import Budget, Mode, StoreAway
from gateway.domain.symbol import Symbol


class Role(Symbol):
    """Of an admin key. `tenant-admin` sees and changes its own tenant alone."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    TENANT_ADMIN = "tenant-admin"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """Empty `models` is all. A blocked tenant's keys are refused."""

    id: str
    name: str = ""
    models: tuple[str, ...] = ()
    blocked: bool = False
    created_at_s: float = 0.0
    revision: int = 1


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A caller's key: `id` is its public part, `digest` the HMAC-SHA-256 of its secret under the pepper `pepper_id`.

    `user` and `tags` are what its requests are booked under unless they say otherwise. Wall-clock seconds.
    """

    id: str
    tenant: str
    digest: bytes
    pepper_id: str
    name: str = ""
    user: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] = ()
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    rotated_from: str | None = None
    created_at_s: float = 0.0
    revision: int = 1


@dataclass(frozen=True, slots=True)
class LimitRow:
    """How fast: for the `tenant`, or each `key`, `user` or `model` for itself; `of` narrows that to one value."""

    id: str
    tenant: str
    per: str = "tenant"
    of: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    mode: Mode = Mode.ENFORCE
    store_away: StoreAway = StoreAway.LOCAL
    created_at_s: float = 0.0
    revision: int = 1


@dataclass(frozen=True, slots=True)
class BudgetRow:
    budget: Budget
    created_at_s: float = 0.0
    revision: int = 1


@dataclass(frozen=True, slots=True)
class AdminKeyRow:
    """`tenant` is set for a tenant-admin only."""

    id: str
    digest: bytes
    pepper_id: str
    role: Role
    tenant: str | None = None
    name: str = ""
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    created_at_s: float = 0.0
    revision: int = 1


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """An order to forget a user: what was booked for `user` up to `created_at_s` stands under `id` from then on."""

    id: str
    tenant: str
    user: str
    created_at_s: float = 0.0
    revision: int = 1

    def held_by(self, budgets: Iterable[Budget], wall_s: float) -> list[Budget]:
        """Whose counters are made from entries with the user's name: as long as their windows last, the name stays."""
        own = (budget for budget in budgets if (budget.tenant, budget.per) == (self.tenant, "user"))
        mine = (budget for budget in own if budget.of in (None, self.user))
        return [budget for budget in mine if budget.window(wall_s).starts_s < self.created_at_s]


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change: who did what to which object. `before` and `after` are JSON without secrets, or empty."""

    at_s: float
    actor: str
    role: str
    action: str
    kind: str
    object_id: str
    tenant: str | None
    before: str = ""
    after: str = ""
    request_id: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything at one version; requests are served from this, never from the database."""

    version: int
    tenants: tuple[TenantRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    limits: tuple[LimitRow, ...] = ()
    budgets: tuple[BudgetRow, ...] = ()
    admin_keys: tuple[AdminKeyRow, ...] = ()
