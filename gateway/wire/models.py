"""The list of models in OpenAI's shape."""

from collections.abc import Iterable

from gateway.formats import openai


def listing(names: Iterable[str], created_s: int) -> bytes:
    models = [{"id": name, "object": "model", "created": created_s, "owned_by": "meterway"} for name in names]
    return openai.encode({"object": "list", "data": models})


def one(name: str, created_s: int) -> bytes:
    return openai.encode({"id": name, "object": "model", "created": created_s, "owned_by": "meterway"})
