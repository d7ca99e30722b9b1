"""What the other side cannot express: refused before a call with its field, or dropped and named."""

from typing import Any

import pytest

from tests.dialects.house import PATHS, Json, ask, body_of, sent, speaking
from tests.dialects.test_doors import CALLERS, PAIRS, PROVIDERS
from tests.rows.house import House
from tests.rows.talk import Seen

NATIVE = {("chat", "openai"), ("chat", "chat"), ("responses", "openai"), ("messages", "anthropic")}
OTHERS = sorted(set(PAIRS) - NATIVE)
FIELDS: dict[str, Json] = {
    "chat": {"logit_bias": {"5": 1}, "mystery": {"a": 1}, "web_search_options": {"search_context_size": "low"}},
    "messages": {
        "mystery": {"a": 1},
        "mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}],
    },
    "responses": {"truncation": "auto", "mystery": {"a": 1}, "max_tool_calls": 2},
}
KEPT: Json = {"previous_response_id": "resp_1", "conversation": "conv_1", "prompt": {"id": "p"}, "background": True}
"""Fields of a response that are never dropped."""


def named(house: House, seen: Seen) -> set[str]:
    """The fields that were dropped, as the caller and the record are told."""
    told = set(filter(None, seen.headers.get("x-gateway-dropped", "").split(", ")))
    assert told == set(house.record.dropped)
    return told


@pytest.mark.parametrize(("caller", "provider"), OTHERS)
async def test_a_field_that_cannot_be_said_is_refused_before_a_call_or_dropped_by_name(
    caller: str, provider: str
) -> None:
    async with speaking(provider) as house:
        for field, value in FIELDS[caller].items():
            seen = await ask(house, caller, body_of(caller, **{field: value}))
            assert seen.status == 400, (field, seen)
            if caller != "messages":
                assert seen.error["param"] == field
            assert repr(field) in seen.error["message"]
            assert house.record.dropped == ()
        assert house.calls(provider) == 0
        house.document["models"]["m"]["untranslatable"] = "drop"
        house.reload()
        for stream in (False, True):
            more: Json = {"stream": True} if stream else {}
            seen = await ask(house, caller, body_of(caller, **FIELDS[caller], **more))
            assert (seen.status, seen.whole) == (200, True), seen
            assert named(house, seen) >= set(FIELDS[caller])
            assert not set(sent(house, provider)) & set(FIELDS[caller])
        seen = await ask(house, caller, body_of(caller))
        assert (seen.status, named(house, seen)) == (200, set())


@pytest.mark.parametrize(("caller", "provider"), sorted(NATIVE))
async def test_an_unknown_field_passes_on_the_same_dialect(caller: str, provider: str) -> None:
    async with speaking(provider) as house:
        for stream in (False, True):
            mystery: Any = {"a": [1, None, {"b": "ü"}], "c": -0.5}
            more: Json = {"stream": True} if stream else {}
            seen = await ask(house, caller, body_of(caller, mystery=mystery, **more))
            assert (seen.status, named(house, seen)) == (200, set())
            assert sent(house, provider)["mystery"] == mystery


@pytest.mark.parametrize(("caller", "provider"), sorted(NATIVE))
async def test_an_unknown_field_of_an_answer_passes_on_the_same_dialect(caller: str, provider: str) -> None:
    async with speaking(provider) as house:
        plain = (await ask(house, caller, body_of(caller))).body
        body = plain.replace(b"{", b'{"mystery":[1,{"b":null}],', 1).decode()
        house.script(provider, otherwise={"fault": {"kind": "status", "status": 200, "body": body}})
        assert (await ask(house, caller, body_of(caller))).body == body.encode()


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"openai"}))
@pytest.mark.parametrize("field", KEPT)
async def test_what_only_its_maker_knows_is_never_dropped(field: str, provider: str) -> None:
    async with speaking(provider, route={"untranslatable": "drop"}) as house:
        seen = await ask(house, "responses", body_of("responses", **{field: KEPT[field]}))
        assert (seen.status, seen.error["code"], house.calls(provider)) == (400, "no_target_fits", 0)
        assert seen.error["param"] == field
        assert repr(field) in seen.error["message"]


@pytest.mark.parametrize("field", sorted(set(KEPT) - {"background"}))
async def test_what_is_kept_there_may_stand_without_an_input(field: str) -> None:
    async with speaking("openai") as house:
        made = (await ask(house, "responses", body_of("responses"))).json["id"]
        body = {"model": "m", field: made if field == "previous_response_id" else KEPT[field]}
        seen = await ask(house, "responses", body)
        assert seen.status == 200, seen
        assert sent(house, "openai").keys() >= {field}
        wrongs: tuple[Any, ...] = (5, {}, True)
        for wrong in wrongs:
            seen = await ask(house, "responses", body | {"input": wrong})
            assert (seen.status, seen.error["param"]) == (400, "input")


async def test_a_response_without_an_input_is_refused_when_nothing_else_says_it() -> None:
    async with speaking("openai") as house:
        silent: tuple[Json, ...] = ({}, {"background": True}, {"prompt": None}, {"input": ""}, {"input": []})
        for more in silent:
            seen = await ask(house, "responses", {"model": "m", **more})
            assert (seen.status, seen.error["param"], house.calls("openai")) == (400, "input", 0)


def test_every_door_is_tried() -> None:
    assert set(PATHS) == set(CALLERS) == set(FIELDS)
