"""pydantic-ai: agents over the responses, chat and Anthropic doors, answered by providers of other dialects."""

from typing import Any

from pydantic_ai import Agent  # type: ignore[import-not-found,unused-ignore]
from pydantic_ai.models.anthropic import AnthropicModel  # type: ignore[import-not-found,unused-ignore]
from pydantic_ai.models.openai import (  # type: ignore[import-not-found,unused-ignore]
    OpenAIChatModel,
    OpenAIResponsesModel,
)
from pydantic_ai.providers.anthropic import AnthropicProvider  # type: ignore[import-not-found,unused-ignore]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found,unused-ignore]

from tests.e2e.clients.lab import GATEWAY, KEY, tell


def openai() -> Any:
    return OpenAIProvider(base_url=GATEWAY, api_key=KEY)


def anthropic() -> Any:
    return AnthropicProvider(base_url=GATEWAY.removesuffix("/v1"), api_key=KEY)


def works(model: Any) -> None:
    """An agent whose model calls a tool for two cities and then answers."""
    asked: list[str] = []
    agent = Agent(model, instructions="Be brief.")

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"sunny in {city}"

    agent.tool_plain(weather)
    done = agent.run_sync("How is it there?")
    assert asked == ["Paris", "Rome"], asked
    assert "Hello from the simulator" in done.output, done.output
    assert done.usage.output_tokens > 0


def check_responses_answered_by_anthropic() -> None:
    works(OpenAIResponsesModel("claude-tools", provider=openai()))


def check_responses_answered_by_gemini() -> None:
    works(OpenAIResponsesModel("google-tools", provider=openai()))


def check_chat_answered_by_anthropic() -> None:
    works(OpenAIChatModel("claude-tools", provider=openai()))


def check_chat_answered_by_gemini() -> None:
    works(OpenAIChatModel("google-tools", provider=openai()))


def check_anthropic_answered_by_openai() -> None:
    works(AnthropicModel("two-tools", provider=anthropic()))


def check_anthropic_answered_by_gemini() -> None:
    works(AnthropicModel("google-tools", provider=anthropic()))


if __name__ == "__main__":
    tell(dict(globals()))
