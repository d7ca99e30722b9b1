"""The shapes of OpenAI's responses API that the path acts on."""

import msgspec
from msgspec import Raw, Struct


class InputDetails(Struct):
    cached_tokens: int | float | None = None
    cache_write_tokens: int | float | None = None


class OutputDetails(Struct):
    reasoning_tokens: int | float | None = None


class UsageShape(Struct):
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Annotation(Struct):
    type: str | None = None
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Part(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[Annotation] | None = None


class Item(Struct):
    type: str
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class Incomplete(Struct):
    reason: str | None = None


class Reply(Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[Item] | None = None
    incomplete_details: Incomplete | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


class Head(Struct):
    """What of an answer is read on the same dialect."""

    id: str | None = None
    status: str | None = None
    output: Raw = Raw()
    incomplete_details: Incomplete | None = None
    usage: Raw = Raw()
    service_tier: Raw = Raw()
    error: Raw = Raw()


class Event(Struct):
    """Every event of a stream, as far as it is translated."""

    type: str
    delta: str | None = None
    output_index: int | None = None
    item: Item | None = None
    annotation: Annotation | None = None
    response: Reply | None = None
    code: str | int | None = None
    message: str | None = None
    error: Raw = Raw()


class Mark(Struct):
    """Every event of a stream on the same dialect: what it is, and how much."""

    type: str
    delta: Raw = Raw()
    response: Raw = Raw()


decode_event = msgspec.json.Decoder(Event).decode
decode_mark = msgspec.json.Decoder(Mark).decode
decode_reply = msgspec.json.Decoder(Reply).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_usage = msgspec.json.Decoder(UsageShape).decode
