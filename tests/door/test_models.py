"""The list of models, as each dialect writes it, for the caller's key."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.door.house import house
from tests.door.line import get

ANTHROPIC: dict[str, Any] = {"anthropic_version": "2023-06-01"}


async def test_openais_shape() -> None:
    async with house() as made:
        line = await made.line()
        listing = (await line.ask(get("/v1/models"))).json()
        one = (await line.ask(get("/v1/models/m"))).json()
        assert set(listing) == {"object", "data"}
        assert (listing["object"], listing["data"]) == ("list", [one])
        assert one == {"id": "m", "object": "model", "created": one["created"], "owned_by": "meterway"}
        assert isinstance(one["created"], int)


async def test_anthropics_shape() -> None:
    async with house() as made:
        line = await made.line()
        listing = (await line.ask(get("/v1/models", **ANTHROPIC))).json()
        one = (await line.ask(get("/v1/models/m", **ANTHROPIC))).json()
        assert listing == {"data": [one], "has_more": False, "first_id": "m", "last_id": "m"}
        assert (one["type"], one["id"], one["display_name"]) == ("model", "m", "m")
        assert datetime.fromisoformat(one["created_at"]).tzinfo is UTC


@pytest.mark.parametrize("path", ["/v1/models/nope", "/v1/models"])
async def test_a_refusal_has_the_shape_too(path: str) -> None:
    missing = path.endswith("nope")
    async with house() as made:
        line = await made.line()
        more: dict[str, Any] = {} if missing else {"key": None}
        theirs = await line.ask(get(path, **ANTHROPIC, **more))
        ours = await line.ask(get(path, **more))
        assert (theirs.status, ours.status) == ((404, 404) if missing else (401, 401))
        assert theirs.json()["type"] == "error"
        assert theirs.json()["error"]["type"] == ("not_found_error" if missing else "authentication_error")
        assert set(ours.json()) == {"error"}
        assert ours.json()["error"]["code"] == ("model_not_found" if missing else "invalid_api_key")
