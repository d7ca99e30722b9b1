"""The official `anthropic` package for Python, pointed at the gateway; each model is answered by another dialect."""

import json
from typing import Any

import anthropic  # type: ignore[import-not-found,unused-ignore]  # lives in the client's own environment

from tests.e2e.clients.lab import GATEWAY, HELLO, KEY, SAID, bill, eventually, tell

MODELS = ("assistant", "claude", "google")
TOOL: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def client(**options: Any) -> Any:
    given = {"base_url": GATEWAY.removesuffix("/v1"), "api_key": KEY, "timeout": 10, "max_retries": 0}
    return anthropic.Anthropic(**{**given, **options})


def said(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def check_messages_are_answered_by_every_dialect() -> None:
    for model in MODELS:
        message = client().messages.create(model=model, max_tokens=100, messages=HELLO)
        assert (said(message), message.stop_reason) == (SAID, "end_turn"), message
        assert (message.usage.input_tokens > 0, message.usage.output_tokens) == (True, 11), message.usage
        assert message._request_id.startswith("req_"), message._request_id


def check_streams_are_answered_by_every_dialect() -> None:
    for model in MODELS:
        with client().messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
            pieces = list(stream.text_stream)
            message = stream.get_final_message()
        assert "".join(pieces) == said(message) == SAID
        assert len(pieces) > 3
        assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 11)


def check_tools_go_round_with_every_dialect() -> None:
    for model in ("two-tools", "claude-tools", "google-tools"):
        asked = {"model": model, "max_tokens": 1000, "tools": [TOOL]}
        with client().messages.stream(messages=HELLO, **asked) as stream:
            message = stream.get_final_message()
        calls = [block for block in message.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}], calls
        assert message.stop_reason == "tool_use"
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
        told = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        assert said(client().messages.create(messages=told, **asked)).startswith("Hello from the simulator")


def check_thinking_is_shown_and_comes_back() -> None:
    for model in ("claude-tools", "google-tools"):
        message = client().messages.create(model=model, max_tokens=1000, messages=HELLO, tools=[TOOL])
        thought = message.content[0]
        assert (thought.type, thought.thinking) == ("thinking", "Let me see."), thought
        assert thought.signature


def check_structured_output_is_an_object_of_the_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    for model in ("assistant", "google"):
        config = {"format": {"type": "json_schema", "schema": schema}}
        message = client().messages.create(model=model, max_tokens=100, messages=HELLO, output_config=config)
        assert set(json.loads(said(message))) == {"city"}


def check_tokens_are_counted() -> None:
    counted = client().messages.count_tokens(model="claude", messages=HELLO)
    assert 1 <= counted.input_tokens < 100


def check_models_are_listed_in_its_shape() -> None:
    listed = client().models.list()
    assert {"assistant", "claude"} <= {model.id for model in listed.data}
    assert client().models.retrieve("claude").display_name == "claude"


def check_errors_are_of_its_own_classes() -> None:
    asked = {"max_tokens": 10, "messages": HELLO}
    for model, kind in {
        "throttled": anthropic.RateLimitError,
        "broken": anthropic.InternalServerError,
        "refused": anthropic.BadRequestError,
        "nothing": anthropic.NotFoundError,
    }.items():
        try:
            client().messages.create(model=model, **asked)
        except anthropic.APIStatusError as error:
            assert type(error) is kind or isinstance(error, kind), (model, error)
            assert error.body["type"] == "error"
            assert error.request_id.startswith("req_")
        else:
            raise AssertionError(model)
    try:
        client(api_key="gw_unknown_0123456789").messages.create(model="claude", **asked)
    except anthropic.AuthenticationError:
        return
    raise AssertionError("an unknown key was served")


def check_an_error_inside_a_stream_is_raised() -> None:
    try:
        with client().messages.stream(model="cut-short", max_tokens=100, messages=HELLO) as stream:
            list(stream.text_stream)
    except anthropic.APIStatusError as error:
        assert error.body["error"]["code"] == "upstream_truncated", error.body
        return
    raise AssertionError("a broken stream looked whole")


def check_a_call_is_made_once() -> None:
    before = len(bill("throttled"))
    try:
        client(max_retries=2).messages.create(model="throttled", max_tokens=10, messages=HELLO)
    except anthropic.RateLimitError:
        assert eventually(lambda: len(bill("throttled")) - before) == 1
        return
    raise AssertionError("it was served")


async def check_async_streams() -> None:
    given = {"base_url": GATEWAY.removesuffix("/v1"), "auth_token": KEY, "api_key": None}
    async with anthropic.AsyncAnthropic(**given) as made:
        async with made.messages.stream(model="google", max_tokens=100, messages=HELLO) as stream:
            text = "".join([piece async for piece in stream.text_stream])
    assert text == SAID


if __name__ == "__main__":
    tell(dict(globals()))
