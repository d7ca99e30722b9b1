"""Figures of usage as providers write them, made sane."""

import math

TOKENS_MAX = 1 << 40


def sane(tokens: int | float | None) -> int | None:
    """None for what is missing, negative, absurd or no number."""
    if isinstance(tokens, int):
        return tokens if 0 <= tokens <= TOKENS_MAX else None
    if tokens is None or not 0 <= tokens <= TOKENS_MAX or not math.isfinite(tokens):
        return None
    return int(tokens)


def part(tokens: int | float | None, whole: int) -> int:
    """What is absurd is none, and no part is more than the whole."""
    return min(sane(tokens) or 0, whole) if tokens else 0
