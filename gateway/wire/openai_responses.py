"""The OpenAI responses dialect of callers: bytes to a ModelRequest."""

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.formats import openai
from gateway.wire.json_body import members_of
from gateway.wire.openai_chat import OPENING_MESSAGES, named, optional, require, service_tier_of, session_of
from gateway.wire.sizes import text_tokens

_KEPT_THERE = ("previous_response_id", "conversation", "prompt", "background")
"""What only the account that keeps it can understand."""

_COUNTED = ("instructions", "input", "tools")


def parse(body: bytes) -> ModelRequest:
    """Raises InvalidRequest that names the field."""
    members = members_of(body)
    model = require(members, "model", openai.decode_text)
    kept = next((name for name in _KEPT_THERE if _says(members.get(name))), "")
    given = members.get("input", b"null")
    if given in (b'""', b"[]", b"null") and not _may_be_silent(members):
        raise InvalidRequest("'input' is missing or empty; send a text or a list of items", param="input")
    if given != b"null" and given[:1] not in (b'"', b"["):
        raise InvalidRequest("'input' is neither a text nor a list of items", param="input")
    follows = optional(members, "previous_response_id", openai.decode_optional_text) or None
    opening = b"".join(openai.decode_openers(given)[:OPENING_MESSAGES]) if given[:1] == b"[" else given
    text = members.get("text", b"")
    return ModelRequest(
        operation=Operation.CHAT,
        dialect=Dialect.RESPONSES,
        model=model,
        members=members,
        needs=Needs(
            tools=members.get("tools", b"[]") not in (b"null", b"[]"),
            vision=given.find(b'"input_image"') >= 0,
            json_schema=text.find(b'"json_schema"') >= 0,
            input_tokens=sum(text_tokens(members[name]) for name in _COUNTED if name in members),
            output_tokens=optional(members, "max_output_tokens", openai.decode_output_limit),
            native="responses" if kept else "",
            native_field=kept,
        ),
        stream=bool(optional(members, "stream", openai.decode_flag)),
        include_usage=True,
        session=session_of(members),
        opening=opening,
        user=named(members, "user"),
        service_tier=service_tier_of(members),
        follows=follows,
    )


def _may_be_silent(members: dict[str, bytes]) -> bool:
    """What is kept there may say it all."""
    return any(_says(members.get(name)) for name in _KEPT_THERE[:-1])


def _says(value: bytes | None) -> bool:
    return value is not None and value not in (b"null", b"false", b'""')
