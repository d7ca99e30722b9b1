"""Good answers in every dialect, streamed and not."""

import base64
import math
import struct
from typing import Any

import pytest

from tests.sim.talk import CHAT, MESSAGES, SAY_HI, Answer, one, simulator, streamed

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        },
    },
}
FLAT_TOOL = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]  # the same, flat
CLAUDE_TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
WEATHER = {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}, "fragments": 4}]}
TWO_CALLS = {"tool_calls": [{"name": "get_weather", "arguments": {"city": c}} for c in ("Oslo", "Rome")]}


def text_of(answer: Answer, choice: int = 0) -> str:
    chunks = [c for e in answer.data() if e != "[DONE]" for c in e["choices"] if c["index"] == choice]
    return "".join(c["delta"].get("content") or "" for c in chunks)


async def test_a_first_curl_gets_its_own_words_back() -> None:
    async with simulator() as sim:
        got = await one(sim)
    reply = got.json()
    assert (got.status, reply["object"], reply["model"]) == (200, "chat.completion", "gpt-x")
    [choice] = reply["choices"]
    assert "hi there" in choice["message"]["content"]
    assert (choice["finish_reason"], choice["message"]["role"]) == ("stop", "assistant")
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
    assert got.headers["x-request-id"].startswith("req_")


async def test_paths_are_taken_with_and_without_v1() -> None:
    async with simulator() as sim:
        assert [(await one(sim, path)).status for path in (CHAT, CHAT[3:])] == [200, 200]


async def test_the_same_seed_and_calls_give_the_same_bytes() -> None:
    async def run(seed: int) -> bytes:
        async with simulator({"answer": {"text_chars": 200}}, seed=seed) as sim:
            text: bytes = (await one(sim)).json()["choices"][0]["message"]["content"].encode()
            return text

    assert await run(1) == await run(1) != await run(2)


async def test_a_chat_stream_has_role_pieces_finish_usage_and_done() -> None:
    async with simulator() as sim:
        got = await one(sim, CHAT, streamed(stream_options={"include_usage": True}))
        whole = await one(sim)
    *chunks, done = got.data()
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert text_of(got) == whole.json()["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole.json()["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}


async def test_a_chat_stream_without_the_wish_has_no_usage() -> None:
    async with simulator() as sim:
        got = await one(sim, CHAT, streamed())
    assert all("usage" not in chunk for chunk in got.data()[:-1])


async def test_text_length_events_and_choices_can_be_set() -> None:
    async with simulator({"answer": {"text_chars": 1000, "events": 7}}) as sim:
        got = await one(sim, CHAT, streamed(n=2))
    assert [len(text_of(got, at)) for at in (0, 1)] == [1000, 1000]
    content = [e for e in got.data()[:-1] for c in e["choices"] if c["delta"].get("content")]
    assert len(content) == 14


async def test_max_tokens_cuts_the_text() -> None:
    async with simulator({"answer": {"text_chars": 1000}}) as sim:
        got = await one(sim, CHAT, {**SAY_HI, "max_tokens": 500, "max_completion_tokens": 10})
    reply = got.json()
    assert (len(reply["choices"][0]["message"]["content"]), reply["choices"][0]["finish_reason"]) == (40, "length")
    assert reply["usage"]["completion_tokens"] == 10


async def test_tool_calls_then_text_after_the_result() -> None:
    async with simulator({"answer": TWO_CALLS}) as sim:
        got = await one(sim, CHAT, {**SAY_HI, "tools": [TOOL]})
        message = got.json()["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
        after = await one(sim, CHAT, {**SAY_HI, "tools": [TOOL], "messages": [*SAY_HI["messages"], message, result]})
    assert [c["function"]["arguments"] for c in message["tool_calls"]] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert got.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert after.json()["choices"][0]["finish_reason"] == "stop"
    assert after.json()["choices"][0]["message"]["content"]


async def test_streamed_tool_calls_come_in_fragments_with_their_index() -> None:
    async with simulator({"answer": {"tool_calls": WEATHER["tool_calls"] * 2}}) as sim:
        got = await one(sim, CHAT, streamed(tools=[TOOL]))
    deltas = [d for e in got.data()[:-1] for c in e["choices"] for d in c["delta"].get("tool_calls", ())]
    assert [d["function"]["name"] for d in deltas if "id" in d] == ["get_weather"] * 2
    for place in (0, 1):
        fragments = [d["function"]["arguments"] for d in deltas if d["index"] == place]
        assert len(fragments) == 5
        assert "".join(fragments) == '{"city":"Oslo"}'


@pytest.mark.parametrize(
    "more",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        {"messages": [{"role": "user", "content": "use get_weather please"}]},
    ],
)
async def test_an_insisting_request_gets_a_call_that_fits_the_schema(more: dict[str, Any]) -> None:
    async with simulator() as sim:
        got = await one(sim, CHAT, {**SAY_HI, "tools": [TOOL], **more})
    [call] = got.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert '"days":1,"unit":"C"' in call["function"]["arguments"]


