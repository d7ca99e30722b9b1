"""Whole answers of a provider that does not keep output limits: read as streams, and cut, in every caller's dialect."""

from typing import Any

import pytest

from tests.dialects.house import KINDS, Json, ask, body_of, sent
from tests.rows.house import Document, House, standing
from tests.rows.talk import Seen

LIMITS = {"chat": "max_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}
TENANTS = [{"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [{"usd": 1, "per": "day"}]}]
ENDLESS: Document = {
    "otherwise": {"answer": {"text_chars": 4_000, "ignore_output_limit": True}, "pace": {"event_s": 0.001}}
}


def _end(caller: str, body: Json) -> tuple[str, str, int]:
    """The text, how it ended, and the output tokens."""
    if caller == "chat":
        (choice,) = body["choices"]
        return choice["message"]["content"], choice["finish_reason"], body["usage"]["completion_tokens"]
    if caller == "messages":
        text = "".join(block["text"] for block in body["content"])
        return text, body["stop_reason"], body["usage"]["output_tokens"]
    text = "".join(part["text"] for item in body["output"] for part in item["content"])
    return text, body["incomplete_details"]["reason"], body["usage"]["output_tokens"]


async def _asked(house: House, caller: str) -> Seen:
    return await ask(house, caller, {**body_of(caller), LIMITS[caller]: 50})


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "chat"])
@pytest.mark.parametrize(
    ("caller", "reason"), [("chat", "length"), ("messages", "max_tokens"), ("responses", "max_output_tokens")]
)
async def test_an_answer_ends_at_its_limit_whatever_the_provider_says(caller: str, reason: str, provider: str) -> None:
    lax = {provider: {**KINDS[provider], "enforces_output_limit": False}}
    scripts: dict[str, Any] = {provider: ENDLESS}
    async with standing([provider], providers=lax, extra={"tenants": TENANTS}, **scripts) as house:
        seen = await _asked(house, caller)
        assert seen.status == 200, seen
        text, finish, tokens = _end(caller, seen.json)
        assert (finish, tokens) == (reason, house.record.usage.output)
        assert 40 <= tokens <= 50
        assert tokens * 4 - 3 <= len(text) <= tokens * 4
        assert house.record.provenance.value == "counted"
        if provider != "gemini":
            assert sent(house, provider)["stream"] is True
