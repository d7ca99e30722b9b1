"""What a provider's answer means to us: usage, and the content of stream events."""

from gateway.domain.value import value


@value
class Usage:
    """Tokens. `input` includes every other kind of input, `output` every other kind of output."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    audio_output: int = 0
    image_output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    @property
    def figures(self) -> tuple[int, ...]:
        """In the order of the fields; what was not used is left out at the end."""
        if self.cache_write_5m or self.cache_write_1h or self.audio_input or self.image_input:
            return self._all
        if self.audio_output or self.image_output:
            return self._all
        return (self.input, self.output, self.cached_input, self.reasoning)

    @property
    def _all(self) -> tuple[int, ...]:
        return (
            self.input,
            self.output,
            self.cached_input,
            self.reasoning,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_input,
            self.image_input,
            self.audio_output,
            self.image_output,
        )


NO_USAGE = Usage()


@value
class Reply:
    """A whole (non-stream) answer in the provider's dialect, understood as far as we act on it.

    `service_tier` is the one that the provider says it has served, None where it does not say, or says the usual one.
    `id` is what a later request may follow it by.
    """

    body: bytes
    usage: Usage | None
    finish_reasons: tuple[str, ...] = ()
    choices: int = 1
    service_tier: str | None = None
    id: str | None = None
