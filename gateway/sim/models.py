"""The list of models, in OpenAI's and in Anthropic's shape."""

from typing import Any, Final

from gateway.sim.event import encode

DEFAULT: Final = ("sim-large", "sim-small", "sim-embedding")
CREATED_S: Final = 1_767_225_600
CREATED: Final = "2026-01-01T00:00:00Z"


def listing(names: tuple[str, ...], *, anthropic: bool) -> bytes:
    if anthropic:
        data = [_anthropic(name) for name in names]
        return encode({"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]})
    return encode({"object": "list", "data": [_openai(name) for name in names]})


def one(name: str, *, anthropic: bool) -> bytes:
    return encode(_anthropic(name) if anthropic else _openai(name))


def _openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED_S, "owned_by": "simulator"}


def _anthropic(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": CREATED, "lifecycle": "active"}
