"""The OpenAI dialect of providers: what goes out, how answers, streams and errors are understood."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.failure import AttemptFailed, FailureKind
from gateway.domain.reply import Usage
from gateway.domain.stream import EventKind
from gateway.providers import openai
from gateway.providers.openai_usage import usage_of
from gateway.wire import openai_chat
from tests.domain.values import deployment


def chat(**more: object) -> bytes:
    return json.dumps({"model": "assistant", "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def sent(**more: object) -> dict[str, object]:
    call = openai.encode_request(openai_chat.parse(chat(**more)), deployment("a", model="gpt-x"), 1.0, "req_1")
    found: dict[str, object] = json.loads(call.body)
    return found


def test_the_body_is_written_anew_with_the_targets_model_and_all_unknown_members() -> None:
    assert sent(temperature=0.5, brand_new={"a": [1, "é"]}) == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "brand_new": {"a": [1, "é"]},
    }


@pytest.mark.parametrize(
    ("given_options", "expected"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
    ],
)
def test_usage_is_always_asked_for(given_options: object, expected: object) -> None:
    more = {} if given_options is None else {"stream_options": given_options}
    assert sent(stream=True, **more)["stream_options"] == expected


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8), max_size=6)
)
def test_members_survive_byte_for_byte(extra: dict[str, object]) -> None:
    known = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user"}
    known |= {"tools", "response_format", "metadata", "prompt_cache_key", "previous_response_id"}
    extra = {name: value for name, value in extra.items() if name not in known}
    assert {name: value for name, value in sent(**extra).items() if name in extra} == extra


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"code": "rate_limit_exceeded"}, FailureKind.THROTTLED),
        (429, {"code": "slow_down", "type": "rate_limit_error"}, FailureKind.THROTTLED),
        (429, {"code": "credit_balance_exhausted", "type": "insufficient_quota"}, FailureKind.QUOTA_GONE),
        (429, {"code": None, "type": "insufficient_quota"}, FailureKind.QUOTA_GONE),
        (429, {}, FailureKind.THROTTLED),
        (402, {}, FailureKind.QUOTA_GONE),
        (401, {"code": "invalid_api_key"}, FailureKind.AUTH),
        (403, {}, FailureKind.AUTH),
        (404, {"code": "model_not_found"}, FailureKind.MODEL_NOT_FOUND),
        (408, {}, FailureKind.REQUEST_TIMEOUT),
        (409, {}, FailureKind.CONFLICT),
        (413, {}, FailureKind.TOO_LARGE),
        (422, {}, FailureKind.INVALID_REQUEST),
        (400, {"code": "context_length_exceeded"}, FailureKind.CONTEXT_LENGTH),
        (400, {"code": "content_filter"}, FailureKind.CONTENT_FILTER),
        (400, {"type": "invalid_request_error"}, FailureKind.INVALID_REQUEST),
        (418, {}, FailureKind.INVALID_REQUEST),
        (500, {}, FailureKind.SERVER_ERROR),
        (502, {}, FailureKind.SERVER_ERROR),
        (503, {"code": "server_is_overloaded"}, FailureKind.OVERLOADED),
        (529, {"type": "overloaded_error"}, FailureKind.OVERLOADED),
        (302, {}, FailureKind.REDIRECT),
    ],
)
def test_errors_are_known_by_code_first_and_status_second(
    status: int, error: dict[str, object], kind: FailureKind
) -> None:
    body = json.dumps({"error": {"message": "m", **error}}).encode()
    assert openai.decode_error(status, [], body, 0.0).kind is kind


@given(st.integers(300, 599), st.binary(max_size=80))
def test_any_error_body_is_classified(status: int, body: bytes) -> None:
    assert openai.decode_error(status, [(b"retry-after", b"x")], body, 0.0).status == status


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 0}, Usage(5, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(9, 3, 4)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}},
            Usage(9, 3, 0, 2),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}}, Usage(1, 1, 1)),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": 1e300, "completion_tokens": 3}, None),
        ({"prompt_tokens": "5", "completion_tokens": 3}, None),
        ({"completion_tokens": 3}, None),
        (None, None),
    ],
)
def test_u30_only_sane_usage_counts_and_zero_is_sane(raw: object, expected: Usage | None) -> None:
    assert usage_of(json.dumps(raw).encode()) == expected


STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"h\xc3\xa9"},"finish_reason":null}],"usage":null}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}\n\n'
    b": ping\n\n"
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)


def test_a_stream_becomes_events() -> None:
    events = openai.decode_stream().feed(STREAM)
    kinds = [EventKind.PROLOGUE, EventKind.CONTENT, EventKind.CONTENT, EventKind.COMMENT]
    assert [event.kind for event in events] == [*kinds, EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    assert events[5].usage == Usage(3, 2)
    assert b"".join(event.raw for event in events) == STREAM


@given(st.integers(0, len(STREAM)), st.integers(0, len(STREAM)))
def test_h5_any_chunking_gives_identical_events(first: int, second: int) -> None:
    whole = openai.decode_stream().feed(STREAM)
    one, two = sorted((first, second))
    stream = openai.decode_stream()
    pieces = [STREAM[:one], STREAM[one:two], STREAM[two:]]
    assert [event for piece in pieces for event in stream.feed(piece)] == whole


@given(st.binary(max_size=200), st.integers(0, 200))
def test_h5_no_bytes_break_the_decoder(text: bytes, at: int) -> None:
    stream = openai.decode_stream()
    events = stream.feed(b"data: " + text[:at]) + stream.feed(text[at:] + b"\n\n") + stream.end()
    assert all(isinstance(event.raw, bytes) for event in events)


def test_an_error_inside_a_stream_or_an_answer_counts_as_its_status() -> None:
    event = openai.decode_stream().feed(b'event: error\ndata: {"error":{"message":"m","code":"slow_down"}}\n\n')[0]
    assert event.failure is not None
    assert event.failure.kind is FailureKind.THROTTLED
    with pytest.raises(AttemptFailed) as caught:
        openai.decode_reply(openai_chat.parse(chat()), b'{"error":{"message":"m","code":"insufficient_quota"}}')
    assert caught.value.failure.kind is FailureKind.QUOTA_GONE


def test_the_empty_usage_that_our_wish_adds_is_taken_out() -> None:
    assert openai.without_usage(b'data: {"a":"x,\\"usage\\":null","usage":null}\n\n') == (
        b'data: {"a":"x,\\"usage\\":null"}\n\n'
    )
