"""The list of models in OpenAI's shape, and in Anthropic's."""

from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.formats import openai


def listing(names: Iterable[str], created_s: int) -> bytes:
    models = [{"id": name, "object": "model", "created": created_s, "owned_by": "meterway"} for name in names]
    return openai.encode({"object": "list", "data": models})


def one(name: str, created_s: int) -> bytes:
    return openai.encode({"id": name, "object": "model", "created": created_s, "owned_by": "meterway"})


def anthropic_listing(names: Iterable[str], created_s: int) -> bytes:
    models = [_anthropic(name, created_s) for name in names]
    first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
    return openai.encode({"data": models, "has_more": False, "first_id": first, "last_id": last})


def anthropic_one(name: str, created_s: int) -> bytes:
    return openai.encode(_anthropic(name, created_s))


def _anthropic(name: str, created_s: int) -> dict[str, str]:
    created = datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created, "lifecycle": "active"}
