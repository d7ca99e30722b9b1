"""OpenAI embeddings: seeded unit vectors."""

import base64
import math
import random
import struct

from gateway.sim.ask import Ask, BadRequest
from gateway.sim.event import encode

DIMENSIONS = 1536
DIMENSIONS_MAX = 8192


def body(ask: Ask, seed: int, *, with_usage: bool = True) -> bytes:
    """Raises BadRequest."""
    dimensions = ask.body.get("dimensions", DIMENSIONS)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= DIMENSIONS_MAX:
        raise BadRequest(f"Invalid 'dimensions': {dimensions!r}", "dimensions")
    form = ask.body.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise BadRequest(f"Invalid 'encoding_format': {form!r}", "encoding_format")
    vectors = [vector(f"{seed}:{one}", dimensions) for one in ask.inputs]
    data = [
        {"object": "embedding", "index": at, "embedding": _packed(one) if form == "base64" else one}
        for at, one in enumerate(vectors)
    ]
    reply: dict[str, object] = {"object": "list", "data": data, "model": ask.model}
    if with_usage:
        reply["usage"] = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
    return encode(reply)


def vector(text: str, dimensions: int) -> list[float]:
    dice = random.Random(text)
    values = [dice.random() - 0.5 for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
