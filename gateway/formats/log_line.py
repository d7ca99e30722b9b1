"""The shape of one line of the access log."""

import msgspec


class AttemptLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens and cost are those of an attempt without an answer that its provider bills all the same."""

    deployment: str
    duration_ms: float
    status: int | None = None
    failure: str | None = None
    wait_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is told of a request: no prompt, no key, no query string. Absent means none, zero or false."""

    time_s: float
    level: str
    event: str
    request_id: str
    tenant: str
    key_id: str
    operation: str
    dialect: str
    model: str
    status: int
    duration_ms: float
    overhead_ms: float
    first_token_ms: float | None = None
    stream: bool = False
    code: str | None = None
    fault: str | None = None
    target: str | None = None
    attempts: list[AttemptLine] = []
    drops: list[tuple[str, str]] = []
    dropped: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    provenance: str = "none"
    cost_nano_usd: int | None = None
    sticky: str = "none"
    retries_denied: int = 0
    panic: bool = False
    committed: bool = False
    client_gone: bool = False
    run_id: str | None = None
    parent_run_id: str | None = None
    tags: dict[str, str] = {}
    finish_reasons: tuple[str, ...] = ()
    trace_id: str | None = None
