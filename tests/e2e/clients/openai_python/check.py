"""The official `openai` package for Python, pointed at the gateway."""

import asyncio
import json
import math
import os
import threading
import time
from typing import Any

import openai  # type: ignore[import-not-found,unused-ignore]  # lives in the client's own environment
from pydantic import BaseModel

from tests.e2e.clients.lab import (
    GATEWAY,
    HELLO,
    KEY,
    SAID,
    WEATHER,
    Since,
    bill,
    eventually,
    gateway_lines,
    provider_requests,
    tell,
)


class City(BaseModel):
    name: str
    inhabitants: int


def client(**options: Any) -> Any:
    return openai.OpenAI(**{"base_url": GATEWAY, "api_key": KEY, "timeout": 10, **options})


def async_client(**options: Any) -> Any:
    return openai.AsyncOpenAI(**{"base_url": GATEWAY, "api_key": KEY, "timeout": 10, **options})


def refusal(kind: Any, **options: Any) -> Any:
    """The error of one chat call, which has to be of this class."""
    model = options.pop("model", "assistant")
    request = options.pop("request", {})
    raised: Any = None
    try:
        client(**options).chat.completions.create(model=model, messages=HELLO, **request)
    except openai.OpenAIError as error:
        raised = error
    assert type(raised) is kind, f"{model} gave {raised!r} instead of {kind.__name__}"
    return raised


def check_models_are_listed() -> None:
    names = {model.id for model in client().models.list()}
    assert {"assistant", "embedder"} <= names, names
    assert client().models.retrieve("assistant").id == "assistant"
    mine = client(api_key=os.environ["METERWAY_ONE_MODEL_KEY"]).models.list()
    assert [model.id for model in mine] == ["seen"]


