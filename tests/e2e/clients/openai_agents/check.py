"""openai-agents: an agent over the responses door and over the chat door, answered by providers of other dialects."""

from typing import Any

from agents import (  # type: ignore[import-not-found,unused-ignore]
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI  # type: ignore[import-not-found,unused-ignore]

from tests.e2e.clients.lab import GATEWAY, KEY, tell


async def works(kind: Any, model: str, *, stream: bool) -> None:
    """An agent whose model calls a tool for two cities and then answers."""
    set_tracing_disabled(True)
    asked: list[str] = []

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"sunny in {city}"

    async with AsyncOpenAI(base_url=GATEWAY, api_key=KEY) as client:
        agent = Agent(
            name="tourist",
            instructions="Be brief.",
            model=kind(model=model, openai_client=client),
            tools=[function_tool(weather)],
        )
        if stream:
            running = Runner.run_streamed(agent, "How is it there?")
            assert [event async for event in running.stream_events()]
            output = running.final_output
        else:
            output = (await Runner.run(agent, "How is it there?")).final_output
    assert sorted(asked) == ["Paris", "Rome"], asked
    assert "Hello from the simulator" in output, output


async def check_responses_answered_by_anthropic() -> None:
    await works(OpenAIResponsesModel, "claude-tools", stream=False)


async def check_responses_streamed_by_anthropic() -> None:
    await works(OpenAIResponsesModel, "claude-tools", stream=True)


async def check_responses_streamed_by_gemini() -> None:
    await works(OpenAIResponsesModel, "google-tools", stream=True)


async def check_chat_streamed_by_gemini() -> None:
    await works(OpenAIChatCompletionsModel, "google-tools", stream=True)


if __name__ == "__main__":
    tell(dict(globals()))
