"""The simulator as Gemini: its bodies, its streams, its tools, thoughts and citations, and its errors."""

from typing import Any

import pytest

from tests.sim.talk import Answer, one, simulator

HERE = "/v1beta/models/gemini-x:"
ASKED: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi there"}]}]}
TOLD = {
    "thinking": "Let me see.",
    "text": "It is so.",
    "citations": [{"url": "https://x.org/a", "title": "A"}],
    "tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}],
    "reasoning_tokens": 5,
    "cached_tokens": 1,
}
GROUNDED = {
    "groundingChunks": [{"web": {"uri": "https://x.org/a", "title": "A"}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 9}, "groundingChunkIndices": [0]}],
}


def parts_of(answer: Answer) -> list[dict[str, Any]]:
    events = answer.data() if answer.headers["content-type"].startswith("text/event-stream") else [answer.json()]
    return [part for event in events for part in event["candidates"][0]["content"]["parts"]]


async def test_a_whole_answer_and_a_stream_tell_the_same() -> None:
    async with simulator({"answer": TOLD}) as sim:
        whole = await one(sim, f"{HERE}generateContent", ASKED)
        stream = await one(sim, f"{HERE}streamGenerateContent?alt=sse", ASKED)
        await sim.idle()
        assert {line.outcome for line in sim.bill} == {"completed"}
        bill = sim.bill[0]
    for answer in (whole, stream):
        assert (answer.status, answer.whole) == (200, True)
        parts = parts_of(answer)
        assert [part["text"] for part in parts if part.get("thought")] == ["Let me see."]
        assert "".join(part["text"] for part in parts if "text" in part and not part.get("thought")) == "It is so."
        [call] = [part for part in parts if "functionCall" in part]
        assert (call["functionCall"]["name"], call["functionCall"]["args"]) == ("weather", {"city": "Paris"})
        assert call["thoughtSignature"]
        last = answer.data()[-1] if answer is stream else answer.json()
        assert last["candidates"][0]["finishReason"] == "STOP"
        assert last["candidates"][0]["groundingMetadata"] == GROUNDED
        usage = last["usageMetadata"]
        assert (usage["thoughtsTokenCount"], usage["cachedContentTokenCount"]) == (8, 1)
        assert usage["candidatesTokenCount"] + 8 == bill.output_tokens
        assert usage["promptTokenCount"] == bill.input_tokens
    assert b"[DONE]" not in stream.body


async def test_a_tools_result_is_answered_with_text_and_a_limit_cuts_it() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]}
    result = {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}]}
    body = {"contents": [*ASKED["contents"], call, result], "generationConfig": {"maxOutputTokens": 3}}
    async with simulator({"answer": {"tool_calls": TOLD["tool_calls"]}}) as sim:
        answer = (await one(sim, f"{HERE}generateContent", body)).json()
    [candidate] = answer["candidates"]
    assert (list(candidate["content"]["parts"][0]), candidate["finishReason"]) == (["text"], "MAX_TOKENS")
    assert answer["usageMetadata"]["candidatesTokenCount"] == 3


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        ({"status": 400}, 400, "INVALID_ARGUMENT"),
        ({"status": 401}, 401, "UNAUTHENTICATED"),
        ({"status": 403}, 403, "PERMISSION_DENIED"),
        ({"status": 404}, 404, "NOT_FOUND"),
        ({"status": 429}, 429, "RESOURCE_EXHAUSTED"),
        ({"status": 500}, 500, "INTERNAL"),
        ({"status": 503}, 503, "UNAVAILABLE"),
        ({"status": 504}, 504, "DEADLINE_EXCEEDED"),
        ({"code": "context_length_exceeded"}, 400, "INVALID_ARGUMENT"),
        ({"like": "gemini/day"}, 429, "RESOURCE_EXHAUSTED"),
    ],
)
async def test_its_errors(fault: dict[str, Any], status: int, word: str) -> None:
    async with simulator({"fault": {"kind": "status", **fault}}) as sim:
        for method in ("generateContent", "streamGenerateContent?alt=sse"):
            answer = await one(sim, HERE + method, ASKED)
            error = answer.json()["error"]
            assert (answer.status, error["code"], error["status"]) == (status, status, word)
            assert error["message"]


async def test_a_key_and_a_model_that_it_does_not_know_are_refused() -> None:
    async with simulator(keys=["key-1"], models=["gemini-x"]) as sim:
        path = f"{HERE}generateContent"
        assert (await one(sim, path, ASKED, {"x-goog-api-key": "key-1"})).status == 200
        assert (await one(sim, path, ASKED, {"x-goog-api-key": "key-2"})).json()["error"]["status"] == "UNAUTHENTICATED"
        assert (await one(sim, path.replace("gemini-x", "y"), ASKED)).json()["error"]["status"] == "NOT_FOUND"
