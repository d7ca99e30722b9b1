"""What can go wrong in an answer: one value per kind of fault."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.sim.corpus import CORPUS

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=0, le=100_000_000_000)]


class Hint(Struct, frozen=True, forbid_unknown_fields=True):
    """One wait hint, in one of the forms providers use."""

    form: Literal[
        "retry-after-ms", "retry-after", "retry-after-date", "anthropic-reset", "openai-reset", "google", "azure"
    ]
    seconds: Annotated[float, Meta(ge=-10_000_000, le=10_000_000)] = 1.0
    dimension: Literal["requests", "tokens", "input-tokens", "output-tokens"] = "requests"
    remaining: int = 0
    server_skew_s: float = 0.0
    """How far the provider's clock is off; shown in the `date` header that goes with retry-after-date."""


class Status(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="status"):
    """An error status with the body of the dialect. `status` or `code` is enough: each has a usual partner."""

    status: int | None = None
    code: str | None = None
    type: str | None = None
    message: str | None = None
    hints: tuple[Hint, ...] = ()
    headers: dict[str, str] = {}
    body: str | None = None
    """Instead of the dialect's error body."""
    details: dict[str, Any] | None = None
    like: str | None = None
    """The status, body and headers of a provider's own error by its name in `corpus.py`, e.g. `vllm/context`."""

    def __post_init__(self) -> None:
        if self.like is not None and self.like not in CORPUS:
            raise ValueError(f"no error is called {self.like!r}; known: {', '.join(sorted(CORPUS))}")


class ErrorIn200(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="error_in_200"):
    """Status 200, yet the body is an error; in a stream an error event after `after_events` content events."""

    status: int | None = None
    code: str | None = None
    type: str | None = None
    message: str | None = None
    after_events: Count = 0
    preamble: bool = False
    """Let the opening events (role, `message_start`) go out first."""
    then: Literal["end", "go_on"] = "end"
    event_name: bool = True
    """OpenAI's stream: send `event: error` before the data line."""


class MalformedJson(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="malformed_json"):
    """A body that is no JSON, or not the right one."""

    flaw: Literal["cut", "text", "html", "empty", "array", "wrong_schema", "bad_utf8", "nan", "trailing"] = "cut"


class MalformedSse(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="malformed_sse"):
    """One flaw in a stream after `after_events` good events; cr_only, bom and multi_line_data are legal but rare."""

    flaw: Literal[
        "bad_utf8",
        "bad_json",
        "huge_line",
        "cr_only",
        "bom",
        "multi_line_data",
        "missing_blank_line",
        "not_an_object",
        "html",
    ] = "bad_json"
    after_events: Count = 0
    huge_bytes: Count = 9_000_000


class Stall(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stall"):
    """Silence after so many content events until the client leaves; with pings if `ping_s` is given.

    Not streamed: silence after the head, with `preamble` after half the body.
    """

    after_events: Count = 0
    preamble: bool = False
    """Let the opening events (role, `message_start`) go out first."""
    ping_s: Seconds = 0


class Truncate(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="truncate"):
    """The body ends after so many of its bytes (or events), in the way said."""

    after_bytes: Count | None = None
    after_events: Count | None = None
    how: Literal["fin", "reset", "clean"] = "fin"
    """clean: a last chunk is sent, so that only the missing `[DONE]` or `message_stop` tells."""


class Reset(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="reset"):
    """The connection ends without an answer: right after accept, or once the request is read."""

    at: Literal["accept", "request"] = "request"
    how: Literal["reset", "fin"] = "reset"


class Endless(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="endless"):
    """An answer that never ends."""

    text: str = "and so on "


class Redirect(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="redirect"):
    status: Literal[301, 302, 303, 307, 308] = 307
    location: str = "http://169.254.169.254/latest/meta-data/"


class InterimFlood(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="interim_flood"):
    """1xx heads ahead of the answer; count 0: no end."""

    count: Count = 0
    status: Literal[100, 102, 103] = 103


class EndlessHeaders(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="endless_headers"):
    every_s: Seconds = 0


class LargeHeader(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="large_header"):
    header_bytes: Count = 65_536


class LargeBody(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="large_body"):
    """Valid JSON of at least so many bytes; one SSE event of them in a stream."""

    body_bytes: Count = 100_000_000


class GzipBomb(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gzip_bomb"):
    plain_bytes: Count = 200_000_000


Fault = (
    Status
    | ErrorIn200
    | MalformedJson
    | MalformedSse
    | Stall
    | Truncate
    | Reset
    | Endless
    | Redirect
    | InterimFlood
    | EndlessHeaders
    | LargeHeader
    | LargeBody
    | GzipBomb
)
