"""Reads prices of known hosts out of genai-prices, which is imported at the first question that it may answer."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, cast

from gateway.config.price_parts import price_of
from gateway.domain.catalog import Origin, Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices
    from genai_prices.types import Provider as Vendor

ALWAYS = date.min
"""The first day of what has no first day."""

Dates = tuple[tuple[date, Price | None], ...]
"""Prices by their first day (UTC), ascending from ALWAYS; None is no price of its own."""

_NANO = 1_000_000_000
_PARTS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "image_input": "input_image_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_output": "output_audio_mtok",
    "image_output": "output_image_mtok",
    "per_request": "requests_kcount",
}
_SERVICES = ("service_tier", "processing", "speed")
"""What a request may declare that changes its price; the list has more, which the path cannot see."""

_LONG_AGO = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list knows of one model. A service tier without a price of its own on a day costs what all others do."""

    prices: Dates
    services: Mapping[str, Dates]
    context_tokens: int | None


def listed(origin: Origin, base_path: str, model: str) -> Listed | None:
    """None where the host or the model is not in the list."""
    if not _public(origin):
        return None
    vendors = cast("Sequence[Vendor]", import_module("genai_prices.data").providers)
    url = f"https://{origin.host}{base_path}"
    vendor = next((vendor for vendor in vendors if re.match(vendor.api_pattern, url)), None)
    if vendor is None:
        return None
    info = vendor.find_model(model, all_providers=list(vendors))
    return None if info is None else read(vendor, info)


def read(vendor: "Vendor", info: "ModelInfo") -> Listed:
    """Where the price depends on the hour, the dearest of the day holds all day."""
    services: dict[str, Dates] = {}
    if any(info is own for own in vendor.models):
        for key, value in _services(info):
            dates = _dates(info, f"genai-prices/{vendor.id}/{info.id}:{value}", {key: value})
            if any(price is not None for _, price in dates):
                services.setdefault(value, dates)
    prices = _dates(info, f"genai-prices/{vendor.id}/{info.id}")
    return Listed(prices, services, info.context_window if _answers(info) else None)


def convert(price_id: str, prices: "ModelPrice") -> Price | None:
    """None where the list knows no price for tokens: units such as characters, pages or hours are not ours.

    A model with a price for input alone makes no output (embeddings); should it, that costs as much as input.
    """
    known = {name: value for name, key in _PARTS.items() if (value := getattr(prices, key)) is not None}
    if "input" not in known:
        return None
    known.setdefault("output", known["input"])
    if "cache_write_5m" in known:
        known.setdefault("cache_write_1h", known["cache_write_5m"])
    thresholds = {tier.start for value in known.values() if not isinstance(value, Decimal) for tier in value.tiers}

    def figures(above: int | None) -> dict[str, int]:
        return {name: _nano(name, _at(value, above)) for name, value in known.items()}

    return price_of(price_id, figures(None), [(above, figures(above)) for above in sorted(thresholds)])


def _public(origin: Origin) -> bool:
    """Whether it may be a host of the list: not a server of one's own by address or short name."""
    if (origin.scheme, origin.port) != ("https", 443) or "." not in origin.host:
        return False
    try:
        ipaddress.ip_address(origin.host)
    except ValueError:
        return True
    return False


def _services(info: "ModelInfo") -> list[tuple[str, str]]:
    conditions = [variant.when for variant in info.price_variants or () if len(variant.when) == 1]
    return [next(iter(when.items())) for when in conditions if next(iter(when)) in _SERVICES]


def _answers(info: "ModelInfo") -> bool:
    """Whether it writes: what reads only (embeddings) has a window for each input, not for all of a request."""
    prices = [item.prices for item in info.prices] if isinstance(info.prices, list) else [info.prices]
    return any(price.output_mtok is not None for price in prices)


def _dates(info: "ModelInfo", name: str, context: Mapping[str, str] | None = None) -> Dates:
    """The price from each day on which one may begin, as the list itself resolves it."""
    conditional = info.prices if isinstance(info.prices, list) else []
    constraints = [item.constraint for item in (*conditional, *(info.price_variants or ())) if item.constraint]
    days = {constraint.start_date for constraint in constraints if hasattr(constraint, "start_date")}
    hours = {time(0, tzinfo=UTC)}
    for constraint in constraints:
        if not hasattr(constraint, "start_date"):
            hours |= {_utc(constraint.start_time), _utc(constraint.end_time)}
    found: list[tuple[date, Price | None]] = []
    for day in (ALWAYS, *sorted(days)):
        price_id = f"{name}@{_version() if day == ALWAYS else day}"
        moments = [datetime.combine(max(day, _LONG_AGO), hour) for hour in sorted(hours)]
        prices = [info.get_prices(moment, context) for moment in moments]
        converted = [price for item in prices if (price := convert(price_id, item)) is not None]
        if context is not None and prices == [info.get_prices(moment) for moment in moments]:
            converted = []
        dearest = max(converted, key=lambda price: price.input + price.output, default=None)
        if not found or not _same(found[-1][1], dearest):
            found.append((day, dearest))
    return tuple(found)


def _same(one: Price | None, other: Price | None) -> bool:
    if one is None or other is None:
        return one is other
    return replace(one, id="") == replace(other, id="")


def _utc(hour: time) -> time:
    if hour.tzinfo is None:
        return hour.replace(tzinfo=UTC)
    return datetime.combine(_LONG_AGO, hour).astimezone(UTC).timetz()


def _version() -> str:
    return cast("str", import_module("genai_prices").__version__)


def _at(value: "Decimal | TieredPrices", above: int | None) -> Decimal:
    """The price of requests with more input tokens than that."""
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    return reached[-1] if reached else value.base


def _nano(name: str, usd: Decimal) -> int:
    """The list has some prices with the noise of binary fractions in the 17th decimal, hence rounded."""
    return int((usd * _NANO / (1000 if name == "per_request" else 1)).to_integral_value())
