"""What tokens cost: by the price list, or by the prices that the plan gives."""

from decimal import Decimal

from genai_prices import Usage as Used
from genai_prices import calc_price

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import Usage
from agent_runtime.evaluation.plan import PriceSection

MILLION = Decimal(1_000_000)


def usd_of(usage: Usage, prices: PriceSection) -> Decimal:
    if prices.model is not None:
        return _listed(usage, prices.model, prices.provider)
    fresh = usage.input_tokens - usage.cached_tokens
    cached = prices.cached_input_usd_per_million
    cached_price = prices.input_usd_per_million if cached is None else cached
    total = (
        fresh * Decimal(str(prices.input_usd_per_million))
        + usage.cached_tokens * Decimal(str(cached_price))
        + usage.output_tokens * Decimal(str(prices.output_usd_per_million))
    )
    return total / MILLION


def _listed(usage: Usage, model: str, provider: str | None) -> Decimal:
    used = Used(
        input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
    )
    try:
        return calc_price(used, model_ref=model, provider_id=provider).total_price
    except LookupError:
        raise ConfigError(f"prices.model is {model!r}, which the price list does not know; give the prices") from None