async def test_a_json_schema_is_answered_with_json() -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "list": {"type": "array", "items": {"type": "null"}}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with simulator() as sim:
        got = await one(sim, CHAT, {**SAY_HI, "response_format": form})
    assert got.json()["choices"][0]["message"]["content"] == '{"answer":"hi there","list":[null]}'


@pytest.mark.parametrize(
    ("kind", "shown"), [("zero", 0), ("huge", 10**12), ("negative", -5), ("null", None), ("never", "missing")]
)
async def test_usage_can_be_wrong(kind: str, shown: object) -> None:
    async with simulator({"answer": {"usage": kind}}) as sim:
        got = (await one(sim)).json()
        await sim.idle()
        assert sim.bill[0].output_tokens == 11
    usage = got.get("usage", "missing")
    assert (usage["completion_tokens"] if isinstance(usage, dict) else usage) == shown


async def test_cached_and_reasoning_tokens_are_reported_and_billed() -> None:
    async with simulator({"answer": {"input_tokens": 100, "cached_tokens": 60, "reasoning_tokens": 20}}) as sim:
        usage = (await one(sim)).json()["usage"]
        await sim.idle()
        [line] = sim.bill
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (100, 60)
    assert (usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]) == (31, 20)
    assert (line.input_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens) == (100, 60, 31, 20)


async def test_refusal_empty_choices_and_content_filter() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"requests": 1}, "answer": {"refusal": "No."}},
        {"when": {"requests": 1}, "answer": {"empty_choices": True}},
        {"answer": {"finish_reason": "content_filter", "text": "Once"}},
    ]
    async with simulator(*rules) as sim:
        refused, empty, filtered = [(await one(sim)).json()["choices"] for _ in range(3)]
    assert (refused[0]["message"]["refusal"], refused[0]["message"]["content"]) == ("No.", None)
    assert empty == []
    assert (filtered[0]["finish_reason"], filtered[0]["message"]["content"]) == ("content_filter", "Once")


async def test_an_anthropic_message() -> None:
    answer = {"text": "Hi", "cached_tokens": 3, "cache_write_tokens": 1, "input_tokens": 10, "thinking": "hmm"}
    async with simulator({"answer": answer}) as sim:
        got = await one(sim, MESSAGES, {**SAY_HI, "max_tokens": 99})
    reply = got.json()
    assert [block["type"] for block in reply["content"]] == ["thinking", "text"]
    assert (reply["type"], reply["role"], reply["stop_reason"]) == ("message", "assistant", "end_turn")
    usage = reply["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (6, 3, 1)
    assert usage["output_tokens"] == 2
    assert "request-id" in got.headers


async def test_an_anthropic_stream_follows_its_grammar() -> None:
    answer = {
        "text": "Hello you",
        "thinking": "hmm",
        "tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}],
    }
    async with simulator({"answer": answer}) as sim:
        got = await one(sim, MESSAGES, streamed(tools=[CLAUDE_TOOL]))
        await sim.idle()
        [line] = sim.bill
    events = got.data()
    assert got.names() == [event["type"] for event in events]
    assert got.names()[:2] == ["message_start", "ping"]
    assert got.names()[-2:] == ["message_delta", "message_stop"]
    starts = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use"]
    partial = "".join(e["delta"].get("partial_json", "") for e in events if e["type"] == "content_block_delta")
    assert partial == '{"city":"Oslo"}'
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"]["output_tokens"] == line.output_tokens


async def test_anthropic_tool_result_is_answered_with_text_and_tokens_are_counted() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Oslo"}}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]},
    ]
    body = {"model": "c", "system": "be kind", "tools": [CLAUDE_TOOL], "messages": turns}
    async with simulator({"answer": WEATHER}) as sim:
        got = (await one(sim, MESSAGES, {**body, "max_tokens": 50})).json()
        count = (await one(sim, f"{MESSAGES}/count_tokens", body)).json()
        await sim.idle()
        billed = [(line.input_tokens, line.output_tokens) for line in sim.bill]
    assert (got["stop_reason"], got["content"][0]["type"]) == ("end_turn", "text")
    assert count == {"input_tokens": got["usage"]["input_tokens"]}
    assert billed == [(count["input_tokens"], got["usage"]["output_tokens"]), (0, 0)]


