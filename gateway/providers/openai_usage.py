"""Usage and service tiers as OpenAI's dialect tells them."""

import msgspec

from gateway.domain.reply import Usage
from gateway.formats import openai
from gateway.providers.figures import part, sane

_USUAL_TIERS = frozenset({b"", b"null", b'"default"', b'"auto"', b'"standard"'})
_TIER_CHARS = 64


def usage_of(raw: msgspec.Raw | bytes) -> Usage | None:
    """Explicit zeros count; negative, absurd or wrongly typed figures do not."""
    text = b"".join([raw])  # `bytes` takes three times as long to find out what it is given
    if not text or text == b"null":
        return None
    try:
        shape = openai.decode_usage(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    tokens_in, tokens_out = sane(shape.prompt_tokens), sane(shape.completion_tokens or 0)
    if tokens_in is None or tokens_out is None:
        return None
    of_input, of_output = shape.prompt_tokens_details, shape.completion_tokens_details
    cached = part(of_input.cached_tokens, tokens_in) if of_input is not None else 0
    reasoning = part(of_output.reasoning_tokens, tokens_out) if of_output is not None else 0
    rare = of_input is not None and (of_input.cache_write_tokens or of_input.audio_tokens or of_input.image_tokens)
    if not rare and (of_output is None or not of_output.audio_tokens):
        return Usage(tokens_in, tokens_out, cached, reasoning)
    of_input, of_output = of_input or openai.NO_INPUT_DETAILS, of_output or openai.NO_OUTPUT_DETAILS
    return Usage(
        tokens_in,
        tokens_out,
        cached,
        reasoning,
        cache_write_5m=part(of_input.cache_write_tokens, tokens_in),
        audio_input=part(of_input.audio_tokens, tokens_in),
        image_input=part(of_input.image_tokens, tokens_in),
        audio_output=part(of_output.audio_tokens, tokens_out),
    )


def tier_of(raw: msgspec.Raw) -> str | None:
    """Any other than the usual tier has prices of its own."""
    tier = bytes(raw)
    usual = tier in _USUAL_TIERS or not tier.startswith(b'"')
    return None if usual else tier[1:-1].decode(errors="replace")[:_TIER_CHARS]
