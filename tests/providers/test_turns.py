"""What readers of providers' answers refuse to make something of."""

import json
from typing import Any

import pytest

from gateway.domain.failure import FailureKind
from gateway.domain.turn import CallFragment, Failed, Finish, Finished, TurnEvent
from gateway.providers import openai_errors
from tests.dialects.dialects import TONGUES

CALL = {"type": "function_call", "name": "f", "arguments": ""}
MIXED: dict[str, list[Any]] = {
    "responses": [
        {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "call_id": "a"}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x":'},
        {"type": "response.output_item.added", "output_index": 1, "item": {**CALL, "call_id": "b"}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "1}"},
    ],
    "anthropic": [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "f"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"x":'}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "b", "name": "f"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    ],
}


def read(dialect: str, *given: Any) -> list[TurnEvent]:
    decoder = TONGUES[dialect].decoder()
    text = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in given)
    return decoder.feed(text) + decoder.end()


@pytest.mark.parametrize("dialect", MIXED)
def test_a_fragment_of_a_call_that_is_not_open_goes_to_no_other(dialect: str) -> None:
    events = read(dialect, *MIXED[dialect])
    assert [event.text for event in events if isinstance(event, CallFragment)] == ['{"x":']
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.kind is FailureKind.MALFORMED_STREAM


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_call_that_gemini_has_spoiled_is_a_failure_with_its_usage(reason: str) -> None:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3}
    reply = {"candidates": [{"content": {"parts": []}, "finishReason": reason}], "usageMetadata": usage}
    failed = read("gemini", reply)[-1]
    assert isinstance(failed, Failed)
    assert (failed.failure.kind, reason in failed.failure.message) == (FailureKind.MALFORMED_STREAM, True)
    assert failed.failure.usage is not None
    assert failed.failure.usage.total == 12


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", Finish.STOP), ("CONTINUATION", Finish.LENGTH), ("IMAGE_RECITATION", Finish.FILTER), ("NEW", Finish.STOP)],
)
def test_why_gemini_ended_is_known_by_its_word(reason: str, finish: Finish) -> None:
    reply = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
    assert [event.finish for event in read("gemini", reply) if isinstance(event, Finished)] == [finish]


CODES = {
    "server_error": FailureKind.SERVER_ERROR,
    "rate_limit_exceeded": FailureKind.THROTTLED,
    "vector_store_timeout": FailureKind.SERVER_ERROR,
    "bio_policy": FailureKind.CONTENT_FILTER,
    "misalignment_policy_violation": FailureKind.CONTENT_FILTER,
    "image_content_policy_violation": FailureKind.CONTENT_FILTER,
    "invalid_prompt": FailureKind.INVALID_REQUEST,
    "data_residency_mismatch": FailureKind.INVALID_REQUEST,
    "invalid_image": FailureKind.INVALID_REQUEST,
    "invalid_image_format": FailureKind.INVALID_REQUEST,
    "invalid_base64_image": FailureKind.INVALID_REQUEST,
    "invalid_image_url": FailureKind.INVALID_REQUEST,
    "image_too_large": FailureKind.INVALID_REQUEST,
    "image_too_small": FailureKind.INVALID_REQUEST,
    "image_parse_error": FailureKind.INVALID_REQUEST,
    "invalid_image_mode": FailureKind.INVALID_REQUEST,
    "image_file_too_large": FailureKind.INVALID_REQUEST,
    "unsupported_image_media_type": FailureKind.INVALID_REQUEST,
    "empty_image_file": FailureKind.INVALID_REQUEST,
    "failed_to_download_image": FailureKind.INVALID_REQUEST,
    "image_file_not_found": FailureKind.INVALID_REQUEST,
}


@pytest.mark.parametrize("code", CODES)
def test_a_response_that_failed_is_known_by_its_code(code: str) -> None:
    """There is no status beside it: it comes in a 200, whole or as the last event of a stream."""
    assert len(CODES) == 21
    error = {"code": code, "message": "no"}
    assert openai_errors.inner_failure(json.dumps(error).encode()).kind is CODES[code]
    failed = read("responses", {"type": "response.failed", "response": {"error": error}})[-1]
    assert isinstance(failed, Failed)
    assert failed.failure.kind is CODES[code]
