"""What a provider's answer means to us: usage, and the content of stream events."""

from gateway.domain.value import value


@value
class Usage:
    """Tokens. `input` includes `cached_input`; `output` includes `reasoning`."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


NO_USAGE = Usage()


@value
class Reply:
    """A whole (non-stream) answer in the provider's dialect, understood as far as we act on it."""

    body: bytes
    usage: Usage | None
    finish_reasons: tuple[str, ...] = ()
    choices: int = 1
