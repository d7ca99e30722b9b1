"""Compiles the prices section to exact integers."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from gateway.config.problems import Findings, choose, shown
from gateway.config.problems import Path as Place
from gateway.config.schema import PricesSection, UnknownPriceSection
from gateway.config.settings import PriceOverride, Prices
from gateway.domain.catalog import Price

_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The price of each (provider, model) as of one day, with the schedule that it was read from."""

    prices: Prices
    today: date | None

    @staticmethod
    def compile(
        section: PricesSection, findings: Findings, providers: frozenset[str], today: date | None = None
    ) -> "PriceBook":
        overrides: list[PriceOverride] = []
        seen: set[tuple[str, str, date | None]] = set()
        for index, item in enumerate(section.overrides):
            place: Place = ("prices", "overrides", index)
            if item.provider not in providers:
                message = f"there is no provider {shown(item.provider)}"
                findings.problem((*place, "provider"), message, choose(item.provider, providers, "provider"))
                continue
            key = (item.provider, item.model, item.from_)
            if key in seen:
                message = f"a second price of {item.provider}/{item.model} from the same day"
                findings.problem(place, message, "keep one, or give it another day in from:")
                continue
            seen.add(key)
            overrides.append(PriceOverride(item.provider, item.model, _price(item), item.from_))
        unknown = section.unknown if isinstance(section.unknown, str) else _price(section.unknown)
        return PriceBook(Prices(unknown, tuple(overrides)), today)

    def price(self, provider: str, model: str) -> Price | None:
        """The override that began last, else what `unknown` says."""
        found = [
            item
            for item in self.prices.overrides
            if (item.provider, item.model) == (provider, model) and self._begun(item.starts)
        ]
        if found:
            return max(found, key=lambda item: item.starts or date.min).price
        return self.prices.unknown if isinstance(self.prices.unknown, Price) else None

    def _begun(self, starts: date | None) -> bool:
        return starts is None or self.today is None or starts <= self.today


def nano(usd: Decimal) -> int:
    """Exact: the schema refuses what has more than nine decimals."""
    return int(usd * _NANO)


def _price(section: UnknownPriceSection) -> Price:
    cached = section.cached_input_usd_per_million
    return Price(
        input=nano(section.input_usd_per_million),
        output=nano(section.output_usd_per_million),
        cached_input=None if cached is None else nano(cached),
    )
