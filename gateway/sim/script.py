"""What a script can say: rules that pick requests, answers they get, faults, pace and wire."""

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from gateway.sim.fault import Fault

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=0, le=100_000_000)]
Positive = Annotated[int, Meta(ge=1, le=100_000_000)]

_SPAN = re.compile(r"(\d+)(?:\.\.(\d*))?")


class ScriptError(ValueError):
    """The script cannot be used; the message names the place."""


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A call the answer makes; it is left out once the last message is a tool's result."""

    name: str
    arguments: dict[str, Any] = {}
    fragments: Positive = 3


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """What a text cites."""

    url: str
    title: str = ""


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """What a good answer says; each field left out keeps the sensible default."""

    text: str | None = None
    """The text; default: an echo of the last user message (JSON when the request asks for JSON)."""
    text_chars: Count | None = None
    """Instead of `text`: so many characters of seeded prose."""
    events: Positive | None = None
    """Text deltas of a stream; default: one each 4 characters, which is one token."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    """In OpenAI's words: stop, length, tool_calls, content_filter."""
    refusal: str | None = None
    empty_choices: bool = False
    ignore_output_limit: bool = False
    thinking: str | None = None
    """What was thought before the answer; its tokens count as reasoning."""
    citations: tuple[Source, ...] = ()
    """Of the whole text."""
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    reasoning_tokens: Count = 0
    input_tokens: Count | None = None
    """Instead of the count of what was sent."""
    service_tier: str = "default"
    """OpenAI's word for what it served."""
    usage: Literal["asked", "always", "never", "null", "zero", "negative", "huge"] = "asked"


class Pace(Struct, frozen=True, forbid_unknown_fields=True):
    """When bytes go out. A gate holds until `Simulator.open(name)` or `POST /_sim/open/NAME`."""

    head_s: Seconds = 0
    head_dribble_s: Seconds = 0
    """Between the bytes of the head."""
    first_event_s: Seconds = 0
    ping_s: Seconds = 0
    """While waiting for the first event: a `: ping` comment each so many seconds."""
    pings: Count = 0
    """So many `: ping` comments at once, ahead of the first event."""
    event_s: Seconds = 0
    head_gate: str | None = None
    first_event_gate: str | None = None
    event_gate: str | None = None
    gate_after_events: Count = 1
    """How many events go out before `event_gate` holds."""


class Wire(Struct, frozen=True, forbid_unknown_fields=True):
    """How the bytes are laid out."""

    framing: Literal["default", "chunked", "length", "close"] = "default"
    line_end: Literal["lf", "crlf", "cr"] = "lf"
    split_bytes: Count = 0
    """Writes of so many body bytes; 0: one write an event."""
    split_s: Seconds = 0
    gzip: bool = False
    headers: dict[str, str] = {}
    hang_up: Literal["no", "fin", "reset"] = "no"
    """After a complete answer close the connection, though keep-alive was promised."""


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a rule takes; every field given must hold. Patterns are globs (`gpt-*`)."""

    path: str | None = None
    model: str | None = None
    key: str | None = None
    headers: dict[str, str] = {}
    says: str | None = None
    """Pattern over the last user message."""
    stream: bool | None = None
    requests: str | int | None = None
    """`2`, `1..3`, `4..`: counted over the requests for which all above holds, from 1."""
    every: Positive | None = None
    """Every n-th of them."""
    connection_requests: str | int | None = None
    """The same form: the n-th request of its connection."""
    after_s: Seconds | None = None
    until_s: Seconds | None = None
    """Seconds since the script was put in."""
    chance: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of requests, by seeded dice."""

    def __post_init__(self) -> None:
        for spans in (self.requests, self.connection_requests):
            if spans is not None:
                span(spans)


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to one request."""

    answer: Answer = Answer()
    fault: Fault | None = None
    pace: Pace = Pace()
    wire: Wire = Wire()


class Rule(Behaviour, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first rule that takes a request decides it."""

    name: str = ""
    when: When = When()


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Enforced with 429 and reported in rate-limit headers, per key and model."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None


class Script(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole script; an empty one answers everything well."""

    seed: int = 0
    rules: tuple[Rule, ...] = ()
    otherwise: Behaviour = Behaviour()
    limits: Limits | None = None
    keys: tuple[str, ...] | None = None
    """When given, any other key gets 401."""
    models: tuple[str, ...] | None = None
    """When given, any other model gets 404; `sim-` names always pass."""


def parse_script(document: object) -> Script:
    """A script from plain values, as JSON or YAML give them."""
    try:
        return msgspec.convert(document if document is not None else {}, Script)
    except msgspec.ValidationError as error:
        raise ScriptError(f"script: {error}") from error


def read_script(text: str | bytes) -> Script:
    """A script from YAML or JSON text."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScriptError(f"script: not YAML: {error}") from error
    return parse_script(document)


@lru_cache(maxsize=1024)
def span(text: str | int) -> tuple[int, int | None]:
    """`2` is (2, 2), `1..3` is (1, 3), `4..` is (4, None)."""
    if isinstance(text, int):
        return text, text
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no span; write 2, 1..3 or 4..")
    first = int(match[1])
    if ".." not in text:
        return first, first
    return first, int(match[2]) if match[2] else None


def within(number: int, text: str | int) -> bool:
    first, last = span(text)
    return number >= first and (last is None or number <= last)


def fits(value: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(value, pattern)
