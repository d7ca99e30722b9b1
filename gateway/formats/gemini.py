"""The shapes of Gemini's generateContent that the path acts on."""

import msgspec
from msgspec import Raw, Struct


class FunctionCall(Struct):
    name: str = ""
    id: str | None = None
    args: Raw = Raw()


class Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(Struct):
    parts: list[Part] | None = None


class Web(Struct):
    uri: str = ""
    title: str = ""


class GroundingChunk(Struct):
    web: Web | None = None


class Segment(Struct, rename="camel"):
    """Counted in bytes of the text."""

    start_index: int = 0
    end_index: int = 0


class GroundingSupport(Struct, rename="camel"):
    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class Grounding(Struct, rename="camel"):
    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


class Candidate(Struct, rename="camel"):
    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    grounding_metadata: Grounding | None = None


class Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class Modality(Struct, rename="camel"):
    modality: str = ""
    token_count: int | float | None = None


class UsageShape(Struct, rename="camel"):
    prompt_token_count: int | float | None = None
    cached_content_token_count: int | float | None = None
    candidates_token_count: int | float | None = None
    thoughts_token_count: int | float | None = None
    tool_use_prompt_token_count: int | float | None = None
    prompt_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class Reply(Struct, rename="camel"):
    """A whole answer, or one event of a stream."""

    response_id: str | None = None
    model_version: str | None = None
    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Raw = Raw()
    error: Raw = Raw()


class Detail(Struct, rename="camel"):
    type: str = msgspec.field(default="", name="@type")
    reason: str | None = None


class ErrorShape(Struct):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Detail] | None = None


class ErrorBody(Struct):
    error: ErrorShape


decode_reply = msgspec.json.Decoder(Reply).decode
decode_usage = msgspec.json.Decoder(UsageShape).decode
decode_error = msgspec.json.Decoder(ErrorShape).decode
decode_error_body = msgspec.json.Decoder(ErrorBody | list[ErrorBody]).decode
