"""What the gateway is sent to count, in the dialect that has a door for it: Anthropic's `count_tokens`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdk_client.values import Image, Message, Part, Text, Tool, ToolCall, ToolResult
from sdk_client.wire import function_of, json_of, unreadable

PATH = "messages/count_tokens"


def body_of(messages: Sequence[Message], model: str, tools: Sequence[Tool | type[Any]]) -> dict[str, Any]:
    system = "\n".join(message.text for message in messages if message.role == "system")
    body: dict[str, Any] = {
        "model": model,
        "messages": [_turn(message) for message in messages if message.role != "system"],
    }
    if system:
        body["system"] = system
    if tools:
        functions = [function_of(tool) for tool in tools]
        body["tools"] = [
            {"name": one["name"], "description": one["description"], "input_schema": one["parameters"]}
            for one in functions
        ]
    return body


def counted(body: bytes, headers: Mapping[str, str]) -> int:
    """Raises UpstreamFailed where the answer holds no number."""
    tokens = json_of(body, headers).get("input_tokens")
    if not isinstance(tokens, int):
        raise unreadable(headers, "the answer has no input_tokens")
    return tokens


def _turn(message: Message) -> dict[str, Any]:
    blocks = [block for part in message.parts if (block := _block(part)) is not None]
    return {"role": "assistant" if message.role == "assistant" else "user", "content": blocks}


def _block(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url):
            return {"type": "image", "source": _source(url)}
        case ToolCall(name, tool, arguments):
            return {"type": "tool_use", "id": name, "name": tool, "input": _input(arguments)}
        case ToolResult(call_id, content):
            return {"type": "tool_result", "tool_use_id": call_id, "content": content}
        case _:
            return None


def _source(url: str) -> dict[str, str]:
    kind, comma, data = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:") and comma:
        return {"type": "base64", "media_type": kind, "data": data}
    return {"type": "url", "url": url}


def _input(arguments: str) -> Any:
    """What a model wrote may be no JSON; it counts as much as the text that it is."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return {"arguments": arguments}
