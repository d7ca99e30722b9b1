"""Every caller's dialect, answered by every provider's: over real sockets, whole and streamed."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ModelRequest
from gateway.wire import anthropic_messages, openai_chat, openai_responses
from tests.dialects.house import Json, ask, body_of, events, kinds, sent, speaking
from tests.rows.house import Document, House
from tests.rows.talk import Seen

CALLERS = ("chat", "messages", "responses")
PROVIDERS = ("openai", "anthropic", "gemini", "chat")
PAIRS = [(caller, provider) for caller in CALLERS for provider in PROVIDERS]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: dict[str, list[Json]] = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "messages": [{"name": "weather", "input_schema": SCHEMA}],
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
}
CALLING: Document = {
    "otherwise": {
        "answer": {
            "thinking": "Let me see.",
            "tool_calls": [
                {"name": "weather", "arguments": {"city": "Paris"}, "fragments": 4},
                {"name": "weather", "arguments": {"city": "Rome"}, "fragments": 2},
            ],
        }
    }
}
ARGUMENTS = ['{"city":"Paris"}', '{"city":"Rome"}']


def said(dialect: str, seen: Seen, *, stream: bool) -> str:
    """The text of an answer, streamed or not."""
    if not stream:
        body = seen.json
        if dialect == "chat":
            return str(body["choices"][0]["message"]["content"])
        if dialect == "messages":
            return "".join(block.get("text", "") for block in body["content"])
        return "".join(p["text"] for item in body["output"] for p in item.get("content", []))
    found = events(seen)
    if dialect == "chat":
        return "".join(c["delta"].get("content") or "" for e in found for c in e.get("choices", ()))
    if dialect == "messages":
        return "".join(e["delta"].get("text", "") for e in found if e["type"] == "content_block_delta")
    return "".join(e["delta"] for e in found if e["type"] == "response.output_text.delta")


def usage(dialect: str, seen: Seen, *, stream: bool) -> tuple[int, int]:
    """Input with what was cached, and output."""
    if dialect == "messages":
        told = [e for e in events(seen) if e["type"] == "message_delta"][-1]["usage"] if stream else seen.json["usage"]
        cached = told.get("cache_read_input_tokens") or 0, told.get("cache_creation_input_tokens") or 0
        start = events(seen)[0]["message"]["usage"] if stream else {}
        fresh = told.get("input_tokens", start.get("input_tokens", 0))
        return fresh + sum(cached), told["output_tokens"]
    if dialect == "responses":
        told = (events(seen)[-1]["response"] if stream else seen.json)["usage"]
        return told["input_tokens"], told["output_tokens"]
    told = (events(seen)[-1] if stream else seen.json)["usage"]
    return told["prompt_tokens"], told["completion_tokens"]


async def asked(house: House, caller: str, *, stream: bool, **more: Any) -> Seen:
    if stream:
        more["stream"] = True
    if stream and caller == "chat":
        more["stream_options"] = {"include_usage": True}
    return await ask(house, caller, body_of(caller, **more))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("caller", "provider"), PAIRS)
async def test_a_text_arrives_and_is_billed_the_same_in_every_dialect(caller: str, provider: str, stream: bool) -> None:
    async with speaking(provider) as house:
        seen = await asked(house, caller, stream=stream)
        assert (seen.status, seen.whole) == (200, True), seen
        assert said(caller, seen, stream=stream) == "Hello from the simulator. You said: hi"
        bill = house.sims[provider].bill[0]
        assert (bill.outcome, house.record.provenance.value) == ("completed", "exact")
        counted = house.record.usage
        assert (counted.input, counted.output) == (bill.input_tokens, bill.output_tokens)
        assert counted.output == 10
        if caller == "messages" and provider == "anthropic" and stream:
            return  # the provider's own bytes
        assert usage(caller, seen, stream=stream) == (counted.input, counted.output)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("caller", "provider"), PAIRS)
async def test_a_tool_round_with_thinking_goes_there_and_back(caller: str, provider: str, stream: bool) -> None:
    """The provider is told the calls that it has made, their results, and what it had thought before."""
    async with speaking(provider, **{provider: CALLING}) as house:
        seen = await asked(house, caller, stream=stream, tools=TOOLS[caller])
        assert seen.status == 200, seen
        calls, replay = _calls_of(caller, seen, stream=stream)
        assert [arguments for _, arguments in calls] == ARGUMENTS
        again = await ask(house, caller, body_of(caller, tools=TOOLS[caller]) | told(caller, calls, replay))
        assert again.status == 200, again
        assert "Hello from the simulator" in said(caller, again, stream=False)
        text = house.sims[provider].requests[-1].body.decode()
        assert text.count("sunny") == 2
        assert all(call_id in text for call_id, _ in calls)
        if provider in ("anthropic", "gemini"):
            assert ("c2ltdWxhdGVk" if provider == "anthropic" else "Z2VtaW5pLXNpbQ==") in text
            assert "gw." not in text


def told(caller: str, calls: list[tuple[str, str]], replay: list[Json]) -> Json:
    """The conversation with the answer and what its calls came to."""
    asking = {"role": "user", "content": "hi"}
    ids = [call_id for call_id, _ in calls]
    if caller == "responses":
        return {
            "input": [
                asking,
                *replay,
                *({"type": "function_call_output", "call_id": call_id, "output": "sunny"} for call_id in ids),
            ]
        }
    if caller == "messages":
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": "sunny"} for call_id in ids]
        return {"messages": [asking, {"role": "assistant", "content": replay}, {"role": "user", "content": blocks}]}
    return {
        "messages": [
            asking,
            *replay,
            *({"role": "tool", "tool_call_id": call_id, "content": "sunny"} for call_id in ids),
        ]
    }


def _calls_of(caller: str, seen: Seen, *, stream: bool) -> tuple[list[tuple[str, str]], list[Json]]:
    """(id, arguments) of each call, and the answer as a client would send it again."""
    if caller == "responses":
        reply = events(seen)[-1]["response"] if stream else seen.json
        output = reply["output"]
        calls = [(i["call_id"], i["arguments"]) for i in output if i["type"] == "function_call"]
        return calls, output
    if caller == "messages":
        blocks = _blocks(events(seen)) if stream else seen.json["content"]
        calls = [(b["id"], _compact(b["input"])) for b in blocks if b["type"] == "tool_use"]
        return calls, blocks
    message = _message(events(seen)) if stream else seen.json["choices"][0]["message"]
    calls = [(c["id"], c["function"]["arguments"]) for c in message["tool_calls"]]
    return calls, [message]


def _compact(value: Any) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value, separators=(",", ":"))


def _blocks(found: list[Json]) -> list[Json]:
    """As the SDK gathers them."""
    import json  # noqa: PLC0415

    blocks: dict[int, Json] = {}
    written: dict[int, str] = {}
    for event in found:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks[event["index"]] = event["content_block"]
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            written[event["index"]] = written.get(event["index"], "") + delta.get("partial_json", "")
    for place, block in blocks.items():
        if block["type"] == "tool_use":
            block["input"] = json.loads(written[place])
    return [blocks[place] for place in sorted(blocks)]


def _message(found: list[Json]) -> Json:
    message: Json = {"role": "assistant", "content": None, "tool_calls": [], "reasoning_details": []}
    for event in found:
        for choice in event["choices"]:
            delta = choice["delta"]
            message["reasoning_details"] += delta.get("reasoning_details", [])
            for piece in delta.get("tool_calls", []):
                if piece["index"] == len(message["tool_calls"]):
                    message["tool_calls"].append({**piece, "function": {**piece["function"]}})
                else:
                    message["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return message


@pytest.mark.parametrize(("caller", "provider"), PAIRS)
async def test_citations_arrive(caller: str, provider: str) -> None:
    told = {"text": "It is so.", "citations": [{"url": "https://x.org/a", "title": "A"}]}
    async with speaking(provider, **{provider: {"otherwise": {"answer": told}}}) as house:
        for stream in (False, True):
            seen = await asked(house, caller, stream=stream)
            assert seen.status == 200
            assert said(caller, seen, stream=stream) == "It is so."
            assert b'"url":"https://x.org/a","title":"A"' in seen.body


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_anthropic_stream_has_its_events_in_their_order(provider: str) -> None:
    script = {"otherwise": {"answer": {"thinking": "Hm.", "text": "Yes."}}}
    async with speaking(provider, **{provider: script}) as house:
        seen = await asked(house, "messages", stream=True)
        told = [kind for kind in kinds(events(seen)) if kind != "ping"]
        block = ["content_block_start", "content_block_delta", "content_block_stop"]
        assert told == ["message_start", *block, *block, "message_delta", "message_stop"]
        assert seen.headers["request-id"] == seen.headers["x-request-id"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_responses_stream_has_its_events_in_their_order(provider: str) -> None:
    async with speaking(provider) as house:
        seen = await asked(house, "responses", stream=True)
        found = events(seen)
        assert kinds(found) == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert [event["sequence_number"] for event in found] == list(range(len(found)))


ERRORS = {400: "invalid_request_error", 413: "request_too_large"}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_refusal_leaves_in_the_callers_dialect(provider: str) -> None:
    fault = {"kind": "status", "status": 400, "message": "no such thing as 'x'"}
    async with speaking(provider, **{provider: {"otherwise": {"fault": fault}}}) as house:
        seen = await asked(house, "messages", stream=False)
        assert (seen.status, seen.json["type"]) == (400, "error")
        assert seen.error["type"] == "invalid_request_error"
        assert seen.error["message"] == fault["message"]
        assert seen.json["request_id"] == seen.headers["request-id"]
        for caller in ("chat", "responses"):
            seen = await asked(house, caller, stream=False)
            assert (seen.status, seen.error["message"], seen.error["fault"]) == (400, fault["message"], "caller")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [429, 500, 503, 529, 401])
async def test_every_provider_is_left_for_the_next_when_it_fails(provider: str, status: int) -> None:
    fault = {"kind": "status", "status": status}
    other = "anthropic_b" if provider != "anthropic" else "gemini_b"
    async with speaking(provider, other, **{provider: {"otherwise": {"fault": fault}}}) as house:
        seen = await asked(house, "chat", stream=True)
        assert said("chat", seen, stream=True).startswith("Hello from the simulator")
        assert seen.headers["x-gateway-target"] == f"{other}/gpt"


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "openai"])
async def test_a_context_error_goes_to_a_larger_context_in_another_dialect(provider: str) -> None:
    fault = {"kind": "status", "code": "context_length_exceeded", "status": 400}
    other = "gemini_b" if provider != "gemini" else "anthropic_b"
    async with speaking(provider, other, **{provider: {"otherwise": {"fault": fault}}}) as house:
        rows = house.document["models"]["m"]["targets"]
        rows[0]["context_tokens"], rows[1]["context_tokens"] = 200_000, 1_000_000
        house.reload()
        seen = await asked(house, "chat", stream=False)
        assert seen.headers["x-gateway-target"] == f"{other}/gpt"
        assert house.failures == ["context_length", None]


async def test_a_broken_stream_ends_with_the_callers_own_error_event() -> None:
    script = {"otherwise": {"fault": {"kind": "truncate", "after_events": 3}}}
    for provider in ("openai", "anthropic", "gemini"):
        async with speaking(provider, **{provider: script}) as house:
            seen = await asked(house, "messages", stream=True)
            last = events(seen)[-1]
            assert (last["type"], last["error"]["type"]) == ("error", "api_error")
            seen = await asked(house, "responses", stream=True)
            last = events(seen)[-1]
            assert (last["type"], last["error"]["code"]) == ("error", "upstream_truncated")


async def test_what_cannot_be_said_is_refused_with_its_field_or_dropped_by_name() -> None:
    more = {"n": 2, "user": "u", "logit_bias": {"5": 1}, "seed": 3}
    async with speaking("anthropic") as house:
        seen = await asked(house, "chat", stream=False, **more)
        assert (seen.status, seen.error["param"]) == (400, "logit_bias")
        assert house.calls("anthropic") == 0
        seen = await asked(house, "chat", stream=False, user="u", seed=3)
        assert (seen.status, seen.headers["x-gateway-dropped"]) == (200, "seed")
        assert sent(house, "anthropic")["metadata"] == {"user_id": "u"}
    async with speaking("anthropic", route={"untranslatable": "drop"}) as house:
        seen = await asked(house, "chat", stream=False, **more)
        assert seen.status == 200
        assert set(seen.headers["x-gateway-dropped"].split(", ")) == {"logit_bias", "n", "seed"}
        assert set(house.record.dropped) == {"logit_bias", "n", "seed"}
    async with speaking("anthropic", "openai") as house:
        seen = await asked(house, "chat", stream=False, **more)
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt")
        assert [drop.reason for drop in house.record.drops] == ["untranslatable"]


async def test_unknown_fields_and_headers_pass_on_the_same_dialect() -> None:
    async with speaking("anthropic") as house:
        body = body_of("messages", mystery={"a": [1, 2.50]}, context_management={"edits": []})
        seen = await ask(house, "messages", body, {"anthropic-beta": "x-2026", "anthropic-version": "2026-10-21"})
        assert seen.status == 200
        assert b'"mystery":{"a":[1,2.5' in house.sims["anthropic"].requests[-1].body.replace(b" ", b"")
        got = house.sims["anthropic"].requests[-1]
        assert (got.header("anthropic-beta"), got.header("anthropic-version")) == ("x-2026", "2026-10-21")
        assert got.header("x-api-key").startswith("sk-canary")
        assert not got.header("authorization")


async def test_each_provider_gets_its_key_in_its_own_header() -> None:
    headers = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
    for provider, header in headers.items():
        async with speaking(provider) as house:
            assert (await asked(house, "chat", stream=False)).status == 200
            got = house.sims[provider].requests[-1]
            assert [name for name in headers.values() if got.header(name)] == [header]


async def test_what_the_system_says_in_between_is_said_first_elsewhere() -> None:
    """As Claude Code has it since 2026."""
    talk = [{"role": "user", "content": "hi"}, {"role": "system", "content": "Be brief."}]
    async with speaking("openai") as house:
        seen = await ask(house, "messages", body_of("messages", messages=talk, system="Be kind."))
        assert seen.status == 200
        said = [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]
        asked = [{"role": "system", "content": said}, {"role": "user", "content": "hi"}]
        assert sent(house, "openai")["messages"] == asked


async def test_cache_marks_survive_or_are_named() -> None:
    marked = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    async with speaking("anthropic") as house:
        body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": marked}]}
        assert (await ask(house, "messages", body)).status == 200
        assert sent(house, "anthropic")["messages"][0]["content"] == marked
        assert (await ask(house, "chat", body)).status == 200
        assert sent(house, "anthropic")["messages"][0]["content"] == marked
    async with speaking("gemini") as house:
        seen = await ask(house, "messages", body)
        assert (seen.status, seen.headers["x-gateway-dropped"]) == (200, "cache_control")


async def test_an_output_limit_is_written_in_the_providers_field() -> None:
    async with speaking("gemini") as house:
        assert (await asked(house, "chat", stream=False, max_tokens=77)).status == 200
        assert sent(house, "gemini")["generationConfig"]["maxOutputTokens"] == 77
    async with speaking("anthropic") as house:
        assert (await asked(house, "responses", stream=False, max_output_tokens=77)).status == 200
        assert sent(house, "anthropic")["max_tokens"] == 77
    async with speaking("chat") as house:
        assert (await asked(house, "messages", stream=False, max_tokens=77)).status == 200
        assert sent(house, "chat")["max_tokens"] == 77


async def test_tokens_are_counted_without_a_call() -> None:
    async with speaking("anthropic") as house:
        body = body_of("messages", "word " * 100)
        del body["max_tokens"]
        seen = await ask(house, "messages", body, path="/v1/messages/count_tokens")
        assert seen.status == 200
        assert 80 <= seen.json["input_tokens"] <= 130
        seen = await ask(house, "messages", body | {"model": "none"}, path="/v1/messages/count_tokens")
        assert (seen.status, seen.error["type"]) == (404, "not_found_error")
        assert house.calls("anthropic") == 0


async def test_a_response_is_followed_only_where_it_was_made() -> None:
    async with speaking("openai", "openai_b", openai_b={"seed": 7}) as house:
        first = (await asked(house, "responses", stream=False)).json["id"]
        house.script("openai", otherwise={"fault": {"kind": "status", "status": 500}})
        elsewhere = await asked(house, "responses", stream=False)
        assert elsewhere.headers["x-gateway-target"] == "openai_b/gpt"
        house.script("openai")
        follow = await asked(house, "responses", stream=True, previous_response_id=elsewhere.json["id"])
        assert (follow.status, follow.headers["x-gateway-target"]) == (200, "openai_b/gpt"), follow
        follow = await asked(house, "responses", stream=False, previous_response_id=first)
        assert (follow.status, follow.headers["x-gateway-target"]) == (200, "openai/gpt"), follow
    async with speaking("anthropic") as house:
        seen = await asked(house, "responses", stream=False, previous_response_id="resp_1")
        assert (seen.status, seen.error["code"]) == (400, "no_target_fits")


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (openai_chat.parse, '{"model":"m","messages":[{"role":"user","content":"hi"}],"user":"%s"}'),
        (openai_chat.parse, '{"model":"m","messages":[{"role":"user","content":"hi"}],"service_tier":"%s"}'),
        (openai_responses.parse, '{"model":"m","input":"hi","user":"%s"}'),
        (
            anthropic_messages.parse,
            '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"metadata":{"user_id":"%s"}}',
        ),
    ],
)
def test_a_name_that_goes_into_the_books_is_not_of_any_length(
    parse: Callable[[bytes], ModelRequest], body: str
) -> None:
    longest = parse((body % ("é" * 1024)).encode())
    assert "é" * 1024 in (longest.user, longest.service_tier)
    with pytest.raises(InvalidRequest, match=r"has 1025 letters; send at most 1024"):
        parse((body % ("é" * 1025)).encode())
