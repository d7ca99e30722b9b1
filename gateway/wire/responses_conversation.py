"""An OpenAI responses request as a conversation."""

from dataclasses import replace

from gateway.domain.conversation import (
    FILE_NAME,
    Conversation,
    Effort,
    Loss,
    Media,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from gateway.domain.errors import InvalidRequest
from gateway.domain.seals import opened
from gateway.wire.data_urls import split_data_url
from gateway.wire.fields import Fields

HINTS = frozenset(
    {"include", "metadata", "moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "store"}
    | {
        "safety_identifier",
        "service_tier",
        "stream_options",
        "context_management",
        "access_programs",
        "client_metadata",
    }
)
FIELDS = {
    "effort": "reasoning.effort",
    "format": "text.format",
    "format description": "text.format.description",
    "parallel": "parallel_tool_calls",
}
"""What the fitting calls otherwise."""
_MODES = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "required": ToolMode.REQUIRED}


def conversation_of(members: dict[str, bytes]) -> Conversation:
    """Raises InvalidRequest that names the field."""
    losses: list[Loss] = []
    fields = Fields.of_members(members, losses)
    fields.ignore("model")
    instructions = fields.text("instructions")
    system, messages = _Reader().input(fields)
    text = fields.inner("text")
    found = Conversation(
        messages=messages,
        system=((Text(instructions),) if instructions else ()) + system,
        tools=tuple(tool for given in fields.each("tools") if (tool := _tool(given)) is not None),
        tool_choice=_tool_choice(fields),
        parallel=fields.flag("parallel_tool_calls"),
        format=_format(text.inner("format") if text is not None else None),
        output_tokens=fields.whole("max_output_tokens"),
        sampling=Sampling(fields.number("temperature"), fields.number("top_p")),
        effort=_effort(fields.inner("reasoning")),
        user=fields.text("user"),
        stream=bool(fields.flag("stream")),
    )
    if text is not None:
        text.unread(frozenset({"verbosity"}))
    if members.get("truncation") == b'"disabled"':
        fields.ignore("truncation")
    if members.get("store") == b"false":
        fields.ignore("store")
    if members.get("background") == b"false":
        fields.ignore("background")
    if members.get("top_logprobs") == b"0":
        fields.ignore("top_logprobs")
    fields.unread(HINTS)
    return replace(found, losses=tuple(losses))


class _Reader:
    """Items in order; it remembers the names of calls for their results."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def input(self, fields: Fields) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
        given = fields.text_or_parts("input")
        if isinstance(given, str):
            return (), (Message(Role.USER, (Text(given),)),)
        system: list[Text] = []
        messages: list[Message] = []
        for item in given:
            kind = item.text("type") or "message"
            if kind == "message":
                role = item.must("role")
                parts = tuple(_content(item))
                item.ignore("id", "status", "phase")
                if role in ("system", "developer"):
                    system += [part for part in parts if isinstance(part, Text)]
                elif role in ("user", "assistant"):
                    messages.append(Message(Role(role), parts))
                else:
                    raise InvalidRequest(f"{item.at('role')!r} is {role!r}, which is no role", param=item.at("role"))
            elif (message := self._item(kind, item)) is not None:
                messages.append(message)
            else:
                continue
            item.unread()
        return tuple(system), tuple(messages)

    def _item(self, kind: str, item: Fields) -> Message | None:
        if kind == "function_call":
            call = ToolCall(item.must("call_id"), item.must("name"), item.text("arguments").strip() or "{}")
            self._names[call.id] = call.name
            item.ignore("id", "status")
            return Message(Role.ASSISTANT, (call,))
        if kind == "function_call_output":
            call_id = item.must("call_id")
            output = item.text_or_parts("output")
            texts: list[Part] = [Text(output)] if isinstance(output, str) and output else []
            read = texts if isinstance(output, str) else [part for one in output if (part := _part(one)) is not None]
            parts = tuple(part for part in read if isinstance(part, Text | Media))
            item.ignore("id", "status")
            return Message(Role.USER, (ToolResult(call_id, self._names.get(call_id, call_id), parts),))
        if kind == "reasoning":
            return Message(Role.ASSISTANT, (_thinking(item),))
        item.lost()
        return None


def _thinking(item: Fields) -> Thinking:
    said = item.each("content") + item.each("summary")
    text = "".join(part.text("text") for part in said)
    item.ignore("id", "status")
    return Thinking(text, *opened(item.text("encrypted_content"), "openai"))


def _content(fields: Fields) -> list[Part]:
    content = fields.text_or_parts("content")
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [part for given in content if (part := _part(given)) is not None]


def _part(fields: Fields) -> Part | None:
    kind = fields.must("type")
    part: Part
    if kind in ("input_text", "output_text", "text"):
        fields.ignore("logprobs", "annotations")
        part = Text(fields.text("text"))
    elif kind == "refusal":
        part = Refusal(fields.text("refusal"))
    elif kind == "input_image":
        media_type, data, url = split_data_url(fields.text("image_url"))
        detail = fields.text("detail")
        file_id = fields.text("file_id")
        part = Media("image", media_type, data, url, file_id, detail="" if detail == "auto" else detail)
    elif kind == "input_file":
        media_type, data, url = split_data_url(fields.text("file_data"))
        url = fields.text("file_url")
        name = fields.text("filename")
        name = "" if name == FILE_NAME else name
        part = Media("file", media_type, data, url, fields.text("file_id"), name)
    else:
        fields.lost()
        return None
    fields.unread()
    return part


def _tool(fields: Fields) -> Tool | None:
    if fields.text("type") != "function":
        fields.lost()
        return None
    schema = fields.json("parameters") or b'{"type":"object","properties":{}}'
    tool = Tool(fields.must("name"), fields.text("description"), schema, fields.flag("strict") or None)
    fields.unread()
    return tool


def _tool_choice(fields: Fields) -> ToolChoice | None:
    given = fields.take("tool_choice")
    if given is None:
        return None
    if isinstance(given, str) and given in _MODES:
        return None if given == "auto" else ToolChoice(_MODES[given])
    if isinstance(given, dict) and given.get("type") == "function":
        return ToolChoice(ToolMode.NAMED, str(given.get("name")))
    raise fields.wrong("tool_choice", "'auto', 'none', 'required' or a function")


def _format(fields: Fields | None) -> OutputFormat | None:
    if fields is None:
        return None
    kind = fields.must("type")
    if kind == "json_object":
        return OutputFormat()
    if kind != "json_schema":
        return None
    schema = fields.json("schema") or b"{}"
    found = OutputFormat(schema, fields.text("name"), fields.text("description"), fields.flag("strict"))
    fields.unread()
    return found


def _effort(fields: Fields | None) -> Effort | None:
    if fields is None:
        return None
    level = fields.text("effort")
    fields.ignore("summary", "generate_summary")
    fields.unread(frozenset({"context"}))
    if not level:
        return None
    return Effort(off=True) if level == "none" else Effort(level)
