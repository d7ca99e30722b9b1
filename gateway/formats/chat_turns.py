"""The shapes of chat-completions answers, as far as their content is translated."""

import msgspec
from msgspec import Raw, Struct


class CallFunction(Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(Struct):
    index: int | None = None
    id: str | None = None
    function: CallFunction | None = None


class UrlCitation(Struct):
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Annotation(Struct):
    url_citation: UrlCitation | None = None


class ReasoningDetail(Struct):
    type: str | None = None
    text: str | None = None
    signature: str | None = None
    data: str | None = None


class Said(Struct):
    """A message of an answer, or a piece of it."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    annotations: list[Annotation] | None = None


class TurnChoice(Struct):
    index: int = 0
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None


class Turn(Struct):
    """A whole answer or one chunk of a stream."""

    id: str | None = None
    model: str | None = None
    choices: list[TurnChoice] | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


decode_turn = msgspec.json.Decoder(Turn).decode
