"""The shapes of Anthropic's messages API that the path acts on."""

import msgspec
from msgspec import Raw, Struct


class CacheCreation(Struct):
    ephemeral_5m_input_tokens: int | float | None = None
    ephemeral_1h_input_tokens: int | float | None = None


class UsageDetails(Struct):
    thinking_tokens: int | float | None = None
    reasoning_tokens: int | float | None = None


class UsageShape(Struct):
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    cache_creation_input_tokens: int | float | None = None
    cache_read_input_tokens: int | float | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: UsageDetails | None = None


class CitationShape(Struct):
    type: str | None = None
    url: str | None = None
    title: str | None = None
    document_title: str | None = None


class Block(Struct):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    citations: list[CitationShape] | None = None


class ErrorShape(Struct):
    type: str | None = None
    message: str | None = None
    details: Raw = Raw()


class ErrorBody(Struct):
    error: ErrorShape


class Reply(Struct):
    id: str | None = None
    type: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


class Head(Struct):
    """What of a whole answer is read on the same dialect."""

    type: str | None = None
    content: Raw = Raw()
    stop_reason: str | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
    input_tokens: int | None = None


class StartedMessage(Struct):
    id: str | None = None
    model: str | None = None
    usage: Raw = Raw()


class Delta(Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: CitationShape | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Event(Struct):
    """Every event of a stream."""

    type: str
    index: int | None = None
    message: StartedMessage | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


decode_event = msgspec.json.Decoder(Event).decode
decode_reply = msgspec.json.Decoder(Reply).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_usage = msgspec.json.Decoder(UsageShape).decode
decode_error = msgspec.json.Decoder(ErrorShape).decode
decode_error_body = msgspec.json.Decoder(ErrorBody).decode
