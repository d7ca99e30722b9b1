"""What usage costs, in integer nano-USD."""

from gateway.domain.catalog import Price
from gateway.domain.reply import Usage

_MILLION = 1_000_000


def cost_nano_usd(price: Price, usage: Usage) -> int:
    """Tokens times nano-USD for each million tokens, rounded half up once at the end."""
    cached = min(usage.cached_input, usage.input)
    cached_price = price.input if price.cached_input is None else price.cached_input
    total = (usage.input - cached) * price.input + cached * cached_price + usage.output * price.output
    return (total + _MILLION // 2) // _MILLION


def usd_text(nano_usd: int) -> str:
    """Exact decimal USD without an exponent, such as 0.000125."""
    whole, fraction = divmod(nano_usd, 1_000_000_000)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
