"""A response is followed at the account that made it, and nowhere else."""

from typing import Any

import pytest

from tests.dialects.house import ask, body_of, events, speaking
from tests.rows.house import Document, House
from tests.rows.talk import Seen

TWO_KEYS: Document = {"keys": ["env:KEY_OPENAI", "env:KEY_SPARE"]}
DOWN = {"otherwise": {"fault": {"kind": "status", "status": 500}}}


async def respond(house: House, after: str | None = None, **more: Any) -> Seen:
    follows = {} if after is None else {"previous_response_id": after}
    return await ask(house, "responses", body_of("responses", **follows, **more))


def used(house: House) -> str:
    """The key of the account that was asked last."""
    return house.sims["openai"].requests[-1].header("authorization")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_chain_stays_with_the_key_that_began_it(stream: bool) -> None:
    """Two keys of one provider are two accounts."""
    async with speaking("openai", providers={"openai": TWO_KEYS}) as house:
        keys = set()
        for _ in range(8):
            seen = await respond(house, stream=stream)
            keys.add(first := used(house))
            for _ in range(3):
                answer = events(seen)[-1]["response"] if stream else seen.json
                seen = await respond(house, answer["id"], stream=stream)
                assert (seen.status, used(house)) == (200, first), seen
        assert len(keys) == 2


async def test_another_model_of_the_same_account_may_follow() -> None:
    async with speaking("openai", "openai_b", openai_b={"seed": 7}) as house:
        targets = house.document["models"]["m"]["targets"]
        other = [{**row, "model": "gpt-other", "priority": 3 - row["priority"]} for row in targets]
        house.document["models"]["other"] = {**house.document["models"]["m"], "targets": other}
        house.reload()
        first = (await respond(house)).json["id"]
        seen = await ask(house, "responses", {"model": "other", "input": "hi", "previous_response_id": first})
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt-other"), seen


async def test_nobody_else_is_asked_when_the_maker_is_down() -> None:
    async with speaking("openai", "openai_b", openai_b={"seed": 7}) as house:
        first = (await respond(house)).json["id"]
        house.script("openai", **DOWN)
        seen = await respond(house, first)
        assert (seen.status, house.calls("openai_b")) == (502, 0), seen
        assert (await respond(house)).headers["x-gateway-target"] == "openai_b/gpt"


async def test_another_tenants_response_is_unknown() -> None:
    """It is not told from where it came: the first account is asked, which does not know it either."""
    async with speaking("openai", "openai_b", openai_b={"seed": 7}) as house:
        house.script("openai", **DOWN)
        theirs = (await respond(house)).json["id"]
        house.script("openai")
        stranger = {"authorization": "Bearer gw_caller_other_0123456789"}
        body = body_of("responses", previous_response_id=theirs)
        seen = await ask(house, "responses", body, stranger)
        assert (seen.status, seen.error["code"]) == (400, "previous_response_not_found")
        assert house.calls("openai_b") == 1
