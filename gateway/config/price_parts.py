"""Builds a price with its tiers from figures by name."""

from collections.abc import Mapping, Sequence

from gateway.domain.catalog import Price

Figures = Mapping[str, int]
"""Nano-USD by the name of the part: for each million tokens, `per_request` for each request."""

OPTIONAL_KINDS = (
    "cached_input",
    "reasoning",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "image_input",
    "audio_output",
    "image_output",
)
KINDS = ("input", "output", *OPTIONAL_KINDS)


def price_of(price_id: str, figures: Figures, steps: Sequence[tuple[int, Figures]] = ()) -> Price:
    """`steps` ascend; what one of them does not say is as it was below."""
    reached, tiers = dict(figures), list[tuple[int, Price]]()
    for above_input_tokens, changed in steps:
        reached |= changed
        tiers.append((above_input_tokens, _whole("", reached)))
    return _whole(price_id, figures, tuple(tiers))


def _whole(price_id: str, figures: Figures, tiers: tuple[tuple[int, Price], ...] = ()) -> Price:
    part = figures.get
    return Price(
        input=figures["input"],
        output=figures["output"],
        cached_input=part("cached_input"),
        reasoning=part("reasoning"),
        cache_write_5m=part("cache_write_5m"),
        cache_write_1h=part("cache_write_1h"),
        audio_input=part("audio_input"),
        image_input=part("image_input"),
        audio_output=part("audio_output"),
        image_output=part("image_output"),
        per_request=figures.get("per_request", 0),
        id=price_id,
        tiers=tiers,
    )
