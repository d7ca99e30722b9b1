"""The shape of the configuration file: every setting with its type, unit, default and range."""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gateway.config.hosts import AZURE, HOSTS, KINDS, SIM
from gateway.config.problems import choose, shown

_NANO = 1_000_000_000
BUDGET_USD_MAX = Decimal(2**52) / _NANO
_ENV = re.compile(r"^env:[A-Za-z_][A-Za-z0-9_]*$")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_MODEL = r"^[!-~]{1,200}$"
_SERVICE_TIER = r"^[a-z0-9_-]{1,64}$"
_API_VERSION = r"^[A-Za-z0-9._-]{1,40}$"
_DIMENSION = r"^(tenant|key|user|run|model|tag:[A-Za-z0-9_.-]{1,64})$"


def _fault(message: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("house", "{message}", {"message": message, "remedy": remedy})


def _secret_ref(text: str) -> str:
    if _ENV.match(text) or (text.startswith("file:") and len(text) > len("file:")):
        return text
    if text.startswith("env:"):
        raise _fault("env: is not followed by the name of a variable", "write env:NAME, e.g. env:OPENAI_API_KEY")
    raise _fault(
        "a secret stands in the file itself",
        "put it in the environment or a file of its own, then write env:NAME or file:PATH here; change that secret",
    )


def _provider_key(text: str) -> str:
    return text if text == "none" else _secret_ref(text)


def _url_ref(text: str) -> str:
    if text.startswith(("env:", "file:")):
        return _secret_ref(text)
    authority = text.partition("://")[2].partition("/")[0]
    if ":" in authority.rpartition("@")[0]:
        raise _fault("the URL holds a password", "write env:NAME or file:PATH and put the whole URL there")
    return text


def _kind(name: str) -> str:
    if name not in KINDS:
        raise _fault(f"the kind {shown(name)} is not known", choose(name, KINDS, "kind"))
    return name


def _money(value: object) -> object:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    raise _fault("not a number of dollars", "write a plain number, e.g. 0.15")


def _nano_exact(value: Decimal) -> Decimal:
    if not value.is_finite() or (value * _NANO) % 1 != 0:
        raise _fault(f"{value} has more than nine decimals", "round it to a billionth of a dollar")
    return value


def _version_text(value: object) -> object:
    return "1.41" if value == 1.41 else value


SecretRef = Annotated[str, AfterValidator(_secret_ref)]
ProviderKey = Annotated[str, AfterValidator(_provider_key)]
UrlRef = Annotated[str, AfterValidator(_url_ref)]
Usd = Annotated[Decimal, BeforeValidator(_money), AfterValidator(_nano_exact), Field(ge=0, le=1_000_000)]
Name = Annotated[str, Field(pattern=_NAME)]
ModelName = Annotated[str, Field(pattern=_MODEL)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Section(BaseModel):
    """Strict: no unknown key, no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class ListenSection(Section):
    host: str = "127.0.0.1"
    port: Port = 8080


class AdminSection(Section):
    host: str = "127.0.0.1"
    port: Port = 8081
    key: SecretRef


class LimitsSection(Section):
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None
    mode: Literal["enforce", "shadow"] = "enforce"
    store_away: Literal["deny", "local", "allow"] = "local"


class TimeoutsSection(Section):
    connect_s: Seconds | None = None
    first_token_s: Seconds | None = None
    idle_s: Seconds | None = None
    total_s: Seconds | None = None


class ProviderSection(Section):
    kind: Annotated[str, AfterValidator(_kind)]
    base_url: str | None = None
    allow_http: bool = False
    keys: Annotated[list[ProviderKey], Field(min_length=1, max_length=1000)] | None = None
    limits: LimitsSection = LimitsSection()
    ca_file: str | None = None
    connections: Annotated[int, Field(ge=1, le=65_536)] = 256
    on_disconnect: Literal["abort", "drain"] = "abort"
    enforces_output_limit: bool = True
    api_version: Annotated[str, Field(pattern=_API_VERSION)] | None = None
    script: str | None = None
    seed: int | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "ProviderSection":
        given = self.model_fields_set
        foreign = {"base_url", "allow_http", "keys", "ca_file"} if self.kind == SIM else {"script", "seed"}
        if given & foreign:
            names = ", ".join(sorted(given & foreign))
            who = "the simulator" if self.kind == SIM else f"a provider of kind {self.kind}"
            raise _fault(f"{who} takes no {names}", "remove it")
        host = HOSTS.get(self.kind)
        if self.api_version is not None and self.kind != AZURE:
            raise _fault(f"a provider of kind {self.kind} takes no api_version", "remove it")
        if host is not None and not host.base_url and self.base_url is None:
            raise _fault("base_url is missing", "add base_url, e.g. https://NAME.openai.azure.com")
        if host is not None and host.key_needed and self.keys is None:
            raise _fault("keys is missing", 'add keys: ["env:NAME"], or keys: ["none"] for a server without one')
        return self


class TargetSection(Section):
    provider: str
    model: ModelName
    priority: Annotated[int, Field(ge=1, le=1000)] = 1
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    tools: bool = True
    vision: bool = True
    json_schema: bool = True
    context_tokens: Count | None = None
    output_tokens: Count | None = None
    timeouts: TimeoutsSection = TimeoutsSection()


class ModelSection(Section):
    targets: Annotated[list[TargetSection], Field(min_length=1, max_length=1000)]
    strategy: Literal["weighted", "least_latency", "cheapest"] = "weighted"
    sticky: bool = True
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    timeouts: TimeoutsSection = TimeoutsSection()
    fallback_models: list[str] = []
    untranslatable: Literal["refuse", "drop"] = "refuse"
    content_filter: Literal["refuse", "next"] = "refuse"


class BudgetSection(Section):
    usd: Annotated[Usd, Field(gt=0, le=BUDGET_USD_MAX)] | None = None
    tokens: Annotated[int, Field(ge=1, le=2**52)] | None = None
    per: Literal["hour", "day", "week", "month", "lifetime"]
    for_: Annotated[Annotated[str, Field(pattern=_DIMENSION)], Field(alias="for")] = "tenant"
    of: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    zone: str = "UTC"
    thresholds: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(max_length=20)] = [50, 80, 95]
    mode: Literal["enforce", "shadow"] = "enforce"
    when_short: Literal["clamp", "refuse"] = "clamp"
    store_away: Literal["deny", "local", "allow"] = "local"

    @model_validator(mode="after")
    def _zone_known(self) -> "BudgetSection":
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            remedy = "write an IANA name, e.g. Europe/Berlin"
            raise _fault(f"there is no time zone {shown(self.zone)}", remedy) from None
        return self

    @model_validator(mode="after")
    def _one_unit(self) -> "BudgetSection":
        if (self.usd is None) == (self.tokens is None):
            raise _fault("a budget has either usd or tokens", "write one of them; two units are two budgets")
        return self


class TenantSection(Section):
    id: Name
    keys: Annotated[list[SecretRef], Field(min_length=1, max_length=1000)]
    models: list[str] = []
    limits: LimitsSection = LimitsSection()
    budgets: list[BudgetSection] = []


class _PartsSection(Section):
    cached_input_usd_per_million: Usd | None = None
    cache_write_5m_usd_per_million: Usd | None = None
    cache_write_1h_usd_per_million: Usd | None = None
    reasoning_usd_per_million: Usd | None = None
    audio_input_usd_per_million: Usd | None = None
    image_input_usd_per_million: Usd | None = None
    audio_output_usd_per_million: Usd | None = None
    image_output_usd_per_million: Usd | None = None


class PriceTierSection(_PartsSection):
    above_input_tokens: Count
    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None


class UnknownPriceSection(_PartsSection):
    input_usd_per_million: Usd
    output_usd_per_million: Usd
    per_request_usd: Usd | None = None
    tiers: Annotated[list[PriceTierSection], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _tiers_ascend(self) -> "UnknownPriceSection":
        starts = [tier.above_input_tokens for tier in self.tiers]
        if starts != sorted(set(starts)):
            raise _fault("the tiers do not ascend", "order them by above_input_tokens, each threshold once")
        return self


class OverrideSection(UnknownPriceSection):
    provider: str
    model: ModelName
    from_: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None
    service_tier: Annotated[str, Field(pattern=_SERVICE_TIER)] | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> "OverrideSection":
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise _fault(f"it ends on {self.until}, before it begins", "until is the first day that it no longer holds")
        return self


class PricesSection(Section):
    unknown: Annotated[
        Annotated[Literal["refuse", "unpriced"], Tag("word")] | Annotated[UnknownPriceSection, Tag("price")],
        Discriminator(lambda value: "price" if isinstance(value, dict | UnknownPriceSection) else "word"),
    ] = "refuse"
    overrides: list[OverrideSection] = []


class TelemetrySection(Section):
    otlp_endpoint: str | None = None
    otlp_headers: dict[str, SecretRef] = {}
    otlp_interval_s: Seconds = 60.0
    service_name: Annotated[str, Field(min_length=1, max_length=200)] = "meterway"
    environment: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: Literal["stdout", "stderr", "off"] = "stdout"
    genai_semconv: Annotated[Literal["1.41", "latest", "both"], BeforeValidator(_version_text)] = "1.41"
    series_max: Annotated[int, Field(ge=10, le=100_000)] = 2000


class ServerSection(Section):
    memory_bytes: Annotated[int, Field(ge=128 * 1024**2)] | None = None
    body_bytes: Annotated[int, Field(ge=1024, le=1024**3)] = 10 * 1024**2
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    keep_alive_s: Seconds = 75.0
    grace_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 30.0
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    headers_max: Annotated[int, Field(ge=8, le=1000)] = 64
    headers_bytes: Annotated[int, Field(ge=1024, le=1024**2)] = 32 * 1024
    header_bytes: Annotated[int, Field(ge=256, le=1024**2)] = 8 * 1024
    send_stall_s: Seconds = 30.0
    heartbeat_s: Seconds = 15.0


class WebhookSection(Section):
    url: UrlRef
    secret: SecretRef | None = None
    allow_http: bool = False


class ConfigFile(Section):
    listen: ListenSection = ListenSection()
    admin: AdminSection | None = None
    database: UrlRef = "sqlite:///meterway.db"
    journal: Annotated[str, Field(min_length=1)] = "meterway.journal"
    peppers: Annotated[list[SecretRef], Field(min_length=1, max_length=2)] | None = None
    redis: UrlRef | None = None
    providers: Annotated[dict[Name, ProviderSection], Field(min_length=1)]
    models: Annotated[dict[ModelName, ModelSection], Field(min_length=1)]
    tenants: list[TenantSection] = []
    prices: PricesSection = PricesSection()
    webhooks: Annotated[list[WebhookSection], Field(max_length=10)] = []
    telemetry: TelemetrySection = TelemetrySection()
    server: ServerSection = ServerSection()


class Remainder(ConfigFile):
    """What is left of a file whose refused parts were taken out, to check the rest of it."""

    providers: dict[Name, ProviderSection] = {}
    models: dict[ModelName, ModelSection] = {}
