"""A conversation as the body of a chat-completions request."""

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
from gateway.domain.seals import sealed

Json = dict[str, Any]
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}


def members_of(given: Conversation) -> Json:
    """All but the model, the output limit and what belongs to streams. The conversation has been fitted."""
    sampling = given.sampling
    body: Json = {
        "messages": _messages(given),
        "tools": [_tool(tool) for tool in given.tools] or None,
        "tool_choice": _tool_choice(given.tool_choice),
        "parallel_tool_calls": given.parallel,
        "response_format": _format(given.format),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(given.stop) or None,
        "reasoning_effort": _effort(given.effort),
        "n": given.choices if given.choices != 1 else None,
        "user": given.user or None,
        "stream": given.stream or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _messages(given: Conversation) -> list[Json]:
    messages: list[Json] = []
    if given.system:
        messages.append({"role": "system", "content": _contents(given.system)})
    for message in given.messages:
        messages += _user(message.parts) if message.role is Role.USER else [_assistant(message)]
    return messages


def _user(parts: tuple[Part, ...]) -> list[Json]:
    messages: list[Json] = [
        {"role": "tool", "tool_call_id": part.call_id, "content": _contents(_texts(part.parts))}
        for part in parts
        if isinstance(part, ToolResult)
    ]
    said = tuple(part for part in parts if not isinstance(part, ToolResult))
    if said:
        messages.append({"role": "user", "content": _contents(said)})
    return messages


def _texts(parts: tuple[Text | Media, ...]) -> tuple[Text, ...]:
    return tuple(part for part in parts if isinstance(part, Text))


def _assistant(message: Message) -> Json:
    parts = message.parts
    said = tuple(part for part in parts if isinstance(part, Text))
    calls = [_call(part) for part in parts if isinstance(part, ToolCall)]
    thoughts = [_thought(part) for part in parts if isinstance(part, Thinking)]
    shown: Json = {"role": "assistant", "content": _contents(said) if said else None}
    if refusal := "".join(part.text for part in parts if isinstance(part, Refusal)):
        shown["refusal"] = refusal
    if calls:
        shown["tool_calls"] = calls
    if thoughts:
        shown["reasoning_details"] = thoughts
    return shown


def _contents(parts: tuple[Part, ...]) -> str | list[Json]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].cache:
        return parts[0].text
    return [_part(part) for part in parts]


def _part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if not isinstance(part, Media):
        raise TypeError(f"a fitted message holds no {type(part).__name__} here")
    if part.kind == "image":
        image = {"url": part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    if part.kind == "audio":
        form = _AUDIO_FORMATS.get(part.media_type, part.media_type.partition("/")[2])
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}
    if part.file_id:
        return {"type": "file", "file": {"file_id": part.file_id}}
    data = f"data:{part.media_type or 'application/pdf'};base64,{part.data}"
    return {"type": "file", "file": {"filename": part.name or FILE_NAME, "file_data": data}}


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _thought(thought: Thinking) -> Json:
    seal = sealed(thought.signature, thought.origin, "")
    if thought.hidden:
        return {"type": "reasoning.encrypted", "data": seal}
    return {"type": "reasoning.text", "text": thought.text} | ({"signature": seal} if seal else {})


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name, "parameters": Raw(tool.schema)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> str | Json | None:
    if choice is None:
        return None
    if choice.mode is ToolMode.NAMED:
        return {"type": "function", "function": {"name": choice.name}}
    return str(choice.mode.value)


def _format(form: OutputFormat | None) -> Json | None:
    if form is None:
        return None
    if not form.schema:
        return {"type": "json_object"}
    schema: Json = {"name": form.name, "schema": Raw(form.schema)}
    if form.description:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}


def _effort(effort: Effort | None) -> str | None:
    if effort is None:
        return None
    return "none" if effort.off else effort.level
