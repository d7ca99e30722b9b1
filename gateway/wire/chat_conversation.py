"""A chat-completions request as a conversation."""

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
    {"metadata", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
    | {"safety_identifier", "service_tier", "store", "verbosity"}
)
AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
FIELDS = {
    "choices": "n",
    "effort": "reasoning_effort",
    "format": "response_format",
    "format description": "response_format.json_schema.description",
    "parallel": "parallel_tool_calls",
}
"""What the fitting calls otherwise."""
_MODES = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "required": ToolMode.REQUIRED}


def conversation_of(members: dict[str, bytes]) -> Conversation:
    """Raises InvalidRequest that names the field."""
    losses: list[Loss] = []
    fields = Fields.of_members(members, losses)
    system, messages = _Reader(losses).messages(fields.each("messages"))
    limits = [limit for name in ("max_tokens", "max_completion_tokens") if (limit := fields.whole(name)) is not None]
    fields.ignore("model", "stream_options", "logit_bias" if members.get("logit_bias") == b"{}" else "")
    if members.get("logprobs") == b"false":
        fields.ignore("logprobs")
    found = Conversation(
        messages=messages,
        system=system,
        tools=tuple(tool for given in fields.each("tools") if (tool := _tool(given)) is not None),
        tool_choice=_tool_choice(fields),
        parallel=fields.flag("parallel_tool_calls"),
        format=_format(fields.inner("response_format")),
        output_tokens=max(limits, default=None),
        sampling=Sampling(
            fields.number("temperature"),
            fields.number("top_p"),
            fields.whole("top_k"),
            fields.whole("seed"),
            fields.number("presence_penalty") or None,
            fields.number("frequency_penalty") or None,
        ),
        stop=fields.texts("stop"),
        effort=_effort(fields.text("reasoning_effort")),
        choices=fields.whole("n") or 1,
        user=fields.text("user"),
        stream=bool(fields.flag("stream")),
    )
    modalities = fields.texts("modalities")
    if modalities not in ((), ("text",)):
        losses.append(Loss("modalities"))
    fields.unread(HINTS)
    return replace(found, losses=tuple(losses))


