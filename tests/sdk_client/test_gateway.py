"""The client and a served gateway."""

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from pydantic import BaseModel

from sdk_client import CallContext, LLMClient, LLMClientSync, Message, Tool, errors
from sdk_client.values import Image, ToolCall


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    days: int


@pytest.fixture
async def client(gateway: dict[str, str]) -> AsyncIterator[LLMClient]:
    async with LLMClient(gateway["CHECK_GATEWAY"], gateway["METERWAY_DEMO_KEY"], timeout_s=20) as client:
        yield client


@pytest.fixture
def blocking(gateway: dict[str, str]) -> Iterator[LLMClientSync]:
    with LLMClientSync(gateway["CHECK_GATEWAY"], gateway["METERWAY_DEMO_KEY"], timeout_s=20) as client:
        yield client


async def test_a_reply_says_what_it_took(client: LLMClient) -> None:
    context = CallContext(session_id="s", run_id="r", parent_run_id="p", priority="autonomous", tags={"team": "a"})
    reply = await client.generate([Message.user("hello there")], model="assistant", context=context, max_tokens=50)
    assert "hello there" in reply.text
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.cost_nano_usd == reply.usage.input_tokens * 1000 + reply.usage.output_tokens * 4000
    assert reply.target.startswith("sim-")
    assert reply.attempts == 1
    assert reply.request_id.startswith("req_")
    assert not reply.replayed


async def test_the_same_key_is_charged_once(client: LLMClient) -> None:
    context = CallContext(idempotency_key="once-only")
    first = await client.generate([Message.user("one")], model="assistant", context=context)
    again = await client.generate([Message.user("one")], model="assistant", context=context)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.text == first.text
    with pytest.raises(errors.InvalidRequest, match="another request"):
        await client.generate([Message.user("two")], model="assistant", context=context)


async def test_a_stream_is_the_same_reply_in_pieces(client: LLMClient) -> None:
    async with client.stream([Message.user("tell me")], model="assistant") as stream:
        pieces = [delta.text async for delta in stream]
        reply = await stream.reply()
    assert len(pieces) > 1
    assert "".join(pieces) == reply.text
    assert reply.usage.output_tokens > 0
    assert reply.target.startswith("sim-")


async def test_tools_are_called_and_their_results_go_back(client: LLMClient) -> None:
    ask = Message.user("what is the weather?")
    tools = [Tool.of(Weather), Tool("clock", "The time.")]
    reply = await client.generate([ask], model="two-tools", tools=tools)
    assert len(reply.tool_calls) == 2
    results = [Message.tool(call.id, "fine") for call in reply.tool_calls]
    final = await client.generate([ask, reply.message, *results], model="two-tools", tools=tools)
    assert final.text
    assert final.tool_calls == ()


async def test_a_streamed_tool_call_is_put_together(client: LLMClient) -> None:
    async with client.stream([Message.user("weather")], model="two-tools", tools=[Tool.of(Weather)]) as stream:
        reply = await stream.reply()
    assert len(reply.tool_calls) == 2
    assert all(isinstance(call.decoded(), dict) and call.id for call in reply.tool_calls)


async def test_an_answer_comes_as_the_model_that_was_asked_for(client: LLMClient) -> None:
    reply = await client.generate([Message.user("Paris")], model="assistant", output=Weather)
    assert isinstance(reply.parsed, Weather)
    raw = await client.generate([Message.user("Paris")], model="assistant", output=Weather.model_json_schema())
    assert set(raw.parsed) == {"city", "days"}


async def test_models_and_embeddings(client: LLMClient) -> None:
    assert "assistant" in await client.models()
    vectors = await client.embed(["a", "b"], model="embedder")
    assert len(vectors) == 2
    assert len(vectors[0]) > 8


async def test_the_gateway_counts_what_would_be_sent(client: LLMClient) -> None:
    async def count(*messages: Message, tools: Sequence[Tool] = ()) -> int:
        return await client.count(messages, model="assistant", tools=tools)

    question = Message.user("How many tokens are in this question?")
    alone = await count(question)
    assert 5 < alone < 60
    assert await count(Message.system("You are brief."), question) > alone
    assert await count(question, tools=[Tool("look_up", "finds a page")]) > alone
    called = Message.assistant("", ToolCall("c1", "look_up", '{"page": 3'))
    assert await count(question, called, Message.tool("c1", "x" * 99)) > alone
    for url in ("https://example.org/a.png", "data:image/png;base64,AAAA"):
        assert await count(Message.user("and this?", Image(url))) > 5
    with pytest.raises(errors.InvalidRequest, match="nobody"):
        await client.count([question], model="nobody")


@pytest.mark.parametrize(
    ("model", "kind", "retryable"),
    [("throttled", errors.RateLimited, True), ("broken", errors.UpstreamFailed, True)],
)
async def test_failures_of_providers_have_their_own_class(
    client: LLMClient, model: str, kind: type[errors.LLMError], retryable: bool
) -> None:
    with pytest.raises(kind) as caught:
        await client.generate([Message.user("x")], model=model)
    assert caught.value.retryable is retryable
    assert caught.value.again is False
    assert (caught.value.request_id or "").startswith("req_")


async def test_a_call_does_not_outlive_its_deadline(client: LLMClient) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await client.generate([Message.user("x")], model="slow-start", context=CallContext(timeout_s=0.3))


async def test_a_stream_that_breaks_gives_what_came_before(client: LLMClient) -> None:
    with pytest.raises(errors.StreamBroken) as caught:
        async with client.stream([Message.user("x")], model="cut-short") as stream:
            await stream.reply()
    assert caught.value.partial.text
    assert isinstance(caught.value.cause, errors.UpstreamFailed)


async def test_a_wrong_key_and_a_model_that_is_not_allowed(gateway: dict[str, str], client: LLMClient) -> None:
    with pytest.raises(errors.AuthFailed):
        await client.generate([Message.user("x")], model="assistant", context=CallContext(key="wrong"))
    context = CallContext(key=gateway["METERWAY_ONE_MODEL_KEY"])
    with pytest.raises(errors.AuthFailed):
        await client.generate([Message.user("x")], model="assistant", context=context)
    with pytest.raises(errors.InvalidRequest, match="nobody"):
        await client.generate([Message.user("x")], model="nobody")


def test_the_blocking_client_does_all_of_it(blocking: LLMClientSync) -> None:
    reply = blocking.generate([Message.user("hello")], model="assistant")
    assert reply.cost_nano_usd
    with blocking.stream([Message.user("hello")], model="assistant") as stream:
        assert "".join(delta.text for delta in stream) == reply.text
        assert stream.reply().usage == reply.usage
    assert "assistant" in blocking.models()
    assert len(blocking.embed(["a"], model="embedder")) == 1
    assert blocking.count([Message.user("four")], model="assistant") > 0
    with pytest.raises(errors.UpstreamFailed):
        blocking.generate([Message.user("x")], model="broken")
    with pytest.raises(errors.DeadlineExceeded):
        blocking.generate([Message.user("x")], model="slow-start", context=CallContext(timeout_s=0.3))
    with pytest.raises(errors.StreamBroken), blocking.stream([Message.user("x")], model="cut-short") as stream:
        stream.reply()
