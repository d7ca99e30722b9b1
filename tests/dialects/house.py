"""A gateway whose model `m` is answered by providers of any dialect, and callers of any dialect."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.rows.house import CALLERS, Document, House, standing
from tests.rows.talk import Seen, request, talk

KINDS = {
    "openai": {"kind": "openai"},
    "anthropic": {"kind": "anthropic"},
    "gemini": {"kind": "gemini"},
    "chat": {"kind": "vllm"},
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
Json = dict[str, Any]


@asynccontextmanager
async def speaking(
    *order: str,
    route: Mapping[str, Any] = {},
    providers: Mapping[str, Document] = {},
    extra: Mapping[str, Any] = {},
    **scripts: Document,
) -> AsyncIterator[House]:
    """Each of `order` is a provider that speaks the dialect of its name."""
    kinds = {name: {**KINDS[name.partition("_")[0]], **providers.get(name, {})} for name in order}
    told: dict[str, Any] = {name: scripts.get(name, {}) for name in order}
    async with standing(list(order), providers=kinds, route=route, extra=extra, **told) as house:
        yield house


def body_of(dialect: str, text: str = "hi", **more: Any) -> Json:
    if dialect == "responses":
        return {"model": "m", "input": text, **more}
    body: Json = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    if dialect == "messages":
        body.setdefault("max_tokens", 1000)
    return body


async def ask(house: House, dialect: str, body: Json, headers: Mapping[str, str] = {}, path: str | None = None) -> Seen:
    given = {"authorization": f"Bearer {CALLERS['one']}", "anthropic-version": "2023-06-01", **headers}
    if dialect != "messages":
        del given["anthropic-version"]
    return await talk(house.port, request(json.dumps(body).encode(), given, path or PATHS[dialect]))


def events(seen: Seen) -> list[Json]:
    """The data of a stream, parsed."""
    found = []
    for block in seen.body.decode().split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                found.append(json.loads(line[6:]))
    return found


def sent(house: House, name: str, place: int = -1) -> Json:
    """What a provider was sent."""
    body: Json = json.loads(house.sims[name].requests[place].body)
    return body


def kinds(found: Sequence[Json]) -> list[str]:
    """The types of events, repeats left out."""
    types = [event.get("type", "") for event in found]
    return [kind for at, kind in enumerate(types) if at == 0 or types[at - 1] != kind]
