"""Random prices and usage, and what usage costs by an independent reckoning in decimal dollars."""

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext

from gateway.domain.catalog import Price
from gateway.domain.reply import Usage

INPUT_KINDS = ("cached_input", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT_KINDS = ("reasoning", "audio_output", "image_output")
KINDS = ("input", "output", *INPUT_KINDS, *OUTPUT_KINDS)
NANO = Decimal("0.000000001")


def reference_nano_usd(price: Price, usage: Usage) -> int:
    """Each kind that has a price is billed at it, up to what is left of its whole; the rest at the price of the whole.

    The prices are those of the highest tier whose threshold the input exceeds. Dollars, rounded half up once.
    """
    reached = [tier for above, tier in price.tiers if usage.input > above]
    rates = reached[-1] if reached else price
    with localcontext() as context:
        context.prec = 60
        dollars = Decimal(price.per_request) * NANO
        for whole, kinds in (("input", INPUT_KINDS), ("output", OUTPUT_KINDS)):
            rest = getattr(usage, whole)
            for kind in kinds:
                rate = getattr(rates, kind)
                if rate is not None:
                    billed = min(getattr(usage, kind), rest)
                    rest -= billed
                    dollars += Decimal(billed) / 1_000_000 * (Decimal(rate) * NANO)
            dollars += Decimal(rest) / 1_000_000 * (Decimal(getattr(rates, whole)) * NANO)
        return int(dollars.quantize(NANO, ROUND_HALF_UP) / NANO)


def random_price(dice: random.Random, *, tiered: bool = True) -> Price:
    def rate() -> int:
        return dice.choice((0, dice.randrange(1, 1_000), dice.randrange(1, 10**9) * 100, dice.randrange(1, 10**12)))

    def whole() -> Price:
        rates: dict[str, int] = {"input": rate(), "output": rate()}
        rates |= {kind: rate() for kind in (*INPUT_KINDS, *OUTPUT_KINDS) if dice.random() < wealth}
        return Price(**rates, per_request=dice.choice((0, 0, rate())), tiers=tiers)  # type: ignore[arg-type]  # ints

    wealth = dice.choice((0.0, 0.3, 1.0))
    tiers: tuple[tuple[int, Price], ...] = ()
    if tiered and dice.random() < 0.4:
        thresholds = sorted({dice.randrange(1, 400_000) for _ in range(dice.randrange(1, 4))})
        tiers = tuple((above, random_price(dice, tiered=False)) for above in thresholds)
    return whole()


def random_usage(dice: random.Random, price: Price) -> Usage:
    """Mostly parts that fit into their wholes, at times more; at times a threshold itself or one above it."""
    tokens_in, tokens_out = (dice.choice((0, dice.randrange(10 ** dice.randrange(2, 10)))) for _ in range(2))
    if price.tiers and dice.random() < 0.3:
        tokens_in = dice.choice(price.tiers)[0] + dice.randrange(2)
    parts: dict[str, int] = {}
    for whole, kinds in ((tokens_in, INPUT_KINDS), (tokens_out, OUTPUT_KINDS)):
        for kind in kinds:
            if dice.random() < 0.4:
                parts[kind] = dice.randrange(whole // dice.choice((1, 4)) + 2)
    return Usage(tokens_in, tokens_out, **parts)
