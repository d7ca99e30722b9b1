"""A conversation as the body of an Anthropic messages request."""

import re
from typing import Any

from msgspec import Raw

from gateway.domain.conversation import (
    Conversation,
    Effort,
    Media,
    OutputFormat,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from gateway.domain.fitting import EFFORT_TOKENS, EFFORT_TOKENS_MIN
from gateway.formats.json_object import object_of
from gateway.providers import generations

Json = dict[str, Any]
_MODES = {ToolMode.AUTO: "auto", ToolMode.NONE: "none", ToolMode.REQUIRED: "any", ToolMode.NAMED: "tool"}
_NOT_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
BY_EFFORT = (4, 6)
"""From this generation on a model decides itself how much it thinks, by a word and no longer by a number of tokens."""

WITHOUT_SAMPLING = (4, 7)
"""From this one on it refuses `temperature`, `top_p` and `top_k`, and knows the word `xhigh`."""

ALWAYS_THINKS = (5, 5)
_SAMPLING = ("temperature", "top_p", "top_k")


def refused(given: Conversation, model: str) -> tuple[str, ...]:
    """What is said of sampling and a model of this name takes no more."""
    if generations.claude(model) < WITHOUT_SAMPLING:
        return ()
    return tuple(name for name in _SAMPLING if getattr(given.sampling, name) is not None)


def members_of(given: Conversation, output_tokens: int, model: str) -> Json:
    """All but the model. `output_tokens` is required there, and thinking is paid from it."""
    sampling = given.sampling
    output = {"format": _format(given.format), "effort": _effort(given.effort, model)}
    body: Json = {
        "max_tokens": output_tokens,
        "system": [_block(text) for text in given.system] or None,
        "messages": [
            {"role": message.role.value, "content": [_block(part) for part in message.parts]}
            for message in given.messages
        ],
        "tools": [_tool(tool) for tool in given.tools] or None,
        "tool_choice": _tool_choice(given.tool_choice, given.parallel) if given.tools else None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": list(given.stop) or None,
        "thinking": _thinking(given.effort, output_tokens, model),
        "output_config": {name: value for name, value in output.items() if value is not None} or None,
        "metadata": {"user_id": given.user} if given.user else None,
        "stream": given.stream or None,
    }
    refuses = refused(given, model)
    return {name: value for name, value in body.items() if value is not None and name not in refuses}


def _format(given: OutputFormat | None) -> Json | None:
    return None if given is None else {"type": "json_schema", "schema": Raw(given.schema)}


def _marked(block: Json, cache: str) -> Json:
    if cache:
        block["cache_control"] = {"type": "ephemeral"} | ({"ttl": cache} if cache != "5m" else {})
    return block


def _block(part: Part) -> Json:
    if isinstance(part, Text):
        return _marked({"type": "text", "text": part.text}, part.cache)
    if isinstance(part, Media):
        return _marked(_media(part), part.cache)
    if isinstance(part, ToolCall):
        block: Json = {
            "type": "tool_use",
            "id": _id(part.id),
            "name": part.name,
            "input": Raw(object_of(part.arguments)),
        }
        return _marked(block, part.cache)
    if isinstance(part, ToolResult):
        block = {
            "type": "tool_result",
            "tool_use_id": _id(part.call_id),
            "content": [_block(one) for one in part.parts],
        }
        if part.failed:
            block["is_error"] = True
        return _marked(block, part.cache)
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text}
    return _thought(part)


def _thought(thought: Thinking) -> Json:
    if thought.hidden:
        return {"type": "redacted_thinking", "data": thought.signature}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _id(call_id: str) -> str:
    return _NOT_AN_ID.sub("_", call_id)


def _media(media: Media) -> Json:
    kind = "image" if media.kind == "image" else "document"
    if media.data:
        media_type = media.media_type or ("image/png" if kind == "image" else "application/pdf")
        source = {"type": "base64", "media_type": media_type, "data": media.data}
    elif media.url:
        source = {"type": "url", "url": media.url}
    else:
        source = {"type": "file", "file_id": media.file_id}
    block: Json = {"type": kind, "source": source}
    if media.name and kind == "document":
        block["title"] = media.name
    return block


def _tool(tool: Tool) -> Json:
    shown: Json = {"name": tool.name, "input_schema": Raw(tool.schema)}
    if tool.description:
        shown["description"] = tool.description
    if tool.strict is not None:
        shown["strict"] = tool.strict
    return _marked(shown, tool.cache)


def _tool_choice(choice: ToolChoice | None, parallel: bool | None) -> Json | None:
    if choice is None and parallel is None:
        return None
    shown: Json = {"type": _MODES[choice.mode] if choice is not None else "auto"}
    if choice is not None and choice.name:
        shown["name"] = choice.name
    if parallel is False and shown["type"] != "none":
        shown["disable_parallel_tool_use"] = True
    return shown


def _thinking(effort: Effort | None, output_tokens: int, model: str) -> Json | None:
    if effort is None:
        return None
    generation = generations.claude(model)
    if effort.off:
        return {"type": "disabled"} if generation < ALWAYS_THINKS else None
    if generation >= BY_EFFORT:
        return {"type": "adaptive"}
    if output_tokens <= EFFORT_TOKENS_MIN:
        return {"type": "disabled"}
    tokens = max(EFFORT_TOKENS_MIN, min(effort.tokens or 0, output_tokens - 1))
    return {"type": "enabled", "budget_tokens": tokens}


def _effort(effort: Effort | None, model: str) -> str | None:
    generation = generations.claude(model)
    if effort is None or generation < BY_EFFORT:
        return None
    if effort.off:
        return "low" if generation >= ALWAYS_THINKS else None
    words = ("low", "medium", "high", "xhigh") if generation >= WITHOUT_SAMPLING else ("low", "medium", "high")
    return next((word for word in words if (effort.tokens or 0) <= EFFORT_TOKENS[word]), "max")
