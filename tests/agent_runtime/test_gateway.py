"""Agents through the real gateway to simulated providers."""

from collections.abc import AsyncIterator

import pytest

from agent_runtime.api import Agent
from agent_runtime.connectors.gateway import KINDS, failure_of
from agent_runtime.contracts.errors import LLMFailed
from agent_runtime.domain.values import Principal
from agent_runtime.tools.access import AutoApprove
from agent_runtime.tools.tool import tool
from sdk_client import LLMClient, LLMError, errors

ANN = Principal("demo", "ann")


@tool(risk="read")
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture
async def client(gateway: dict[str, str]) -> AsyncIterator[LLMClient]:
    async with LLMClient(gateway["CHECK_GATEWAY"], gateway["METERWAY_DEMO_KEY"]) as client:
        yield client


def agent(client: LLMClient, model: str) -> Agent:
    return Agent("main", client, "Be brief.", model=model, tools=[weather], policy=AutoApprove(), principal=ANN)


async def test_a_run_through_the_gateway_calls_tools_and_knows_its_cost(client: LLMClient) -> None:
    result = await agent(client, "two-tools").run("weather?")
    assert [message.role for message in result.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert result.messages[2].text == "sunny in Paris"
    assert result.usage.llm_calls == 2
    priced = await agent(client, "assistant").run("hello")
    assert priced.usage.cost_nano_usd > 0
    assert priced.usage.unpriced_calls == 0
    assert priced.target.startswith("sim-")


async def test_a_streamed_run_shows_the_same_text_in_pieces(client: LLMClient) -> None:
    one = agent(client, "assistant")
    async with one.stream("tell me something that takes a few more words to say than this") as events:
        pieces = [event["delta"] async for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
    assert len(pieces) > 1
    assert "".join(map(str, pieces)) == (await events.handle).text


@pytest.mark.parametrize("model", ["throttled", "broken", "refused", "cut-short", "nobody"])
async def test_row_11_every_failure_of_a_provider_ends_in_one_typed_error_in_time(
    client: LLMClient, model: str
) -> None:
    outcome = await agent(client, model).try_run("go", timeout_s=20)
    assert outcome.error is not None
    assert outcome.error.category in ("provider", "logic", "config")
    assert outcome.outcome.finish_reason == "failed"


async def test_row_11_a_provider_that_is_too_slow_costs_no_more_than_the_deadline(client: LLMClient) -> None:
    outcome = await agent(client, "slow-start").try_run("go", timeout_s=0.5)
    assert outcome.outcome.finish_reason == "timeout"


async def test_row_33_a_gateway_that_is_away_is_waited_for_and_the_deadline_holds() -> None:
    async with LLMClient("http://127.0.0.1:9/v1", "key") as nobody:
        outcome = await agent(nobody, "assistant").try_run("go", timeout_s=1.5)
    assert outcome.error is not None
    assert outcome.outcome.finish_reason in ("failed", "timeout")


async def test_row_13_a_gateways_error_keeps_its_kind(client: LLMClient) -> None:
    with pytest.raises(LLMFailed) as caught:
        await agent(client, "throttled").run("go", timeout_s=20)
    failure = caught.value.to_failure()
    assert (failure.kind, failure.category) == ("rate_limited", "provider")
    assert caught.value.retry_after_s


@pytest.mark.parametrize(("kind", "name", "category"), KINDS)
def test_every_error_of_the_client_has_a_kind_and_a_category(kind: type[LLMError], name: str, category: str) -> None:
    error = errors.StreamBroken("x", partial=None) if kind is errors.StreamBroken else kind("x")
    failure = failure_of(error)
    assert (failure.kind, failure.category) == (name, category)
    assert set(errors.LLMError.__subclasses__()) == {known for known, _, _ in KINDS}
