"""Embeddings: every form of input and of vectors reaches the caller as the provider wrote it."""

import base64
import struct
from typing import Any

import pytest

from tests.dialects.house import ask, sent, speaking

PATH = "/v1/embeddings"
FORMS = {
    "a text": ("four", 1, 1),
    "texts": (["a", "bbbbb"], 2, 3),
    "token ids": ([1, 2, 3], 1, 3),
    "lists of token ids": ([[1, 2], [3]], 2, 3),
}


@pytest.mark.parametrize("packed", [False, True], ids=["floats", "base64"])
@pytest.mark.parametrize("form", FORMS)
async def test_every_form_arrives_and_is_billed(form: str, packed: bool) -> None:
    given, count, tokens = FORMS[form]
    body: dict[str, Any] = {"model": "m", "input": given, "dimensions": 8}
    if packed:
        body["encoding_format"] = "base64"
    async with speaking("openai") as house:
        seen = await ask(house, "chat", body, path=PATH)
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt"), seen
        assert sent(house, "openai") == {**body, "model": "gpt"}
        vectors = [one["embedding"] for one in seen.json["data"]]
        assert len(vectors) == count
        if packed:
            vectors = [struct.unpack("<8f", base64.b64decode(vector)) for vector in vectors]
        assert all(len(vector) == 8 and abs(sum(x * x for x in vector) - 1) < 1e-5 for vector in vectors)
        record = house.record
        assert (record.usage.input, record.usage.output, record.provenance.value) == (tokens, 0, "exact")
        assert house.sims["openai"].bill[-1].input_tokens == tokens


@pytest.mark.parametrize("given", [None, "", [], 5, {"a": 1}])
async def test_an_input_of_another_form_is_refused_before_a_call(given: Any) -> None:
    async with speaking("openai") as house:
        seen = await ask(house, "chat", {"model": "m", "input": given}, path=PATH)
        assert (seen.status, seen.error["param"], house.calls("openai")) == (400, "input", 0)


async def test_token_ids_count_one_each_against_a_limit() -> None:
    async with speaking("openai") as house:
        house.document["models"]["m"]["targets"][0]["context_tokens"] = 100
        house.reload()
        fits = await ask(house, "chat", {"model": "m", "input": list(range(100_000, 100_100))}, path=PATH)
        over = await ask(house, "chat", {"model": "m", "input": [[100_000] * 50, [7] * 51]}, path=PATH)
        assert (fits.status, over.status, over.error["code"]) == (200, 400, "no_target_fits")


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_a_provider_without_embeddings_is_left_out(provider: str) -> None:
    async with speaking(provider, "openai") as house:
        seen = await ask(house, "chat", {"model": "m", "input": "hi"}, path=PATH)
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "openai/gpt")
        assert [drop.reason for drop in house.record.drops] == ["no_embeddings"]
        assert house.calls(provider) == 0
