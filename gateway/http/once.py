"""A request under an idempotency key: its identity, and the way of a shared answer to one of its callers."""

import hashlib

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ModelRequest
from gateway.http.response_head import Headers
from gateway.pipeline.replays import Message, SharedAnswer

KEY_BYTES_MAX = 256
HEADER = b"idempotency-key"


def seal(tenant: str, given: bytes) -> bytes:
    """The key itself; no two tenants share one."""
    if not 0 < len(given) <= KEY_BYTES_MAX:
        raise InvalidRequest(f"idempotency-key has {len(given)} bytes; send 1 to {KEY_BYTES_MAX}")
    return b"%d:%b:%b" % (len(tenant), tenant.encode(), given)


def identity(sealed: bytes) -> bytes:
    """Nobody can read the key from it."""
    return hashlib.sha256(sealed).digest()


def fingerprint(request: ModelRequest) -> bytes:
    """Of what is asked: the operation and every member, in whatever order they were written."""
    digest = hashlib.sha256(request.operation.value.encode())
    for name in sorted(request.members):
        value = request.members[name]
        digest.update(b"%d:%b:%d:" % (len(name), name.encode(), len(value)))
        digest.update(value)
    return digest.digest()


def replayed(message: Message, answer: SharedAnswer, request_id: str, *, ended: bool) -> Message:
    """The head of a shared answer for a caller that did not begin it."""
    if message["type"] != "http.response.start":
        return message
    own: Headers = [
        (b"x-request-id", request_id.encode()),
        (b"x-gateway-replayed" if ended else b"x-gateway-joined", b"true"),
        (b"x-gateway-replay-of", answer.request_id.encode()),
    ]
    kept = [pair for pair in message["headers"] if pair[0] not in (b"x-request-id", b"x-gateway-cost-usd")]
    return {**message, "headers": [*kept, *own]}
