"""The shapes of OpenAI's API that the path acts on; what is not named here passes through unread."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

OutputLimit = Annotated[int, Meta(ge=1, le=10_000_000)]
Choices = Annotated[int, Meta(ge=1, le=128)]


class Part(Struct):
    type: str
    text: str | None = None


class Message(Struct):
    role: str
    content: str | list[Part] | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class ResponseFormat(Struct):
    type: str


class Metadata(Struct):
    user_id: str | None = None


class InputDetails(Struct):
    cached_tokens: int | float | None = None
    cache_write_tokens: int | float | None = None
    audio_tokens: int | float | None = None
    image_tokens: int | float | None = None


class OutputDetails(Struct):
    reasoning_tokens: int | float | None = None
    audio_tokens: int | float | None = None


class UsageShape(Struct):
    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


class ErrorShape(Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | int | None = None


class ErrorBody(Struct):
    """Some hosts leave the envelope out, and say at the top what others say inside `error`."""

    error: ErrorShape | str | None = None
    message: Raw = Raw()
    type: str | None = None
    code: str | int | None = None


UNSAID = Raw()
"""What is not there at all: known by identity."""


class ReplyChoice(Struct):
    finish_reason: str | None = None


class ChatReply(Struct):
    choices: list[ReplyChoice] | None = None
    usage: Raw = UNSAID
    service_tier: Raw = UNSAID
    error: Raw = UNSAID


class EmbeddingsReply(Struct):
    data: list[Raw] | None = None
    usage: Raw = UNSAID
    error: Raw = UNSAID


class Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: Raw = UNSAID
    function_call: Raw = UNSAID
    reasoning_content: Raw = UNSAID
    reasoning: Raw = UNSAID
    audio: Raw = UNSAID


class ChunkChoice(Struct):
    delta: Delta | None = None
    finish_reason: str | None = None
    text: str | None = None


class ChatChunk(Struct):
    choices: list[ChunkChoice] | None = None
    usage: Raw = UNSAID
    service_tier: Raw = UNSAID
    error: Raw = UNSAID


NO_INPUT_DETAILS = InputDetails()
NO_OUTPUT_DETAILS = OutputDetails()

decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
decode_messages = msgspec.json.Decoder(list[Message]).decode
decode_openers = msgspec.json.Decoder(list[Raw]).decode
decode_text = msgspec.json.Decoder(str).decode
decode_optional_text = msgspec.json.Decoder(str | None).decode
decode_flag = msgspec.json.Decoder(bool | None).decode
decode_stream_options = msgspec.json.Decoder(StreamOptions | None).decode
decode_response_format = msgspec.json.Decoder(ResponseFormat | None).decode
decode_metadata = msgspec.json.Decoder(Metadata | None).decode
decode_output_limit = msgspec.json.Decoder(OutputLimit | None).decode
decode_choices = msgspec.json.Decoder(Choices | None).decode
decode_list = msgspec.json.Decoder(list[Raw] | None).decode
decode_chat_reply = msgspec.json.Decoder(ChatReply).decode
decode_embeddings_reply = msgspec.json.Decoder(EmbeddingsReply).decode
decode_chat_chunk = msgspec.json.Decoder(ChatChunk).decode
decode_usage = msgspec.json.Decoder(UsageShape).decode
decode_error_body = msgspec.json.Decoder(ErrorBody).decode
decode_error = msgspec.json.Decoder(ErrorShape | str).decode
encode = msgspec.json.Encoder().encode