def check_chat() -> None:
    answer = client().chat.completions.create(model="assistant", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def check_unknown_fields_reach_the_provider() -> None:
    extra = {"x_new_field": {"a": [1, 2]}}
    client().chat.completions.create(
        model="seen", messages=HELLO, temperature=0.25, seed=7, user="u-1", extra_body=extra
    )
    body = provider_requests("seen")[-1]
    assert (body["temperature"], body["seed"], body["user"], body["x_new_field"]) == (0.25, 7, "u-1", {"a": [1, 2]})


def check_headers_of_a_raw_response() -> None:
    raw = client().chat.completions.with_raw_response.create(model="assistant", messages=HELLO)
    headers = raw.headers
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-gateway-target"] in ("sim-a/sim-large", "sim-b/sim-large")
    assert headers["x-gateway-attempts"] == "1"
    assert float(headers["x-gateway-cost-usd"]) > 0
    assert float(headers["x-gateway-overhead-ms"]) >= 0
    assert int(headers["x-ratelimit-limit-requests"]) == 60_000
    assert int(headers["x-ratelimit-remaining-tokens"]) > 0
    answer = raw.parse()
    assert answer._request_id == headers["x-request-id"]
    assert answer.choices[0].message.content == SAID


def check_stream_without_usage() -> None:
    chunks = list(client().chat.completions.create(model="assistant", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    assert all(chunk.choices for chunk in chunks), "the usage chunk was not asked for"
    assert all(chunk.usage is None for chunk in chunks)
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    line = eventually(lambda: [line for line in gateway_lines("assistant") if line.get("stream")])[-1]
    assert (line["provenance"], line["output_tokens"] > 0) == ("exact", True), line


def check_stream_with_usage() -> None:
    asked = {"include_usage": True}
    chunks = list(
        client().chat.completions.create(model="assistant", messages=HELLO, stream=True, stream_options=asked)
    )
    *others, last = chunks
    assert last.choices == []
    assert last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in others)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in others) == SAID


def check_the_packages_own_stream_helper() -> None:
    with client().chat.completions.stream(model="assistant", messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("content.done") == 1
    assert final.choices[0].message.content == SAID


async def check_async_chat_and_stream() -> None:
    async with async_client() as ours:
        answer = await ours.chat.completions.create(model="assistant", messages=HELLO)
        assert answer.choices[0].message.content == SAID
        stream = await ours.chat.completions.create(model="assistant", messages=HELLO, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(said) == SAID


def check_parallel_tool_calls_and_their_results() -> None:
    ours = client()
    asked: list[Any] = [{"role": "user", "content": "Weather in Paris and Rome?"}]
    first = ours.chat.completions.create(model="two-tools", messages=asked, tools=[WEATHER])
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call.id for call in message.tool_calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    last = ours.chat.completions.create(model="two-tools", messages=[*asked, message, *results], tools=[WEATHER])
    assert last.choices[0].message.tool_calls is None
    assert last.choices[0].message.content
    seen = provider_requests("two-tools")[-1]
    assert seen["tools"] == [WEATHER]
    assert [one["role"] for one in seen["messages"]] == ["user", "assistant", "tool", "tool"]


def check_streamed_tool_calls_come_in_fragments() -> None:
    stream = client().chat.completions.create(model="two-tools", messages=HELLO, tools=[WEATHER], stream=True)
    names: dict[int, str] = {}
    pieces: dict[int, list[str]] = {}
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            if call.function.name:
                names[call.index] = call.function.name
            pieces.setdefault(call.index, []).append(call.function.arguments or "")
    assert names == {0: "weather", 1: "weather"}
    assert [json.loads("".join(pieces[at])) for at in (0, 1)] == [{"city": "Paris"}, {"city": "Rome"}]
    assert max(map(len, pieces.values())) > 2


def check_structured_output() -> None:
    answer = client().chat.completions.parse(model="seen", messages=HELLO, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)
    sent = provider_requests("seen")[-1]["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("json_schema", "City", True)


def check_embeddings_as_base64_and_as_floats() -> None:
    ours = client()
    packed = ours.embeddings.create(model="embedder", input=["one", "two"])
    plain = ours.embeddings.create(model="embedder", input=["one", "two"], encoding_format="float")
    assert [len(item.embedding) for item in packed.data] == [1536, 1536]
    assert all(map(lambda a, b: math.isclose(a, b, abs_tol=1e-6), packed.data[1].embedding, plain.data[1].embedding))
    assert packed.usage.prompt_tokens > 0
    assert len(ours.embeddings.create(model="embedder", input="one", dimensions=8).data[0].embedding) == 8


def check_a_wrong_key_is_an_authentication_error() -> None:
    error = refusal(openai.AuthenticationError, api_key="gw_wrong_key")
    assert (error.status_code, error.code, error.type) == (401, "invalid_api_key", "authentication_error")
    assert "gw_wrong_key" not in str(error)
    assert error.request_id.startswith("req_")
    assert error.body["fault"] == "caller"


def check_an_unknown_model_is_not_found() -> None:
    error = refusal(openai.NotFoundError, model="no-such-model")
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "no-such-model" in error.message


def check_a_forbidden_model_is_a_permission_error() -> None:
    error = refusal(openai.PermissionDeniedError, api_key=os.environ["METERWAY_ONE_MODEL_KEY"])
    assert error.code == "model_not_allowed"


def check_a_bad_request_names_the_field() -> None:
    error = refusal(openai.BadRequestError, request={"max_tokens": "many"})
    assert error.param == "max_tokens"


def check_the_providers_own_words_for_a_refused_request() -> None:
    since = Since("refused")
    error = refusal(openai.BadRequestError, model="refused")
    assert error.code == "context_length_exceeded"
    assert since.counts() == (1, 1)


def check_a_limit_that_waiting_cannot_help_is_asked_once() -> None:
    since = Since("seen")
    key = os.environ["METERWAY_SMALL_KEY"]
    error = refusal(openai.RateLimitError, model="seen", api_key=key, max_retries=5, request={"max_tokens": 5000})
    assert error.response.headers["x-should-retry"] == "false"
    assert error.code == "rate_limit_exceeded"
    assert since.counts() == (1, 0)


def check_a_throttling_provider_is_asked_once() -> None:
    since = Since("throttled")
    error = refusal(openai.RateLimitError, model="throttled", max_retries=5)
    headers = error.response.headers
    assert (error.code, headers["x-should-retry"]) == ("upstream_rate_limited", "false")
    assert 30 <= int(headers["retry-after"]) <= 41
    assert since.counts() == (1, 1)


def check_a_place_that_becomes_free_is_worth_a_retry() -> None:
    ours = client(api_key=os.environ["METERWAY_NARROW_KEY"], max_retries=8)
    stream = ours.chat.completions.create(model="slow-stream", messages=HELLO, stream=True)
    next(iter(stream))
    refused = refusal(openai.RateLimitError, model="seen", api_key=os.environ["METERWAY_NARROW_KEY"], max_retries=0)
    assert refused.response.headers["x-should-retry"] == "true"
    assert int(refused.response.headers["retry-after-ms"]) > 0
    leave = threading.Timer(0.3, stream.close)
    leave.start()
    since = Since("seen")
    raw = ours.chat.completions.with_raw_response.create(model="seen", messages=HELLO)
    assert raw.retries_taken > 0
    assert since.counts() == (raw.retries_taken + 1, 1)
    leave.join()


def check_retries_are_not_multiplied() -> None:
    since = Since("broken")
    error = refusal(openai.InternalServerError, model="broken", max_retries=5)
    assert error.code == "upstream_error"
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.headers["x-gateway-attempts"] == "2"
    assert since.counts() == (1, 2)


def check_a_stumbling_provider_goes_unnoticed() -> None:
    raw = client(max_retries=0).chat.completions.with_raw_response.create(model="stumbles", messages=HELLO)
    assert raw.headers["x-gateway-attempts"] == "2"
    assert raw.parse().choices[0].message.content == SAID


def check_a_stream_that_breaks_raises() -> None:
    said: list[str] = []
    raised: Any = None
    try:
        for chunk in client().chat.completions.create(model="cut-short", messages=HELLO, stream=True):
            said.append(chunk.choices[0].delta.content or "")
    except openai.APIError as error:
        raised = error
    assert raised is not None, "the broken stream looked complete"
    assert raised.code == "upstream_truncated"
    assert "".join(said)


def check_the_clients_timeout_ends_the_call_upstream() -> None:
    since = Since("slow-start")
    refusal(openai.APITimeoutError, model="slow-start", timeout=0.4, max_retries=0)
    assert eventually(lambda: bill("slow-start"))[-1]["outcome"] == "cut"
    line = eventually(lambda: gateway_lines("slow-start"))[-1]
    assert (line["status"], line.get("client_gone")) == (499, True), line
    assert since.counts() == (1, 1)


def check_the_callers_deadline_is_kept() -> None:
    started_s = time.monotonic()
    headers = {"x-request-timeout-ms": "400"}
    error = refusal(openai.InternalServerError, model="slow-start", max_retries=5, request={"extra_headers": headers})
    assert (error.status_code, error.response.headers["x-should-retry"]) == (504, "false")
    assert time.monotonic() - started_s < 3


def check_a_client_that_hangs_up_cancels_the_provider() -> None:
    before = len(bill("slow-stream"))
    stream = client().chat.completions.create(model="slow-stream", messages=HELLO, stream=True)
    for at, _ in enumerate(stream):
        if at == 4:
            break
    stream.close()
    line = eventually(lambda: bill("slow-stream")[before:])[0]
    assert (line["outcome"], 0 < line["output_tokens"] < 200) == ("cut", True), line
    ours = eventually(lambda: [one for one in gateway_lines("slow-stream") if one["tenant"] == "demo"])[-1]
    assert (ours["client_gone"], ours["provenance"], ours["output_tokens"] > 0) == (True, "counted", True), ours


async def check_a_cancelled_task_cancels_the_provider() -> None:
    before = len(bill("slow-stream"))
    begun = asyncio.Event()

    async def read() -> None:
        async with async_client() as ours:
            stream = await ours.chat.completions.create(model="slow-stream", messages=HELLO, stream=True)
            async for _ in stream:
                begun.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert eventually(lambda: bill("slow-stream")[before:])[0]["outcome"] == "cut"


async def check_many_calls_at_once_on_one_client() -> None:
    async with async_client() as ours:
        words = [f"word {number} é 漢字 🚀" for number in range(60)]
        asked: list[list[Any]] = [[{"role": "user", "content": word}] for word in words]
        whole = [ours.chat.completions.create(model="assistant", messages=messages) for messages in asked]
        answers = await asyncio.gather(*whole)
        said = [answer.choices[0].message.content for answer in answers]
        assert said == [f"Hello from the simulator. You said: {word}" for word in words]
        streams = [ours.chat.completions.create(model="assistant", messages=m, stream=True) for m in asked]
        texts = await asyncio.gather(*(read_all(stream) for stream in streams))
        assert texts == said


async def read_all(stream: Any) -> str:
    return "".join([chunk.choices[0].delta.content or "" async for chunk in await stream])


def check_several_choices_in_one_stream() -> None:
    texts: dict[int, str] = {}
    for chunk in client().chat.completions.create(model="assistant", messages=HELLO, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert texts == {0: SAID, 1: SAID}


def check_a_large_prompt_arrives_whole() -> None:
    words = "many words " * 100_000
    answer = client().chat.completions.create(model="assistant", messages=[{"role": "user", "content": words}])
    assert answer.usage.prompt_tokens >= len(words) // 4, "the simulator takes four characters for a token"


def check_the_raw_bytes_of_a_stream() -> None:
    create = client().chat.completions.with_streaming_response.create
    with create(model="assistant", messages=HELLO, stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)


def check_an_endpoint_that_is_not_served_says_so() -> None:
    raised: Any = None
    try:
        client().images.generate(model="assistant", prompt="a cat")
    except openai.NotFoundError as error:
        raised = error
    assert raised is not None
    assert raised.code == "unknown_url"
    assert "/v1/chat/completions" in raised.message


if __name__ == "__main__":
    tell(dict(globals()))
