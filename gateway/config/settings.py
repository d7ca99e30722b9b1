"""What a configuration compiles to beside the catalog, as immutable values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from gateway.config.problems import Problem
from gateway.domain.catalog import Catalog, Price, Secret
from gateway.domain.webhook import Webhook


@dataclass(frozen=True, slots=True)
class Listen:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Admin:
    host: str
    port: int
    key: Secret


@dataclass(frozen=True, slots=True)
class Server:
    """The door's limits."""

    memory_bytes: int | None
    body_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    grace_s: float
    connections: int
    connections_per_address: int
    headers_max: int
    headers_bytes: int
    header_bytes: int
    send_stall_s: float
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    otlp_endpoint: str | None
    otlp_headers: tuple[tuple[str, Secret], ...]
    otlp_interval_s: float
    service_name: str
    environment: str | None
    log_level: str
    access_log: str
    genai_semconv: str
    series_max: int


@dataclass(frozen=True, slots=True)
class Sim:
    """A provider that an in-process simulator plays; its origin in the catalog is sim://<provider>:0 until bound."""

    provider: str
    script: str | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Holds from `starts` until the day before `ends` (UTC); None is open."""

    provider: str
    model: str
    price: Price
    starts: date | None = None
    ends: date | None = None
    service_tier: str | None = None

    def holds(self, day: date) -> bool:
        return (self.starts is None or self.starts <= day) and (self.ends is None or day < self.ends)


@dataclass(frozen=True, slots=True)
class Prices:
    """`unknown` is "refuse", "unpriced", or the price that every model without one has."""

    unknown: str | Price
    overrides: tuple[PriceOverride, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything in the file that is not the catalog. Database and redis are secrets: URLs may hold passwords.

    `journal` is a folder.
    """

    listen: Listen
    admin: Admin | None
    database: Secret
    journal: str
    peppers: tuple[Secret, ...]
    redis: Secret | None
    server: Server
    telemetry: Telemetry
    prices: Prices
    webhooks: tuple[Webhook, ...] = ()
    sims: tuple[Sim, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """One configuration, whole: swap it in, or keep the one before. `instead` reads a text in the place of its file."""

    settings: Settings
    catalog: Catalog
    warnings: tuple[Problem, ...]
    instead: Callable[[str], "Loaded"] = field(repr=False, compare=False)
