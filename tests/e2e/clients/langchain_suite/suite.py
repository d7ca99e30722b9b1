"""The standard tests that LangChain has for chat models, over each door, answered by another provider's dialect."""

import os
from types import SimpleNamespace
from typing import Any

from langchain_anthropic import ChatAnthropic  # type: ignore[import-not-found,unused-ignore]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found,unused-ignore]
from langchain_tests.integration_tests import (  # type: ignore[import-not-found,unused-ignore]
    ChatModelIntegrationTests,
    chat_models,
)

GATEWAY, KEY = os.environ["CHECK_GATEWAY"], os.environ["METERWAY_DEMO_KEY"]

# The suite's images and documents lie elsewhere; here nothing but loopback is asked.
chat_models.httpx = SimpleNamespace(get=lambda *_, **__: SimpleNamespace(content=b"a document"))


class TestOpenAIAnsweredByAnthropic(ChatModelIntegrationTests):  # type: ignore[misc,unused-ignore]
    @property
    def chat_model_class(self) -> Any:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "claude", "base_url": GATEWAY, "api_key": KEY, "stream_usage": True, "max_retries": 0}

    @property
    def model_override_value(self) -> str:
        return "claude"

    supports_image_inputs = supports_image_urls = supports_pdf_inputs = True
    supports_image_tool_message = supports_pdf_tool_message = True


class TestAnthropicAnsweredByOpenAI(ChatModelIntegrationTests):  # type: ignore[misc,unused-ignore]
    @property
    def chat_model_class(self) -> Any:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = GATEWAY.removesuffix("/v1")
        return {"model": "seen", "base_url": url, "api_key": KEY, "max_tokens": 1000, "max_retries": 0}

    @property
    def model_override_value(self) -> str:
        return "seen"

    supports_image_inputs = supports_image_urls = supports_pdf_inputs = supports_anthropic_inputs = True
