"""The OpenAI chat-completions dialect of callers: bytes to a ModelRequest."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.domain.tokens import estimate
from gateway.formats import openai
from gateway.wire.json_body import members_of
from gateway.wire.sizes import PART_TOKENS

OPENING_MESSAGES = 2

NAME_LETTERS_MAX = 1024
_RARE = frozenset({"tools", "response_format", "prompt_cache_key", "previous_response_id", "metadata", "user"})

_USUAL_TIERS = frozenset({None, "", "auto", "default"})

_T = TypeVar("_T")


def parse(body: bytes) -> ModelRequest:
    """Raises InvalidRequest that names the field."""
    members = members_of(body)
    model = require(members, "model", openai.decode_text)
    raw_messages = members.get("messages")
    if raw_messages is None:
        raise InvalidRequest("'messages' is missing; send a list of messages", param="messages")
    messages = read("messages", raw_messages, openai.decode_messages)
    if not messages:
        raise InvalidRequest("'messages' is empty; send at least one message", param="messages")
    rare = not _RARE.isdisjoint(members)
    stream = "stream" in members and bool(optional(members, "stream", openai.decode_flag))
    options = optional(members, "stream_options", openai.decode_stream_options) if stream else None
    return ModelRequest(
        operation=Operation.CHAT,
        dialect=Dialect.OPENAI,
        model=model,
        members=members,
        needs=_needs(members, raw_messages, messages, rare=rare),
        stream=stream,
        include_usage=options is not None and bool(options.include_usage),
        session=session_of(members) if rare else None,
        opening=_opening(raw_messages, len(messages)),
        user=named(members, "user") if "user" in members else None,
        service_tier=service_tier_of(members) if "service_tier" in members else None,
    )


def read(name: str, raw: bytes, decode: Callable[[bytes], _T]) -> _T:
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name!r} cannot be used: {error} (got {_short(raw)})", param=name) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{name!r} is not valid JSON: {error}", param=name) from None


def require(members: dict[str, bytes], name: str, decode: Callable[[bytes], str]) -> str:
    if name not in members:
        raise InvalidRequest(f"{name!r} is missing", param=name)
    value = read(name, members[name], decode)
    if not value:
        raise InvalidRequest(f"{name!r} is empty", param=name)
    return value


def optional(members: dict[str, bytes], name: str, decode: Callable[[bytes], _T]) -> _T | None:
    raw = members.get(name)
    return None if raw is None else read(name, raw, decode)


def named(members: dict[str, bytes], name: str) -> str | None:
    """A name that goes into the books, thus not of any length; None for none."""
    return bounded(optional(members, name, openai.decode_optional_text), name)


def bounded(text: str | None, name: str) -> str | None:
    if text is not None and len(text) > NAME_LETTERS_MAX:
        raise InvalidRequest(f"{name!r} has {len(text)} letters; send at most {NAME_LETTERS_MAX}", param=name)
    return text or None


def _short(raw: bytes) -> str:
    text = raw.decode(errors="replace")
    return text if len(text) <= 40 else "a value of " + str(len(raw)) + " bytes"


def _needs(members: dict[str, bytes], raw_messages: bytes, messages: list[openai.Message], *, rare: bool) -> Needs:
    lists = [message.content for message in messages if isinstance(message.content, list)]
    parts = [part for content in lists for part in content] if lists else []
    heavy = [part for part in parts if part.type not in ("text", "refusal")] if parts else parts
    vision = bool(heavy) and any(part.type == "image_url" for part in heavy)
    if heavy:
        texts = [message.content for message in messages if isinstance(message.content, str)]
        texts += [part.text for part in parts if part.text]
        input_tokens = estimate("".join(texts).encode()) + PART_TOKENS * len(heavy)
    else:
        input_tokens = estimate(raw_messages)
    if not rare:
        return Needs(
            vision=vision,
            input_tokens=input_tokens,
            output_tokens=_output_tokens(members),
            choices=_choices(members),
        )
    tools = members.get("tools", b"null")
    response_format = optional(members, "response_format", openai.decode_response_format)
    return Needs(
        tools=bool(read("tools", tools, openai.decode_list)),
        vision=vision,
        json_schema=response_format is not None and response_format.type == "json_schema",
        input_tokens=input_tokens + estimate(tools),
        output_tokens=_output_tokens(members),
        choices=_choices(members),
    )


def _output_tokens(members: dict[str, bytes]) -> int | None:
    """The largest declared limit counts: a provider may obey either."""
    declared = None
    for name in ("max_tokens", "max_completion_tokens"):
        limit = optional(members, name, openai.decode_output_limit) if name in members else None
        if limit is not None and (declared is None or limit > declared):
            declared = limit
    return None if declared is None else declared * _choices(members)


def _choices(members: dict[str, bytes]) -> int:
    return optional(members, "n", openai.decode_choices) or 1 if "n" in members else 1


def service_tier_of(members: dict[str, bytes]) -> str | None:
    """One other than the usual."""
    tier = named(members, "service_tier")
    return None if tier in _USUAL_TIERS else tier


def session_of(members: dict[str, bytes]) -> str | None:
    for name in ("prompt_cache_key", "previous_response_id"):
        if value := optional(members, name, openai.decode_optional_text):
            return f"{name}:{value}"
    metadata = optional(members, "metadata", openai.decode_metadata)
    if metadata is not None and metadata.user_id:
        return f"metadata.user_id:{metadata.user_id}"
    user = optional(members, "user", openai.decode_optional_text)
    return f"user:{user}" if user else None


def _opening(raw_messages: bytes, count: int) -> bytes:
    if count <= OPENING_MESSAGES:
        return raw_messages
    return b"".join(openai.decode_openers(raw_messages)[:OPENING_MESSAGES])
