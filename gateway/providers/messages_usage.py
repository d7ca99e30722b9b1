"""Usage as Anthropic tells it: in pieces, and without what was read from or written to its cache."""

import msgspec

from gateway.domain.reply import Usage
from gateway.formats.messages import UsageShape, decode_usage
from gateway.providers.figures import part, sane


class Meter:
    """Each figure is the last one told: `message_start` tells of the input, `message_delta` what it came to."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known = UsageShape()

    def add(self, raw: msgspec.Raw) -> None:
        text = bytes(raw)
        if not text or text == b"null":
            return
        try:
            told = decode_usage(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        known = self._known
        if told.input_tokens is not None:
            known.input_tokens = told.input_tokens
        if told.output_tokens is not None:
            known.output_tokens = told.output_tokens
        if told.cache_read_input_tokens is not None:
            known.cache_read_input_tokens = told.cache_read_input_tokens
        if told.cache_creation_input_tokens is not None:
            known.cache_creation_input_tokens = told.cache_creation_input_tokens
        if told.cache_creation is not None:
            known.cache_creation = told.cache_creation
        if told.output_tokens_details is not None:
            known.output_tokens_details = told.output_tokens_details

    @property
    def usage(self) -> Usage | None:
        """Explicit zeros count; negative, absurd or wrongly typed figures do not."""
        known = self._known
        fresh, output = sane(known.input_tokens), sane(known.output_tokens or 0)
        if fresh is None or output is None:
            return None
        read = sane(known.cache_read_input_tokens) or 0
        short, long = self._written()
        details = known.output_tokens_details
        thought = (details.thinking_tokens or details.reasoning_tokens) if details is not None else None
        return Usage(
            fresh + read + short + long,
            output,
            read,
            part(thought, output),
            cache_write_5m=short,
            cache_write_1h=long,
        )

    def _written(self) -> tuple[int, int]:
        """Into the cache for five minutes and for an hour; the sum is told in any case, the parts not always."""
        split, known = self._known.cache_creation, sane(self._known.cache_creation_input_tokens)
        if split is None:
            return known or 0, 0
        short, long = sane(split.ephemeral_5m_input_tokens) or 0, sane(split.ephemeral_1h_input_tokens) or 0
        if known is not None and short + long < known:
            short = known - long
        return short, long
