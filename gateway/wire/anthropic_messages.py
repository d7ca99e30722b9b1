"""The Anthropic messages dialect of callers: bytes to a ModelRequest."""

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.formats import openai
from gateway.wire.json_body import members_of
from gateway.wire.openai_chat import OPENING_MESSAGES, bounded, named, optional, read, require
from gateway.wire.sizes import text_tokens

HEADERS: tuple[bytes, ...] = (b"anthropic-version", b"anthropic-beta")
"""What belongs to the dialect and stands in the head; a provider of the same gets it as it is."""

_COUNTED = ("system", "messages", "tools")


def parse(body: bytes) -> ModelRequest:
    """Raises InvalidRequest that names the field."""
    return _parse(body, Operation.CHAT)


def parse_count(body: bytes) -> ModelRequest:
    """The same without a limit on the output. Raises InvalidRequest that names the field."""
    return _parse(body, Operation.COUNT_TOKENS)


def _parse(body: bytes, operation: Operation) -> ModelRequest:
    members = members_of(body)
    model = require(members, "model", openai.decode_text)
    messages = members.get("messages")
    if messages is None:
        raise InvalidRequest("'messages' is missing; send a list of messages", param="messages")
    openers = read("messages", messages, openai.decode_list)
    if not openers:
        raise InvalidRequest("'messages' is empty; send at least one message", param="messages")
    limit = optional(members, "max_tokens", openai.decode_output_limit)
    if limit is None and operation is Operation.CHAT:
        raise InvalidRequest("'max_tokens' is missing; this dialect requires it", param="max_tokens")
    metadata = optional(members, "metadata", openai.decode_metadata)
    user = bounded(metadata.user_id, "metadata.user_id") if metadata is not None else None
    tier = named(members, "service_tier")
    return ModelRequest(
        operation=operation,
        dialect=Dialect.ANTHROPIC,
        model=model,
        members=members,
        needs=Needs(
            tools=members.get("tools", b"[]") not in (b"null", b"[]"),
            vision=messages.find(b'"image"') >= 0,
            json_schema=members.get("output_config", b"").find(b'"json_schema"') >= 0,
            input_tokens=sum(text_tokens(members[name]) for name in _COUNTED if name in members),
            output_tokens=limit,
        ),
        stream=bool(optional(members, "stream", openai.decode_flag)),
        include_usage=True,
        session=f"metadata.user_id:{user}" if user else None,
        opening=members.get("system", b"") + b"".join(openers[:OPENING_MESSAGES]),
        user=user,
        service_tier=None if tier in (None, "auto", "standard_only") else tier,
    )
