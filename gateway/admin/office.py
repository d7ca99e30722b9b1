"""What the admin API works with, and how its changes are made: in a thread, with an audit line, or not at all."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel

from gateway.admin.endpoint import Call
from gateway.admin.problems import Problem, not_found
from gateway.admin.shapes import SimulateIn
from gateway.admin.threads import in_thread
from gateway.config.problems import Problem as Finding
from gateway.domain.budget import Budget, Claim
from gateway.domain.catalog import Catalog
from gateway.domain.errors import GatewayError
from gateway.domain.record import ExchangeRecord
from gateway.domain.tenancy import AuditLine
from gateway.filing import DirectoryStore, LedgerReports, NotThere, StaleRevision, Taken
from gateway.pipeline.worst_case import WorstCase
from gateway.ports import Clock

_T = TypeVar("_T")

Sums = Callable[[Budget, float, float], Mapping[str, int]]
"""What the ledger says was charged in a window, for each of those that the budget is for."""

NO_DATABASE = "this gateway keeps nothing (`database: memory`); configure a database to manage tenants here"


class TargetLine(Protocol):
    """One deployment's health."""

    deployment: str
    circuit: str
    transitions: int
    in_flight: int
    pause: str | None
    pause_left_s: float


class Peppered(Protocol):
    newest: str

    def digest(self, text: str, pepper_id: str | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a request would meet: by deployment what it could cost, its claims with what is left for each, and what
    would be held for it, or else what would refuse it."""

    costs: Mapping[str, int | None]
    claims: Sequence[tuple[Claim, int]]
    held: WorstCase | None
    refusal: GatewayError | None


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway that serves: what it has in force and what it sees.

    `check` says what a text in the place of the configuration's file would warn of, and raises ConfigInvalid.
    """

    catalog: Callable[[], Catalog]
    effective: Callable[[], Mapping[str, object]]
    check: Callable[[str], Sequence[Finding]]
    reload: Callable[[], Sequence[str]]
    targets: Callable[[], Iterable[TargetLine]]
    force: Callable[[str, str], bool]
    record: Callable[[str], ExchangeRecord | None]
    foresee: Callable[[SimulateIn, Sums], Awaitable[Foreseen | None]]


@dataclass(frozen=True, slots=True)
class Office:
    """`settled` returns when the ledger has all that is on record; `changed` makes this process look at once, and
    `corrected` makes the counters, of a tenant or of all, follow what was put right in the ledger.
    `astray` are counters that say something else than the ledger, in words."""

    clock: Clock
    directory: DirectoryStore | None
    ledger: LedgerReports | None
    peppers: Peppered
    new_key: Callable[[str], tuple[str, str]]
    settled: Callable[[], Awaitable[None]]
    changed: Callable[[], Awaitable[None]]
    corrected: Callable[[str | None], Awaitable[None]]
    astray: Callable[[], Awaitable[list[str]]]
    running: Running

    @property
    def store(self) -> DirectoryStore:
        if self.directory is None:
            raise Problem(409, "No database", NO_DATABASE)
        return self.directory

    @property
    def books(self) -> LedgerReports:
        if self.ledger is None:
            raise Problem(409, "No database", NO_DATABASE)
        return self.ledger

    async def change(self, kind: str, object_id: str, work: Callable[[], _T]) -> _T:
        """In force here when this returns, and in every other process within a second."""
        try:
            done = await in_thread(work)
        except Taken:
            raise Problem(409, "Taken", f"there is a {kind} {object_id!r} already") from None
        except NotThere as error:
            raise not_found("tenant" if str(error) != object_id else kind, str(error)) from None
        except StaleRevision as error:
            detail = f"the {kind} was changed meanwhile; read it again (revision {error.revision})"
            raise Problem(412, "Changed meanwhile", detail, etag=error.revision) from None
        await self.changed()
        return done

    def line(
        self,
        call: Call,
        action: str,
        kind: str,
        object_id: str,
        *,
        tenant: str | None,
        before: BaseModel | None = None,
        after: BaseModel | None = None,
    ) -> AuditLine:
        who = call.principal
        return AuditLine(
            self.clock.wall_s(), who.id, who.role.value, action, kind, object_id, tenant, _told(before), _told(after)
        )


def _told(shape: BaseModel | None) -> str:
    """Without the key that is shown once."""
    return "" if shape is None else json.dumps(shape.model_dump(mode="json", by_alias=True, exclude={"key"}))
