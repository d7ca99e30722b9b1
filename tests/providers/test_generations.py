"""Models of one provider by their generation: what each takes is what it is sent."""

from typing import Any

import pytest

from gateway.domain.conversation import Conversation, Effort, Message, Part, Role, Sampling, Text, Thinking, ToolCall
from gateway.providers import gemini_body, generations, messages_body

ASKED = Message(Role.USER, (Text("hi"),))
CALL = ToolCall("c1", "weather", "{}")
PLAIN = Sampling()
SIGNED = Thinking("", "c2ln", "gemini")
OLDER_CLAUDE = ("claude-opus-4-5-20251101", "claude-sonnet-4-20250514", "claude-3-7-sonnet-latest", "claude-haiku-4-5")
NEWER_CLAUDE = ("claude-opus-4-7", "claude-opus-4-8-20260601", "claude-sonnet-5", "anthropic.claude-haiku-5-5-v1:0")


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-opus-4-6", (4, 6)),
        ("claude-opus-4-7-20260416", (4, 7)),
        ("claude-sonnet-5", (5, 0)),
        ("claude-3-5-haiku-20241022", generations.UNKNOWN),
        ("gpt-4o", generations.UNKNOWN),
    ],
)
def test_the_generation_of_a_claude_is_in_its_name(name: str, generation: generations.Generation) -> None:
    assert generations.claude(name) == generation


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("gemini-2.5-flash-preview-09-2025", (2, 5)),
        ("gemini-3-pro-preview", (3, 0)),
        ("gemini-3.1-flash-lite", (3, 1)),
        ("gemini-flash-latest", generations.NEWEST),
        ("gemini-1.5-pro-latest", (1, 5)),
        ("gemma-3-27b-it", generations.UNKNOWN),
    ],
)
def test_the_generation_of_a_gemini_is_in_its_name(name: str, generation: generations.Generation) -> None:
    assert generations.gemini(name) == generation


def claude(model: str, effort: Effort | None = None, sampling: Sampling = PLAIN) -> dict[str, Any]:
    return messages_body.members_of(Conversation((ASKED,), effort=effort, sampling=sampling), 9_000, model)


@pytest.mark.parametrize("model", OLDER_CLAUDE)
def test_an_older_claude_is_given_a_number_of_tokens_to_think(model: str) -> None:
    body = claude(model, Effort("", 8_192), Sampling(temperature=0.5, top_k=3))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 8_192}
    assert (body["temperature"], body["top_k"]) == (0.5, 3)
    assert "output_config" not in body
    assert claude(model, Effort(off=True))["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("model", NEWER_CLAUDE)
@pytest.mark.parametrize(
    ("tokens", "word"), [(1_024, "low"), (8_192, "medium"), (16_384, "high"), (32_768, "xhigh"), (65_536, "max")]
)
def test_a_newer_claude_is_given_a_word_and_no_sampling(tokens: int, word: str, model: str) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9)
    body = claude(model, Effort("", tokens), sampling)
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": word})
    assert not {"temperature", "top_p", "top_k"} & set(body)
    assert messages_body.refused(Conversation((ASKED,), sampling=sampling), model) == ("temperature", "top_p")


def test_a_claude_in_between_knows_fewer_words_and_takes_sampling() -> None:
    body = claude("claude-opus-4-6", Effort("", 32_768), Sampling(temperature=0.5))
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "max"})
    assert body["temperature"] == 0.5


def test_a_claude_that_always_thinks_thinks_little_when_told_not_to() -> None:
    body = claude("claude-opus-5-5", Effort(off=True))
    assert ("thinking" in body, body["output_config"]) == (False, {"effort": "low"})
    assert claude("claude-opus-4-7", Effort(off=True))["thinking"] == {"type": "disabled"}


def gemini(model: str, *said: Part, effort: Effort | None = None) -> dict[str, Any]:
    messages = (ASKED, Message(Role.ASSISTANT, said)) if said else (ASKED,)
    return gemini_body.members_of(Conversation(messages, effort=effort), None, model)


def signatures(body: dict[str, Any]) -> list[str]:
    return [part.get("thoughtSignature", "") for part in body["contents"][1]["parts"]]


def test_a_newer_gemini_takes_calls_that_another_model_has_made() -> None:
    calls = (CALL, ToolCall("c2", "time", "{}"))
    assert signatures(gemini("gemini-3-pro-preview", *calls)) == [gemini_body.UNSIGNED, ""]
    assert signatures(gemini("gemini-flash-latest", Text("So."), *calls)) == ["", gemini_body.UNSIGNED, ""]
    assert signatures(gemini("gemini-2.5-pro", *calls)) == ["", ""]
    assert signatures(gemini("gemini-3-pro-preview", Text("So."))) == [""]


@pytest.mark.parametrize("said", [(SIGNED, CALL), (Text("So."), SIGNED, CALL), (SIGNED, Text("So."), CALL)])
def test_a_newer_gemini_finds_its_own_signature_at_the_call(said: tuple[Part, ...]) -> None:
    """Callers of chat put what was thought before what was said, wherever it stood."""
    body = gemini("gemini-3-pro-preview", *said)
    assert signatures(body)[-1] == "c2ln"
    assert signatures(body).count("c2ln") == 1


def thinking(model: str, effort: Effort) -> Any:
    return gemini(model, effort=effort)["generationConfig"]["thinkingConfig"]


def test_a_gemini_is_told_how_much_to_think_in_its_own_way() -> None:
    assert thinking("gemini-2.5-flash", Effort("", 8_192)) == {"thinkingBudget": 8_192, "includeThoughts": True}
    assert thinking("gemini-3.1-pro-preview", Effort("", 8_192)) == {"thinkingLevel": "MEDIUM", "includeThoughts": True}
    assert thinking("gemini-2.5-flash", Effort(off=True)) == {"thinkingBudget": 0}
    assert thinking("gemini-2.5-pro", Effort(off=True)) == {"thinkingBudget": 128}
    assert thinking("gemini-3.1-pro-preview", Effort(off=True)) == {"thinkingLevel": "LOW"}
