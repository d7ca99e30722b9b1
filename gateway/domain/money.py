"""What usage costs, in integer nano-USD."""

from gateway.domain.catalog import Price
from gateway.domain.reply import Usage

_MILLION = 1_000_000
_NANO = 1_000_000_000
_HALF = 16
_LOWER = (1 << _HALF) - 1
TOKENS_MAX = 1 << 40
"""What is affordable at most, where output costs nothing."""


def times(tokens: int, price: int) -> int:
    """The product, in halves: what is below thirty bits is multiplied in place, a price is not, and costs an object."""
    return (tokens * (price >> _HALF) << _HALF) + tokens * (price & _LOWER)


def cost_nano_usd(price: Price, usage: Usage) -> int:
    """Tokens of each kind times nano-USD for each million of them, rounded half up once at the end."""
    if not price.simple:
        return _cost_of_kinds(_tier(price, usage.input), usage, price.per_request)
    cached = min(usage.cached_input, usage.input)
    cached_price = price.input if price.cached_input is None else price.cached_input
    total = times(usage.input - cached, price.input) + times(cached, cached_price) + times(usage.output, price.output)
    return (total + _MILLION // 2) // _MILLION


def ceiling_nano_usd(price: Price, input_tokens: int, output_tokens: int) -> int:
    """The most that any usage within these token counts can cost: the dearest kind in the dearest tier in reach."""
    most = 0
    for above, dear_input, dear_output in price.dearest:
        if input_tokens > above or above == 0:
            most = max(most, times(input_tokens, dear_input) + times(output_tokens, dear_output))
    return -(-most // _MILLION) + price.per_request


def affordable_output(price: Price, input_tokens: int, nano_usd: int) -> int:
    """The most output tokens whose ceiling, with this input, fits; -1 where the input alone does not."""
    room = (nano_usd - price.per_request) * _MILLION
    fits = TOKENS_MAX
    for above, dear_input, dear_output in price.dearest:
        if input_tokens > above or above == 0:
            left = room - input_tokens * dear_input
            if left < 0:
                return -1
            if dear_output:
                fits = min(fits, left // dear_output)
    return fits


def usd_text(nano_usd: int) -> str:
    """Exact decimal USD without an exponent, such as 0.000125."""
    return usd_digits(nano_usd).decode()


def usd_digits(nano_usd: int) -> bytes:
    if nano_usd < 0:
        return b"-" + usd_digits(-nano_usd)
    whole = nano_usd // _NANO
    fraction = nano_usd - whole * _NANO
    if not fraction:
        return b"%d" % whole
    fraction += _NANO  # a digit before it keeps its zeros
    while fraction % 10 == 0:
        fraction //= 10
    return b"%d.%b" % (whole, (b"%d" % fraction)[1:])


def _tier(price: Price, input_tokens: int) -> Price:
    found = price
    for above, tier in price.tiers:
        if input_tokens > above:
            found = tier
    return found


def _cost_of_kinds(price: Price, usage: Usage, per_request: int) -> int:
    """Kinds without a price of their own stay in the rest; more of a kind than of the whole counts as the whole."""
    kinds_in = (
        (usage.cached_input, price.cached_input),
        (usage.cache_write_5m, price.cache_write_5m),
        (usage.cache_write_1h, price.cache_write_1h),
        (usage.audio_input, price.audio_input),
        (usage.image_input, price.image_input),
    )
    kinds_out = (
        (usage.reasoning, price.reasoning),
        (usage.audio_output, price.audio_output),
        (usage.image_output, price.image_output),
    )
    total = _side(usage.input, price.input, kinds_in) + _side(usage.output, price.output, kinds_out)
    return (total + _MILLION // 2) // _MILLION + per_request


def _side(whole: int, plain: int, kinds: tuple[tuple[int, int | None], ...]) -> int:
    rest, total = whole, 0
    for tokens, price in kinds:
        if price is not None and tokens:
            part = min(tokens, rest)
            rest -= part
            total += part * price
    return total + rest * plain
