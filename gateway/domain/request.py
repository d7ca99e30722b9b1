"""What a caller asks for, understood as far as the path acts on it; the rest stays as the caller wrote it."""

from gateway.domain.catalog import CallerKey
from gateway.domain.symbol import Symbol
from gateway.domain.value import value


class Operation(Symbol):
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    COUNT_TOKENS = "count_tokens"


class Dialect(Symbol):
    OPENAI = "openai"
    RESPONSES = "openai_responses"
    ANTHROPIC = "anthropic"


class Priority(Symbol):
    INTERACTIVE = "interactive"
    AUTONOMOUS = "autonomous"


@value
class Needs:
    """What a target must be able to take; `output_tokens` is the largest declared limit times n, None if undeclared.

    `native` names an API that no translation can stand for: `embeddings`, or `responses` that are kept there;
    `native_field` is the member that asks for it.
    """

    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    input_tokens: int = 0
    output_tokens: int | None = None
    choices: int = 1
    native: str = ""
    native_field: str = ""


@value
class ModelRequest:
    """A parsed request body.

    `members` are the top-level JSON members, each value as the caller wrote it; the body that goes upstream is written
    anew from them, so that no two readers can understand a duplicate or an escaped name differently.
    `output_limit` is a limit for each choice that the gateway writes into the request, under those of the caller.
    `service_tier` is one other than the usual that the provider is asked for.
    `session` is a session named in the body, `opening` the first messages, for requests that name none. `follows` is
    an answer that only the account which made it knows. `headers` are those of the dialect, for a provider of the same.
    """

    operation: Operation
    dialect: Dialect
    model: str
    members: dict[str, bytes]
    needs: Needs
    stream: bool = False
    include_usage: bool = False
    session: str | None = None
    opening: bytes = b""
    user: str | None = None
    output_limit: int | None = None
    service_tier: str | None = None
    follows: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


@value
class Caller:
    """Who calls and under what terms, taken from the request's head. `deadline_s` is monotonic.

    `traceparent` is the caller's place in a trace, as W3C writes it.
    """

    key: CallerKey
    request_id: str
    started_s: float
    started_at_s: float
    deadline_s: float | None = None
    session: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.INTERACTIVE
    traceparent: str | None = None