async def test_a_response_and_its_continuation() -> None:
    async with simulator() as sim:
        first = await one(sim, "/v1/responses", {"model": "m", "input": "hello"})
        again = await one(
            sim, "/v1/responses", {"model": "m", "input": "x", "previous_response_id": first.json()["id"]}
        )
        lost = await one(sim, "/v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp_elsewhere"})
    reply = first.json()
    assert (reply["object"], reply["status"]) == ("response", "completed")
    assert "hello" in reply["output"][0]["content"][0]["text"]
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert (again.status, lost.status) == (200, 400)
    assert lost.json()["error"]["code"] == "previous_response_not_found"


async def test_a_response_stream_follows_its_core_path() -> None:
    async with simulator({"answer": {"text": "Hello you", "events": 2, **WEATHER}}) as sim:
        got = await one(sim, "/v1/responses", {"model": "m", "input": "x", "stream": True, "tools": [FLAT_TOOL]})
    events = got.data()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert got.names() == [event["type"] for event in events]
    kinds = [name.removeprefix("response.") for name in got.names()]
    assert kinds[:7] == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "output_text.delta", "output_text.delta", "output_text.done",
    ]  # fmt: skip
    assert kinds[7:10] == ["content_part.done", "output_item.done", "output_item.added"]
    assert kinds[10:] == [
        *["function_call_arguments.delta"] * 4,
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    final = events[-1]["response"]
    assert [item["type"] for item in final["output"]] == ["message", "function_call"]
    assert final["usage"]["output_tokens"] > 0


async def test_a_response_cut_by_its_limit_is_incomplete() -> None:
    async with simulator({"answer": {"text_chars": 100}}) as sim:
        body = {"model": "m", "input": "x", "max_output_tokens": 3}
        whole = (await one(sim, "/v1/responses", body)).json()
        last = (await one(sim, "/v1/responses", {**body, "stream": True})).data()[-1]
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert last["type"] == "response.incomplete"


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [("four", 1, 1), (["a", "bbbbb"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
async def test_embeddings_of_every_input_form(given: object, count: int, tokens: int) -> None:
    async with simulator() as sim:
        floats = (await one(sim, "/v1/embeddings", {"model": "e", "input": given, "dimensions": 8})).json()
        packed = (
            await one(
                sim, "/v1/embeddings", {"model": "e", "input": given, "dimensions": 8, "encoding_format": "base64"}
            )
        ).json()
    assert [one["index"] for one in floats["data"]] == list(range(count))
    assert floats["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    vector = floats["data"][0]["embedding"]
    assert math.isclose(sum(v * v for v in vector), 1.0)
    assert struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(vector, abs=1e-6)


async def test_models_in_both_shapes() -> None:
    async with simulator(models=["m1", "m2"]) as sim:
        theirs = (await one(sim, "/v1/models", b"", {"anthropic-version": "2023-06-01"}, "GET")).json()
        by_name = (await one(sim, "/v1/models/m2", b"", None, "GET")).json()
        missing = await one(sim, "/v1/models/m3", b"", None, "GET")
        assert (await one(sim)).status == 404
    assert [(one["type"], one["id"]) for one in theirs["data"]] == [("model", "m1"), ("model", "m2")]
    assert (by_name["id"], missing.status) == ("m2", 404)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, b"{", None),
        (CHAT, b"[]", None),
        (CHAT, {"messages": []}, "model"),
        (CHAT, {"model": "m", "messages": []}, "messages"),
        (CHAT, {**SAY_HI, "max_tokens": -1}, "max_tokens"),
        (CHAT, {**SAY_HI, "n": True}, "n"),
        ("/v1/embeddings", {"model": "m", "input": ""}, "input"),
        ("/v1/embeddings", {"model": "m", "input": "x", "dimensions": 0}, "dimensions"),
        ("/v1/responses", {"model": "m", "input": []}, "input"),
    ],
)
async def test_a_bad_request_is_refused_and_costs_nothing(path: str, body: object, param: str | None) -> None:
    async with simulator() as sim:
        got = await one(sim, path, body)
        await sim.idle()
        [line] = sim.bill
    assert (got.status, got.json()["error"]["param"]) == (400, param)
    assert got.json()["error"]["type"] == "invalid_request_error"
    assert (line.outcome, line.input_tokens, line.output_tokens) == ("refused", 0, 0)


async def test_wrong_paths_methods_keys_and_a_missing_version_are_refused() -> None:
    async with simulator(keys=["key-1"]) as sim:
        assert (await one(sim, "/v1/nowhere")).status == 404
        assert (await one(sim, CHAT, b"", None, "GET")).status == 405
        assert (await one(sim, CHAT, SAY_HI, {"authorization": "Bearer other"})).status == 401
        assert (await one(sim, MESSAGES, streamed(), {"x-api-key": "key-1"})).status == 200
        assert (await one(sim, MESSAGES, streamed(), {"anthropic-version": ""})).status == 400
        assert (await one(sim, MESSAGES, SAY_HI)).json()["error"]["type"] == "invalid_request_error"
