"""What the admin API takes and gives, field by field; amounts in dollars are exact decimals, times are ISO 8601."""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from gateway.config.schema import BUDGET_USD_MAX, BudgetSection, Count, LimitsSection, ModelName, Name, Usd

NANO = 1_000_000_000
DIMENSION = r"^(tenant|key|user|run|model|tag:[A-Za-z0-9_.-]{1,64})$"
LIMIT_DIMENSION = r"^(tenant|key|user|model)$"
TAG = r"^[A-Za-z0-9_.-]{1,64}$"

_PLAIN_USD = re.compile(r"-?[0-9]{1,12}(\.[0-9]+)?")
_YEAR_MIN, _YEAR_MAX = 2000, 9000


def _refused(message: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("admin", "{message}", {"message": message, "remedy": remedy})


def _moment(value: datetime) -> datetime:
    if not _YEAR_MIN <= value.year <= _YEAR_MAX:
        raise _refused(f"the year {value.year} is not one of ours", "send a time such as 2030-01-01T00:00:00Z")
    return value


def _exact(value: object) -> object:
    """Amounts are sent as text, or as plain numbers."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = repr(value) if number else value
    if isinstance(text, str) and (_PLAIN_USD.fullmatch(text) or (number and math.isfinite(float(text)))):
        return Decimal(text)
    raise _refused("not an amount of dollars", 'write plain digits, e.g. "0.15"')


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise _refused(f"there is no time zone {name[:100]!r}", "write an IANA name, e.g. Europe/Berlin") from None
    return name


def _narrows(of: str | None, told: ValidationInfo) -> str | None:
    if of is not None and told.data.get("for_") == "tenant":
        raise _refused("of narrows key, user, run, model or a tag; a tenant is one", "leave it out, or change for")
    return of


Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
FullText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
ExactSigned = Annotated[
    Decimal, BeforeValidator(_exact), Field(ge=-1_000_000, le=1_000_000, max_digits=16, decimal_places=9)
]
Cause = Annotated[str, Field(min_length=3, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Moment = Annotated[AwareDatetime, AfterValidator(_moment)]
Tags = Annotated[dict[Annotated[str, Field(pattern=TAG)], Text], Field(max_length=64)]
Models = Annotated[list[ModelName], Field(max_length=1_000)]
ExactUsd = Annotated[Decimal, PlainSerializer(lambda value: f"{value:f}", return_type=str)]


class Shape(BaseModel):
    """Strict: no unknown field, no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class TenantIn(Shape):
    id: Name
    name: Text = ""
    models: Models = []
    blocked: bool = False


class TenantChange(Shape):
    name: Text | None = None
    models: Models | None = None
    blocked: bool | None = None


class TenantOut(Shape):
    id: str
    name: str
    models: list[str]
    blocked: bool
    created_at: datetime
    revision: int


class KeyIn(Shape):
    name: Text = ""
    user: FullText | None = None
    tags: Tags = {}
    models: Models = []
    expires_at: Moment | None = None


class RotateIn(Shape):
    overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400


class KeyOut(Shape):
    """`key` is the whole key; it is in the answer to its creation and never again."""

    id: str
    tenant: str
    name: str
    user: str | None
    tags: dict[str, str]
    models: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_from: str | None
    created_at: datetime
    revision: int
    key: str | None = None


class BudgetIn(BudgetSection):
    """As in the configuration file, with an id of its own if it shall have one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    usd: Annotated[Usd, BeforeValidator(_exact), Field(gt=0, le=BUDGET_USD_MAX)] | None = None
    of: Annotated[FullText | None, AfterValidator(_narrows)] = None
    zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = "UTC"


class BudgetOut(Shape):
    """`spent` is of the current window, for the tenant or by each of those that it is for."""

    id: str
    tenant: str
    usd: ExactUsd | None
    tokens: int | None
    per: str
    for_: str = Field(alias="for")
    of: str | None
    zone: str
    thresholds: list[int]
    mode: str
    when_short: str
    store_away: str
    window: str
    resets_at: datetime | None
    spent: dict[str, ExactUsd | int]
    revision: int


class LimitIn(LimitsSection):
    model_config = ConfigDict(extra="forbid", defer_build=True)
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    for_: Annotated[str, Field(alias="for", pattern=LIMIT_DIMENSION)] = "tenant"
    of: Annotated[FullText | None, AfterValidator(_narrows)] = None


class LimitOut(Shape):
    id: str
    tenant: str
    for_: str = Field(alias="for")
    of: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent: int | None
    mode: str
    store_away: str
    revision: int


class AdminKeyIn(Shape):
    role: Literal["admin", "operator", "viewer", "tenant-admin"]
    tenant: Name | None = None
    name: Text = ""
    expires_at: Moment | None = None


class AdminKeyOut(Shape):
    id: str
    role: str
    tenant: str | None
    name: str
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    revision: int
    key: str | None = None


class AuditOut(Shape):
    id: int
    at: datetime
    actor: str
    role: str
    action: str
    kind: str
    object_id: str
    tenant: str | None
    before: str
    after: str


class TargetOut(Shape):
    deployment: str
    circuit: str
    transitions: int
    in_flight: int
    pause: str | None
    pause_left_s: float
    drained: bool = False


class TargetChange(Shape):
    state: Literal["open", "closed", "drain", "serve"]


class UsageOut(Shape):
    group: dict[str, str | None]
    bucket: datetime | None
    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    usd: ExactUsd
    replays: int


class EntryOut(Shape):
    """With a `budget_id` it counts in that budget alone, as the credit of dead processes does, and is no usage."""

    attempt_id: str
    kind: str
    request_id: str
    tenant: str
    key_id: str
    user: str | None
    run_id: str | None
    root_run_id: str | None
    parent_run_id: str | None
    session_id: str | None
    tags: dict[str, str]
    model: str
    provider: str
    provider_model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    audio_input_tokens: int
    image_input_tokens: int
    audio_output_tokens: int
    image_output_tokens: int
    usd: ExactUsd
    price_id: str
    service_tier: str | None
    provenance: str
    unpriced: bool
    reserved_at: datetime
    posted_at: datetime
    late: bool
    replay_of: str | None
    budget_id: str | None
    budget_who: str | None
    actor: str
    cause: str


class ErasureIn(Shape):
    """Whom to forget, as requests named the user."""

    user: Annotated[str, Field(min_length=1)]


class ErasureOut(Shape):
    """`id` stands in the ledger in the place of the name. `entries` have lost it by this call; those in the running
    windows of the budgets `held_by` lose it when those end, at `held_until` the last (null: not by themselves)."""

    id: str
    tenant: str
    created_at: datetime
    entries: int | None
    held_by: list[str]
    held_until: datetime | None


class AdjustIn(Shape):
    """A correction by hand: the amount may be negative. `of` says whose account of the budget is meant."""

    tenant: Name
    usd: ExactSigned
    cause: Cause
    budget: FullText | None = None
    of: FullText | None = None


class RerateIn(Shape):
    """By the price that is in force for each attempt's time; `to` is now where it is left out."""

    provider: Name
    model: ModelName
    from_: Annotated[Moment, Field(alias="from")]
    to: Moment | None = None
    cause: Cause


class ReconcileRow(Shape):
    """One line of a provider's export: of a day (UTC), or of the whole span."""

    day: date | None = None
    model: ModelName
    input_tokens: Annotated[int, Field(ge=0, le=10**15)]
    output_tokens: Annotated[int, Field(ge=0, le=10**15)]
    usd: ExactSigned | None = None


class ReconcileIn(Shape):
    provider: Name
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None
    rows: Annotated[list[ReconcileRow], Field(min_length=1, max_length=10_000)]


class Figures(Shape):
    input_tokens: int
    output_tokens: int
    usd: ExactUsd | None


class ReconcileLine(Shape):
    day: date | None
    model: str
    theirs: Figures
    ours: Figures
    agree: bool


class ReconcileOut(Shape):
    agree: bool
    lines: list[ReconcileLine]


class RerateOut(Shape):
    entries: int


class SimulateIn(Shape):
    """A question, not a request: nothing is sent and nothing is held. `key` is the id of a key of the tenant, `run`
    the topmost of its tree."""

    tenant: Name
    model: ModelName
    input_tokens: Count = 1_000
    output_tokens: Count = 1_000
    key: FullText | None = None
    user: FullText | None = None
    run: FullText | None = None
    tags: Tags = {}


class ConfigText(Shape):
    """What would stand in the configuration's file."""

    text: Annotated[str, Field(min_length=1)]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def at_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else at(seconds)


def usd(nano_usd: int) -> Decimal:
    return Decimal(nano_usd) / NANO
