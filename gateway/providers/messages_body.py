"""A conversation as the body of an Anthropic messages request."""

import re
from typing import Any

from msgspec import Raw

from gateway.domain.conversation import (
    Conversation,
    Effort,
    Media,
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
from gateway.domain.fitting import EFFORT_TOKENS_MIN
from gateway.formats.json_object import object_of

Json = dict[str, Any]
_MODES = {ToolMode.AUTO: "auto", ToolMode.NONE: "none", ToolMode.REQUIRED: "any", ToolMode.NAMED: "tool"}
_NOT_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def members_of(given: Conversation, output_tokens: int) -> Json:
    """All but the model. `output_tokens` is required there, and thinking is paid from it."""
    sampling = given.sampling
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
        "thinking": _thinking(given.effort, output_tokens),
        "metadata": {"user_id": given.user} if given.user else None,
        "stream": given.stream or None,
    }
    if given.format is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": Raw(given.format.schema)}}
    return {name: value for name, value in body.items() if value is not None}


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


def _thinking(effort: Effort | None, output_tokens: int) -> Json | None:
    if effort is None:
        return None
    if effort.off or output_tokens <= EFFORT_TOKENS_MIN:
        return {"type": "disabled"}
    tokens = max(EFFORT_TOKENS_MIN, min(effort.tokens or 0, output_tokens - 1))
    return {"type": "enabled", "budget_tokens": tokens}
