"""A conversation as the body of an OpenAI responses request."""

from typing import Any

from msgspec import Raw

from gateway.domain.conversation import (
    FILE_NAME,
    Conversation,
    Effort,
    Media,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)

Json = dict[str, Any]


def members_of(given: Conversation) -> Json:
    """All but the model and the output limit. Nothing is stored there: the conversation is in the request."""
    sampling = given.sampling
    body: Json = {
        "input": [item for message in given.messages for item in _items(message)],
        "instructions": None,
        "tools": [_tool(tool) for tool in given.tools] or None,
        "tool_choice": _tool_choice(given.tool_choice),
        "parallel_tool_calls": given.parallel,
        "text": _format(given.format),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "reasoning": _effort(given.effort),
        "user": given.user or None,
        "stream": given.stream or None,
        "store": False,
    }
    if given.system:
        system = {"type": "message", "role": "developer", "content": [_part(text, "input") for text in given.system]}
        body["input"].insert(0, system)
    return {name: value for name, value in body.items() if value is not None}


def _items(message: Message) -> list[Json]:
    """What is said becomes messages, all else items of their own, in order."""
    items: list[Json] = []
    said: list[Json] = []
    form = "output" if message.role is Role.ASSISTANT else "input"
    for part in message.parts:
        if isinstance(part, Text | Media | Refusal):
            if not said:
                items.append({"type": "message", "role": message.role.value, "content": said})
            said.append(_part(part, form))
            continue
        said = []
        items.append(_item(part))
    return items


def _item(part: Part) -> Json:
    if isinstance(part, ToolCall):
        return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
    if isinstance(part, Thinking):
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        return {"type": "reasoning", "summary": summary, "encrypted_content": part.signature}
    if not isinstance(part, ToolResult):
        raise TypeError(f"a fitted message holds no {type(part).__name__} here")
    only = part.parts[0] if len(part.parts) == 1 else None
    output: str | list[Json] = [_part(one, "input") for one in part.parts]
    if not part.parts or isinstance(only, Text):
        output = only.text if isinstance(only, Text) else ""
    return {"type": "function_call_output", "call_id": part.call_id, "output": output}


def _part(part: Part, form: str) -> Json:
    if isinstance(part, Text):
        return {"type": f"{form}_text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if not isinstance(part, Media):
        raise TypeError(f"a fitted message holds no {type(part).__name__} here")
    if part.kind == "image":
        shown: Json = {"type": "input_image"}
        if part.file_id:
            shown["file_id"] = part.file_id
        else:
            shown["image_url"] = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"
        return shown | ({"detail": part.detail} if part.detail else {})
    if part.file_id:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url:
        return {"type": "input_file", "file_url": part.url}
    data = f"data:{part.media_type or 'application/pdf'};base64,{part.data}"
    return {"type": "input_file", "filename": part.name or FILE_NAME, "file_data": data}


def _tool(tool: Tool) -> Json:
    shown: Json = {"type": "function", "name": tool.name, "parameters": Raw(tool.schema), "strict": bool(tool.strict)}
    if tool.description:
        shown["description"] = tool.description
    return shown


def _tool_choice(choice: ToolChoice | None) -> str | Json | None:
    if choice is None:
        return None
    if choice.mode is ToolMode.NAMED:
        return {"type": "function", "name": choice.name}
    return str(choice.mode.value)


def _format(form: OutputFormat | None) -> Json | None:
    if form is None:
        return None
    if not form.schema:
        return {"format": {"type": "json_object"}}
    schema: Json = {"type": "json_schema", "name": form.name, "schema": Raw(form.schema)}
    if form.description:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"format": schema}


def _effort(effort: Effort | None) -> Json | None:
    if effort is None:
        return None
    return {"effort": "none" if effort.off else effort.level}