class _Reader:
    """Messages in order; it remembers the names of calls for their results."""

    def __init__(self, losses: list[Loss]) -> None:
        self._losses = losses
        self._names: dict[str, str] = {}

    def messages(self, given: list[Fields]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
        system: list[Text] = []
        messages: list[Message] = []
        for fields in given:
            role = fields.must("role")
            if role in ("system", "developer"):
                fields.ignore("name")
                system += [part for part in _content(fields) if isinstance(part, Text)]
            elif role == "user":
                messages.append(Message(Role.USER, tuple(_content(fields))))
                fields.lose("name", hint=True)
            elif role == "assistant":
                messages.append(Message(Role.ASSISTANT, tuple(self._assistant(fields))))
            elif role in ("tool", "function"):
                messages.append(Message(Role.USER, (self._result(fields),)))
            else:
                raise InvalidRequest(f"{fields.at('role')!r} is {role!r}, which is no role", param=fields.at("role"))
            fields.unread()
        return tuple(system), tuple(messages)

    def _assistant(self, fields: Fields) -> list[Part]:
        fields.lose("name", hint=True)
        parts: list[Part] = list(thinking_of(fields))
        parts += _content(fields)
        if refusal := fields.text("refusal"):
            parts.append(Refusal(refusal))
        for given in fields.each("tool_calls"):
            parts.append(self._call(given, given.must("id"), given.inner("function")))
        if (function := fields.inner("function_call")) is not None:
            parts.append(self._call(function, "call_" + str(function.take("name")), function))
        fields.lose("audio")
        fields.lose("annotations", hint=True)
        return parts

    def _call(self, outer: Fields, call_id: str, function: Fields | None) -> ToolCall:
        if function is None:
            raise InvalidRequest(f"{outer.path!r} is no function call; only functions are served", param=outer.path)
        outer.ignore("type", "index")
        name = function.text("name") or call_id.removeprefix("call_")
        self._names[call_id] = name
        arguments = function.text("arguments")
        function.unread()
        outer.unread()
        return ToolCall(call_id, name, arguments if arguments.strip() else "{}")

    def _result(self, fields: Fields) -> ToolResult:
        call_id = fields.text("tool_call_id") or "call_" + fields.text("name")
        name = self._names.get(call_id) or fields.text("name") or call_id
        fields.ignore("name")
        parts = tuple(part for part in _content(fields) if isinstance(part, Text | Media))
        return ToolResult(call_id, name, parts)


def thinking_of(fields: Fields) -> list[Thinking]:
    """`reasoning_details` as OpenRouter and we write them, else a plain text of some hosts, which nobody signed."""
    plain = fields.text("reasoning_content") or fields.text("reasoning")
    fields.ignore("reasoning", "reasoning_content")
    found: list[Thinking] = []
    text = ""
    for detail in fields.each("reasoning_details"):
        text += detail.text("text")
        seal = detail.text("signature") or detail.text("data")
        if seal:
            found.append(Thinking(text, *opened(seal, "")[:2], detail.text("type") == "reasoning.encrypted"))
            text = ""
    if not found and not text:
        text = plain
    return [*found, Thinking(text)] if text else found


def _content(fields: Fields) -> list[Part]:
    content = fields.text_or_parts("content")
    if isinstance(content, str):
        return [Text(content, _cache(fields))] if content else []
    return [part for given in content if (part := _part(given)) is not None]


def _cache(fields: Fields) -> str:
    control = fields.inner("cache_control")
    if control is None:
        return ""
    control.ignore("type")
    return control.text("ttl") or "5m"


def _part(fields: Fields) -> Part | None:
    kind = fields.must("type")
    part: Part | None = None
    if kind == "text":
        part = Text(fields.text("text"), _cache(fields))
    elif kind == "refusal":
        part = Refusal(fields.text("refusal"))
    elif kind in ("image_url", "file", "input_audio") and (inner := fields.inner(kind)) is not None:
        part = _media(kind, inner, _cache(fields))
        inner.unread()
    else:
        fields.lost()
        return None
    fields.unread()
    return part


def _media(kind: str, inner: Fields, cache: str) -> Media:
    if kind == "image_url":
        media_type, data, url = split_data_url(inner.must("url"))
        detail = inner.text("detail")
        return Media("image", media_type, data, url, detail="" if detail == "auto" else detail, cache=cache)
    if kind == "input_audio":
        form = inner.text("format") or "wav"
        return Media("audio", AUDIO_TYPES.get(form, f"audio/{form}"), inner.must("data"), cache=cache)
    file_id, name = inner.text("file_id"), inner.text("filename")
    name = "" if name == FILE_NAME else name
    media_type, data, url = split_data_url(inner.text("file_data"))
    return Media("file", media_type, data or url, "", file_id, name, cache=cache)


def _tool(fields: Fields) -> Tool | None:
    function = fields.inner("function")
    if fields.text("type") not in ("function", "") or function is None:
        fields.lost()
        return None
    cache = _cache(fields)
    tool = Tool(
        function.must("name"),
        function.text("description"),
        function.json("parameters") or b'{"type":"object","properties":{}}',
        function.flag("strict") or None,
        cache,
    )
    function.unread()
    fields.unread()
    return tool


def _tool_choice(fields: Fields) -> ToolChoice | None:
    given = fields.take("tool_choice")
    if given is None:
        return None
    if isinstance(given, str) and given in _MODES:
        return None if given == "auto" else ToolChoice(_MODES[given])
    if isinstance(given, dict) and isinstance(function := given.get("function"), dict):
        return ToolChoice(ToolMode.NAMED, str(function.get("name")))
    raise fields.wrong("tool_choice", "'auto', 'none', 'required' or a function")


def _format(fields: Fields | None) -> OutputFormat | None:
    if fields is None:
        return None
    kind = fields.must("type")
    if kind == "json_object":
        return OutputFormat()
    if kind != "json_schema":
        if kind != "text":
            fields.lost()
        return None
    inner = fields.inner("json_schema")
    if inner is None:
        raise fields.wrong("json_schema", "an object")
    found = OutputFormat(
        inner.json("schema") or b"{}", inner.text("name"), inner.text("description"), inner.flag("strict")
    )
    inner.unread()
    return found


def _effort(level: str) -> Effort | None:
    if not level:
        return None
    return Effort(off=True) if level == "none" else Effort(level)
