"""Compiles the prices section and the price list to exact, dated integers for each target."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from gateway.config.price_list import ALWAYS, Dates, Listed, listed
from gateway.config.price_parts import KINDS, price_of
from gateway.config.problems import Findings, choose, shown
from gateway.config.problems import Path as Place
from gateway.config.schema import OverrideSection, PricesSection, PriceTierSection, UnknownPriceSection
from gateway.config.settings import PriceOverride, Prices
from gateway.domain.catalog import Price, PriceDates, Provider

_NANO = 1_000_000_000
_NOT_LISTED = Listed((), {}, None)


@dataclass(frozen=True, slots=True)
class Quote:
    """What is known of one target's price; `context_tokens` stands beside it in the list."""

    price: Price | None
    later_prices: PriceDates
    service_prices: dict[str, PriceDates]
    context_tokens: int | None


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Quotes as of one day; without a day, the price that begins last holds always."""

    prices: Prices
    today: date | None

    @staticmethod
    def compile(
        section: PricesSection, findings: Findings, providers: frozenset[str], today: date | None = None
    ) -> "PriceBook":
        overrides: list[PriceOverride] = []
        seen: set[tuple[str, str, str | None, date | None]] = set()
        for index, item in enumerate(section.overrides):
            place: Place = ("prices", "overrides", index)
            if item.provider not in providers:
                message = f"there is no provider {shown(item.provider)}"
                findings.problem((*place, "provider"), message, choose(item.provider, providers, "provider"))
                continue
            key = (item.provider, item.model, item.service_tier, item.from_)
            if key in seen:
                message = f"a second price of {item.provider}/{item.model} from the same day"
                findings.problem(place, message, "keep one, or give it another day in from:")
                continue
            seen.add(key)
            price = _price(_override_id(item), item)
            overrides.append(PriceOverride(item.provider, item.model, price, item.from_, item.until, item.service_tier))
        unknown = section.unknown if isinstance(section.unknown, str) else _price("fallback", section.unknown)
        return PriceBook(Prices(unknown, tuple(overrides)), today)

    def quote(self, provider: Provider, model: str) -> Quote:
        """An override that holds, else the list, else what `unknown` says. The list is not asked in vain."""
        mine = [item for item in self.prices.overrides if (item.provider, item.model) == (provider.name, model)]
        plain = [item for item in mine if item.service_tier is None]
        found = None if self._covered(plain) else listed(provider.origin, provider.base_path, model)
        known = found or _NOT_LISTED
        fallback = self.prices.unknown if isinstance(self.prices.unknown, Price) else None
        price, later = self._in_force(_merged(plain, known.prices, fallback))
        services: dict[str, PriceDates] = {}
        for name in sorted({*known.services, *(item.service_tier for item in mine if item.service_tier)}):
            own = [item for item in mine if item.service_tier == name]
            now, then = self._in_force(_merged(own, _but(plain, known.services.get(name, ())), None))
            if now is not None or then:
                services[name] = ((0.0, now), *then)
        return Quote(price, later, services, known.context_tokens)

    def _covered(self, plain: list[PriceOverride]) -> bool:
        """Whether one of them holds from now on for ever."""
        return any(item.ends is None and item.holds(self.today or ALWAYS) for item in plain)

    def _in_force(self, dates: Dates) -> tuple[Price | None, PriceDates]:
        today = date.max if self.today is None else self.today
        begun = [price for day, price in dates if day <= today]
        return begun[-1], tuple((_midnight_s(day), price) for day, price in dates if day > today)


def nano(usd: Decimal) -> int:
    """Exact: the schema refuses what has more than nine decimals."""
    return int(usd * _NANO)


def day_of(wall_s: float) -> date:
    """The day (UTC) by which prices are dated."""
    return datetime.fromtimestamp(wall_s, UTC).date()


def _midnight_s(day: date) -> float:
    return datetime.combine(day, time(0, tzinfo=UTC)).timestamp()


def _merged(overrides: list[PriceOverride], rest: Dates, fallback: Price | None) -> Dates:
    """Day by day the override that began last, else the rest, else the fallback."""
    ends = {day for item in overrides for day in (item.starts, item.ends) if day is not None}
    days = sorted({ALWAYS, *ends, *(day for day, _ in rest)})
    merged: list[tuple[date, Price | None]] = []
    for day in days:
        override = _held(overrides, day)
        price = _on(rest, day) or fallback if override is None else override.price
        if not merged or price is not merged[-1][1]:
            merged.append((day, price))
    return tuple(merged)


def _but(plain: list[PriceOverride], services: Dates) -> Dates:
    """A listed service tier only where no override prices the model as a whole."""
    edges = {day for item in plain for day in (item.starts, item.ends) if day is not None}
    days = sorted({ALWAYS, *edges, *(day for day, _ in services)})
    return tuple((day, None if _held(plain, day) else _on(services, day)) for day in days)


def _held(overrides: list[PriceOverride], day: date) -> PriceOverride | None:
    holding = [item for item in overrides if item.holds(day)]
    return max(holding, key=lambda item: item.starts or ALWAYS, default=None)


def _on(dates: Dates, day: date) -> Price | None:
    begun = [price for starts, price in dates if starts <= day]
    return begun[-1] if begun else None


def _override_id(item: OverrideSection) -> str:
    service = "" if item.service_tier is None else f":{item.service_tier}"
    return f"override/{item.provider}/{item.model}{service}" + ("" if item.from_ is None else f"@{item.from_}")


def _price(price_id: str, section: UnknownPriceSection) -> Price:
    figures = _figures(section)
    if section.per_request_usd is not None:
        figures["per_request"] = nano(section.per_request_usd)
    return price_of(price_id, figures, [(tier.above_input_tokens, _figures(tier)) for tier in section.tiers])


def _figures(section: UnknownPriceSection | PriceTierSection) -> dict[str, int]:
    usd = {kind: getattr(section, f"{kind}_usd_per_million") for kind in KINDS}
    return {kind: nano(value) for kind, value in usd.items() if value is not None}
