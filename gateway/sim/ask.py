"""What a request asks for, in words all dialects share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

Json = dict[str, Any]

MESSAGE_TOKENS: Final = 4
"""What each message costs beside its text."""


class Dialect(StrEnum):
    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    GEMINI = "gemini"


ANTHROPIC: Final = frozenset((Dialect.MESSAGES, Dialect.COUNT_TOKENS))

PATHS: Final = {
    "/chat/completions": Dialect.CHAT,
    "/responses": Dialect.RESPONSES,
    "/embeddings": Dialect.EMBEDDINGS,
    "/messages": Dialect.MESSAGES,
    "/messages/count_tokens": Dialect.COUNT_TOKENS,
}


class BadRequest(ValueError):
    """The request would be refused by the provider: 400."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    dialect: Dialect
    model: str
    body: Json
    input_tokens: int
    stream: bool = False
    include_usage: bool = False
    said: str = ""
    after_tool: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    choices: int = 1
    output_tokens_max: int | None = None
    schema: Json | None = None
    """The answer must be JSON of this schema."""
    inputs: tuple[str | tuple[int, ...], ...] = ()


def count_tokens(text: str) -> int:
    """The simulator's tokenizer: four characters are a token."""
    return (len(text) + 3) // 4


def read_ask(dialect: Dialect, raw: bytes, more: Json | None = None) -> Ask:
    """`more` are members that stand elsewhere than in the body. Raises BadRequest."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("The body of your request is no JSON object.")
    body |= more or {}
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("you must provide a model parameter", "model")
    try:
        return _READERS[dialect](model, body)
    except (AttributeError, KeyError, TypeError) as error:
        raise BadRequest(f"The request has a member of the wrong kind: {error}") from error


def _chat(model: str, body: Json) -> Ask:
    messages = _listed(body, "messages")
    tools = tuple(_tool(f, "parameters") for t in body.get("tools") or () if (f := t.get("function")))
    options = body.get("stream_options") or {}
    return Ask(
        Dialect.CHAT,
        model,
        body,
        _input_tokens(messages, body.get("tools")),
        stream=body.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        said=_last_said(messages),
        after_tool=messages[-1].get("role") in ("tool", "function"),
        tools=tools,
        tool_choice=_choice(body.get("tool_choice")),
        choices=_bounded(body, "n", 1, 128) or 1,
        output_tokens_max=_smallest(_bounded(body, "max_tokens"), _bounded(body, "max_completion_tokens")),
        schema=_schema(body.get("response_format")),
    )


def _responses(model: str, body: Json) -> Ask:
    given = body.get("input", "")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _listed(body, "input")
    tools = tuple(_tool(t, "parameters") for t in body.get("tools") or () if t.get("type") == "function")
    extra = count_tokens(body.get("instructions") or "")
    return Ask(
        Dialect.RESPONSES,
        model,
        body,
        _input_tokens(items, body.get("tools")) + extra,
        stream=body.get("stream") is True,
        include_usage=True,
        said=_last_said(items),
        after_tool=items[-1].get("type") == "function_call_output",
        tools=tools,
        tool_choice=_choice(body.get("tool_choice")),
        output_tokens_max=_bounded(body, "max_output_tokens"),
        schema=_schema((body.get("text") or {}).get("format")),
    )


def _messages(model: str, body: Json) -> Ask:
    messages = _listed(body, "messages")
    limit = _bounded(body, "max_tokens")
    if limit is None:
        raise BadRequest("max_tokens: Field required", "max_tokens")
    return _anthropic(Dialect.MESSAGES, model, body, messages, limit)


def _count(model: str, body: Json) -> Ask:
    return _anthropic(Dialect.COUNT_TOKENS, model, body, _listed(body, "messages"), None)


def _anthropic(dialect: Dialect, model: str, body: Json, messages: list[Json], limit: int | None) -> Ask:
    last = messages[-1].get("content")
    results = isinstance(last, list) and any(isinstance(b, dict) and b.get("type") == "tool_result" for b in last)
    system = body.get("system")
    extra = count_tokens(_text(system)) + MESSAGE_TOKENS if system else 0
    return Ask(
        dialect,
        model,
        body,
        _input_tokens(messages, body.get("tools")) + extra,
        stream=body.get("stream") is True,
        include_usage=True,
        said=_last_said(messages),
        after_tool=results,
        tools=tuple(_tool(t, "input_schema") for t in body.get("tools") or () if "name" in t),
        tool_choice=_choice(body.get("tool_choice")),
        output_tokens_max=limit,
    )


def _gemini(model: str, body: Json) -> Ask:
    contents = _listed(body, "contents")
    config = body.get("generationConfig") or {}
    declared = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = calling.get("allowedFunctionNames") or [""]
    modes = {"NONE": "none", "ANY": f"={names[0]}" if names[0] else "required"}
    messages = [{"role": one.get("role", "user"), "content": one.get("parts")} for one in contents]
    return Ask(
        Dialect.GEMINI,
        model,
        body,
        _input_tokens(messages, declared) + count_tokens(_text((body.get("systemInstruction") or {}).get("parts"))),
        stream=body["stream"],
        include_usage=True,
        said=_last_said(messages),
        after_tool=any("functionResponse" in part for part in contents[-1].get("parts") or ()),
        tools=tuple(_tool(one, "parametersJsonSchema") for one in declared),
        tool_choice=modes.get(calling.get("mode", "AUTO"), "auto"),
        choices=_bounded(config, "candidateCount", 1, 8) or 1,
        output_tokens_max=_bounded(config, "maxOutputTokens"),
        schema=config.get("responseJsonSchema"),
    )


def _embeddings(model: str, body: Json) -> Ask:
    given = body.get("input")
    match given:
        case str():
            inputs: tuple[str | tuple[int, ...], ...] = (given,)
        case [int(), *_]:
            inputs = (tuple(given),)
        case [str() | list(), *_]:
            inputs = tuple(one if isinstance(one, str) else tuple(one) for one in given)
        case _:
            raise BadRequest("'$.input' is invalid. Please check the API reference.", "input")
    if any(not one for one in inputs):
        raise BadRequest("input cannot be an empty string or list", "input")
    tokens = sum(count_tokens(one) if isinstance(one, str) else len(one) for one in inputs)
    return Ask(
        Dialect.EMBEDDINGS, model, body, tokens, inputs=inputs, said=inputs[-1] if isinstance(inputs[-1], str) else ""
    )


_READERS: Final[Mapping[Dialect, Callable[[str, Json], Ask]]] = {
    Dialect.CHAT: _chat,
    Dialect.RESPONSES: _responses,
    Dialect.EMBEDDINGS: _embeddings,
    Dialect.MESSAGES: _messages,
    Dialect.COUNT_TOKENS: _count,
    Dialect.GEMINI: _gemini,
}


def _tool(given: Json, schema_name: str) -> Tool:
    name, schema = given["name"], given.get(schema_name) or {}
    if not isinstance(name, str) or not name or not isinstance(schema, dict):
        raise BadRequest(f"Invalid 'tools': {name!r} needs a name and an object as {schema_name!r}.", "tools")
    return Tool(name, schema)


def _listed(body: Json, name: str) -> list[Json]:
    items = body.get(name)
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadRequest(f"Invalid '{name}': expected a non-empty array of objects.", name)
    return items


def _bounded(body: Json, name: str, least: int = 1, most: int = 10_000_000) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"Invalid '{name}': expected an integer from {least} to {most}, got {value!r}.", name)
    return value


def _smallest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _choice(given: object) -> str:
    """`none`, `auto`, `required`, or `=NAME` for one tool."""
    match given:
        case None:
            return "auto"
        case str():
            return "required" if given == "any" else given
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return f"={name}"
        case {"type": str(kind)}:
            return "required" if kind == "any" else kind
        case _:
            raise BadRequest(f"Invalid 'tool_choice': {given!r}", "tool_choice")


def _schema(form: object) -> Json | None:
    match form:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}} | {
            "type": "json_schema",
            "schema": dict(schema),
        }:
            return schema
        case {"type": "json_object"}:
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case _:
            return None


def _input_tokens(items: list[Json], tools: object) -> int:
    total = MESSAGE_TOKENS * len(items)
    for item in items:
        content = item.get("content")
        total += count_tokens(content if isinstance(content, str) else _text(content))
        if "tool_calls" in item or "arguments" in item or "output" in item:
            total += len(msgspec.json.encode(item)) // 4
    return total + (len(msgspec.json.encode(tools)) // 4 if tools else 0)


def _text(content: object) -> str:
    """All the text of a content value, whatever its nesting."""
    match content:
        case str():
            return content
        case list():
            return "".join(_text(one) for one in content)
        case {"text": str(text)}:
            return text
        case {"content": inner}:
            return _text(inner)
        case {"input": inner}:
            return msgspec.json.encode(inner).decode()
        case _:
            return ""


def _last_said(items: list[Json]) -> str:
    for item in reversed(items):
        if item.get("role") == "user":
            said = _text(item.get("content"))
            if said:
                return said
    return ""
