"""What the administration asks of what is kept: the directory of tenants, and reports of the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.domain.budget import Budget
from gateway.domain.ledger import Entry
from gateway.domain.reply import Usage
from gateway.domain.tenancy import AdminKeyRow, AuditLine, BudgetRow, Directory, ErasureRow, KeyRow, LimitRow, TenantRow

OwnedRow = TenantRow | KeyRow | LimitRow | BudgetRow | AdminKeyRow | ErasureRow
_Row = TypeVar("_Row", bound=OwnedRow)


class Taken(Exception):
    """An object of that id exists."""


class NotThere(Exception):
    """There is no object of that id."""


class StaleRevision(Exception):
    """The object was changed meanwhile; `revision` is the one it has now."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the current revision is {revision}")
        self.revision = revision


class DirectoryStore(Protocol):
    """The tenants and all that is theirs, in SQL. Every method blocks."""

    def version(self) -> int: ...
    def snapshot(self) -> Directory: ...
    def seed(self, rows: Directory) -> None:
        """Adds the tenants that are not there yet, with all that is theirs in `rows`."""
        ...

    def get(self, kind: type[_Row], object_id: str) -> _Row | None: ...
    def page(self, kind: type[_Row], tenant: str | None, after: str, count: int) -> Sequence[_Row]:
        """By id, those behind `after`; `tenant` None is all."""
        ...

    def create(self, row: OwnedRow, line: AuditLine) -> None:
        """Raises Taken for an id that exists, NotThere for a tenant that does not."""
        ...

    def update(self, row: OwnedRow, line: AuditLine) -> int:
        """The row with the revision that it was read with; the new revision. Raises StaleRevision, NotThere."""
        ...

    def supersede(self, old: KeyRow, new: KeyRow, lines: tuple[AuditLine, AuditLine]) -> None:
        """A key changed as `old` says, and the one that follows it, or neither. Raises StaleRevision, NotThere."""
        ...

    def set_by(self, kind: str, object_id: str) -> str | None:
        """The role of who set the object as it is now, in the audit trail's words."""
        ...

    def delete(self, kind: type[_Row], object_id: str, revision: int, line: AuditLine) -> None:
        """Raises StaleRevision, NotThere."""
        ...

    def note(self, line: AuditLine) -> None:
        """A change of something that is not kept here."""
        ...

    def audit_lines(self, tenant: str | None, before: int | None, count: int) -> Sequence[AuditLine]:
        """Newest first, those before the line of that id."""
        ...


UsagePlace = tuple[tuple[str | None, ...], int]
"""A row's place among the others: the values of its dimensions, and its bucket's beginning in seconds, or 0."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """`group` holds the value of each dimension asked for, `bucket_s` the beginning of its hour or day. `replays` got
    the answer of another request, are none of `requests`, and cost nothing."""

    group: tuple[tuple[str, str | None], ...]
    bucket_s: float | None
    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_nano_usd: int
    replays: int

    @property
    def place(self) -> UsagePlace:
        return tuple(value for _, value in self.group), int(self.bucket_s or 0)


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries: of a tenant, a run (its whole tree), a request, and reserved in [from_s, to_s)."""

    tenant: str | None = None
    run: str | None = None
    request: str | None = None
    from_s: float = 0.0
    to_s: float = 1e12


UsagePrice = Callable[[Usage, str | None], tuple[int, str]]
"""What usage costs in nano-USD at a service tier, and the id of the price."""


@dataclass(frozen=True, slots=True)
class Rerating:
    """Which attempts, reserved in [from_s, to_s), and who says so, when and why."""

    provider: str
    provider_model: str
    from_s: float
    to_s: float
    posted_at_s: float
    actor: str
    cause: str


class LedgerReports(Protocol):
    """What is read from the books. Every method blocks."""

    def append(self, entries: Sequence[Entry]) -> None: ...
    def sums(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, int]: ...
    def usage(
        self, span: Span, group_by: Sequence[str], bucket: str | None, page: tuple[UsagePlace | None, int] | None = None
    ) -> Sequence[UsageRow]:
        """`group_by` names dimensions (tenant, key, user, model, provider, provider_model, run, tag:NAME), `bucket`
        hour or day. `page` is behind which row to begin, and how many to give; None for all."""
        ...

    def entries(self, span: Span, after: int, count: int) -> Sequence[tuple[int, Entry]]:
        """Oldest first, with their serial numbers, those behind `after`."""
        ...

    def roots(self) -> Sequence[tuple[str, str, str]]:
        """Tenant, run and root of the runs that were named lately, the last ones last."""
        ...

    def rerate(self, which: Rerating, price: UsagePrice) -> int:
        """Adds what is missing from what attempts were charged; how many entries that took. Again, it adds none."""
        ...

    def verify(self) -> Sequence[str]:
        """What cannot be, in words; empty when the books agree."""
        ...

    def forget(self, order: ErasureRow, from_s: float, to_s: float, named: Sequence[str]) -> int:
        """Books entries of the order's user that were reserved in [from_s, to_s) under the order's id, without their
        conversation; how many. `named` are the tenant's budgets whose accounts are not those of users."""
        ...
