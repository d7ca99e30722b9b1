"""F3 across dialects: a conversation goes on from OpenAI to Anthropic to Gemini, and no caller notices."""

import asyncio
import json
from typing import Any

import pytest

from gateway.providers.gemini_body import UNSIGNED
from tests.chaos.test_failover import BREAKING, PAUSING
from tests.dialects.house import ask, body_of, events, sent, speaking
from tests.dialects.test_doors import ARGUMENTS, CALLING, TOOLS, _calls_of, asked, said, told, usage
from tests.rows.house import PRICE

ORDER = ("openai", "anthropic", "gemini")
STREAMS = ("chat", "messages", "responses")
FAULTS = {**BREAKING, **PAUSING}


@pytest.mark.parametrize("way", FAULTS)
async def test_f3_two_providers_of_other_dialects_stand_in_for_the_first(way: str) -> None:
    """The last of the three answers; every caller gets a whole answer in its own dialect, billed once."""
    bad = {"otherwise": FAULTS[way]}
    async with speaking(*ORDER, openai=bad, anthropic=bad) as house:
        for stream in (True, False):
            if way == "garbage" and not stream:
                continue
            answers = await asyncio.gather(*(asked(house, caller, stream=stream) for caller in STREAMS))
            for caller, seen in zip(STREAMS, answers, strict=True):
                assert (seen.status, seen.whole) == (200, True), (caller, seen)
                assert said(caller, seen, stream=stream) == "Hello from the simulator. You said: hi"
                assert seen.headers["x-gateway-target"] == "gemini/gpt"
                assert usage(caller, seen, stream=stream)[1] == 10
        bills = [line for line in house.sims["gemini"].bill if line.outcome == "completed"]
        assert len(bills) == len([record for record in house.records if record.status == 200])


async def test_f3_a_tool_round_begun_at_one_provider_ends_at_another() -> None:
    """What the first had thought and signed is left out for the others, and comes back to it unharmed."""
    async with speaking(*ORDER, **dict.fromkeys(ORDER, CALLING)) as house:
        talk: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
        for down in ((), ("openai",), ("openai", "anthropic"), ("openai", "gemini")):
            for name in ORDER:
                house.script(name, **({"otherwise": {"fault": {"kind": "reset"}}} if name in down else CALLING))
            seen = await ask(
                house, "messages", body_of("messages", tools=TOOLS["messages"], messages=talk, stream=True)
            )
            assert seen.status == 200, seen
            calls, blocks = _calls_of("messages", seen, stream=True)
            assert [arguments for _, arguments in calls] == ARGUMENTS
            results = [{"type": "tool_result", "tool_use_id": call_id, "content": "sunny"} for call_id, _ in calls]
            asking = [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
            seen = await ask(house, "messages", body_of("messages", tools=TOOLS["messages"], messages=talk + asking))
            assert (seen.status, "Hello from" in said("messages", seen, stream=False)) == (200, True), seen
            talk += [*asking, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "and now?"}]
        served = [record.attempts[-1].provider for record in house.records]
        assert served == ["openai", "openai", "anthropic", "anthropic", "gemini", "gemini", "anthropic", "anthropic"]
        last = json.loads(house.sims["anthropic"].requests[-1].body)
        blocks = [block for message in last["messages"] for block in message["content"] if isinstance(block, dict)]
        thoughts = [block for block in blocks if block["type"] == "thinking"]
        assert [thought["signature"] for thought in thoughts] == ["c2ltdWxhdGVk"] * 2


@pytest.mark.parametrize("caller", STREAMS)
async def test_f3_a_gemini_that_wants_signatures_takes_over_in_the_middle_of_a_round(caller: str) -> None:
    """The calls are another model's, whose signature it would refuse, and so would it calls without one."""
    async with speaking("anthropic", "gemini", anthropic=CALLING) as house:
        model = house.document["models"]["m"]["targets"][1]["model"] = "gemini-3.1-pro-preview"
        house.document["prices"]["overrides"].append({"provider": "gemini", "model": model, **PRICE})
        house.reload()
        seen = await asked(house, caller, stream=True, tools=TOOLS[caller])
        calls, replay = _calls_of(caller, seen, stream=True)
        house.script("anthropic", otherwise={"fault": {"kind": "reset"}})
        body = body_of(caller, tools=TOOLS[caller]) | told(caller, calls, replay)
        seen = await ask(house, caller, body)
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "gemini/gemini-3.1-pro-preview"), seen
        parts = [part for content in sent(house, "gemini")["contents"] for part in content["parts"]]
        made = [part.get("thoughtSignature") for part in parts if "functionCall" in part]
        assert made == [UNSIGNED, None]
        assert sum("functionResponse" in part for part in parts) == 2


async def test_f5_a_call_that_breaks_half_way_is_never_spliced_from_two_providers() -> None:
    cut = {"otherwise": {**CALLING["otherwise"], "fault": {"kind": "truncate", "after_events": 3}}}
    for caller in STREAMS:
        async with speaking("anthropic", "gemini", anthropic=cut, gemini=CALLING) as house:
            seen = await asked(house, caller, stream=True, tools=TOOLS[caller])
            assert seen.headers["x-gateway-target"] == "anthropic/gpt"
            assert b"Rome" not in seen.body
            assert "error" in events(seen)[-1]
            assert house.calls("gemini") == 0


@pytest.mark.parametrize("policy", ["refuse", "next"])
async def test_a_filtered_request_goes_on_only_where_the_route_says_so(policy: str) -> None:
    fault = {"kind": "status", "status": 400, "code": "content_filter"}
    route = {"content_filter": policy}
    async with speaking("openai", "anthropic", route=route, openai={"otherwise": {"fault": fault}}) as house:
        seen = await asked(house, "chat", stream=False)
        if policy == "next":
            assert (seen.status, seen.headers["x-gateway-target"]) == (200, "anthropic/gpt")
        else:
            assert (seen.status, seen.error["code"], house.calls("anthropic")) == (400, "content_filter", 0)


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
@pytest.mark.parametrize("caller", STREAMS)
async def test_b3_a_stream_is_cut_at_its_reservation_in_every_dialect(caller: str, provider: str) -> None:
    endless = {"otherwise": {"answer": {"ignore_output_limit": True, "text_chars": 8000}}}
    limit = {"chat": "max_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}[caller]
    tenant = {"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [{"usd": 1, "per": "day"}]}
    async with speaking(provider, extra={"tenants": [tenant]}, **{provider: endless}) as house:
        seen = await asked(house, caller, stream=True, **{limit: 100})
        last = events(seen)[-1]["error"]
        assert last["code"] == "reservation_exhausted", seen
        assert len(said(caller, seen, stream=True)) <= 100 * 5
        assert 100 <= house.record.usage.output <= 130
