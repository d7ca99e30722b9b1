"""An Anthropic messages request as a conversation."""

from dataclasses import replace

from gateway.domain.conversation import (
    Conversation,
    Effort,
    Loss,
    Media,
    Message,
    OutputFormat,
    Part,
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
from gateway.wire.fields import Fields

HINTS = frozenset({"cache_control", "container", "context_management", "diagnostics", "inference_geo", "service_tier"})
FIELDS = {
    "effort": "thinking",
    "format": "output_config.format",
    "parallel": "tool_choice.disable_parallel_tool_use",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
"""What the fitting calls otherwise."""
_MODES = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "any": ToolMode.REQUIRED, "tool": ToolMode.NAMED}


def conversation_of(members: dict[str, bytes]) -> Conversation:
    """Raises InvalidRequest that names the field."""
    losses: list[Loss] = []
    fields = Fields.of_members(members, losses)
    reader = _Reader()
    system = _system(fields)
    fields.ignore("model")
    choice, parallel = _tool_choice(fields.inner("tool_choice"))
    output = fields.inner("output_config")
    found = Conversation(
        messages=tuple(reader.message(given) for given in fields.each("messages")),
        system=(*system, *reader.system),
        tools=tuple(tool for given in fields.each("tools") if (tool := _tool(given)) is not None),
        tool_choice=choice,
        parallel=parallel,
        format=_format(output.inner("format") if output is not None else None),
        output_tokens=fields.whole("max_tokens"),
        sampling=Sampling(fields.number("temperature"), fields.number("top_p"), fields.whole("top_k")),
        stop=fields.texts("stop_sequences"),
        effort=_effort(fields.inner("thinking"), output.text("effort") if output is not None else ""),
        user=_user(fields.inner("metadata")),
        stream=bool(fields.flag("stream")),
    )
    if output is not None:
        output.unread()
    fields.unread(HINTS)
    return replace(found, losses=tuple(losses))


class _Reader:
    """Messages in order; it remembers the names of calls for their results, and what is said by the system."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.system: list[Text] = []

    def message(self, fields: Fields) -> Message:
        role = fields.must("role")
        if role == "system":
            self.system += _texts(fields, "content")
            fields.unread()
            return Message(Role.USER, ())
        if role not in ("user", "assistant"):
            raise InvalidRequest(
                f"{fields.at('role')!r} is {role!r}, not 'user', 'assistant' or 'system'", param=fields.at("role")
            )
        content = fields.text_or_parts("content")
        fields.unread()
        if isinstance(content, str):
            return Message(Role(role), (Text(content),))
        return Message(Role(role), tuple(part for given in content if (part := self._part(given)) is not None))

    def _part(self, fields: Fields) -> Part | None:
        kind = fields.must("type")
        cache = _cache(fields)
        part: Part
        if kind == "text":
            part = Text(fields.text("text"), cache)
            fields.lose("citations", hint=True)
        elif kind == "tool_use":
            part = ToolCall(fields.must("id"), fields.must("name"), fields.json("input").decode() or "{}", cache)
            self._names[part.id] = part.name
            fields.ignore("caller")
        elif kind == "tool_result":
            part = self._result(fields, cache)
        elif kind == "thinking":
            part = Thinking(fields.text("thinking"), *opened(fields.text("signature"), "anthropic"))
        elif kind == "redacted_thinking":
            part = Thinking("", *opened(fields.text("data"), "anthropic")[:2], hidden=True)
        elif kind in ("image", "document"):
            return _media(fields, kind, cache)
        else:
            fields.lost()
            return None
        fields.unread()
        return part

    def _result(self, fields: Fields, cache: str) -> ToolResult:
        call_id = fields.must("tool_use_id")
        content = fields.text_or_parts("content")
        parts: tuple[Text | Media, ...]
        if isinstance(content, str):
            parts = (Text(content),) if content else ()
        else:
            read = [self._part(given) for given in content]
            parts = tuple(part for part in read if isinstance(part, Text | Media))
        failed = bool(fields.flag("is_error"))
        return ToolResult(call_id, self._names.get(call_id, call_id), parts, failed, cache)


def _cache(fields: Fields) -> str:
    control = fields.inner("cache_control")
    if control is None:
        return ""
    control.ignore("type")
    return control.text("ttl") or "5m"


def _system(fields: Fields) -> tuple[Text, ...]:
    return _texts(fields, "system")


def _texts(fields: Fields, name: str) -> tuple[Text, ...]:
    given = fields.text_or_parts(name)
    if isinstance(given, str):
        return (Text(given),) if given else ()
    found: list[Text] = []
    for part in given:
        part.ignore("type")
        found.append(Text(part.text("text"), _cache(part)))
        part.unread()
    return tuple(found)


def _media(fields: Fields, kind: str, cache: str) -> Part | None:
    source = fields.inner("source")
    if source is None:
        raise InvalidRequest(f"{fields.at('source')!r} is missing", param=fields.at("source"))
    name = fields.text("title")
    fields.lose("citations", hint=True)
    fields.unread()
    form, what = source.text("type"), "image" if kind == "image" else "file"
    media_type = source.text("media_type")
    if form == "base64":
        return Media(what, media_type, source.must("data"), name=name, cache=cache)
    if form == "url":
        return Media(what, "", "", source.must("url"), name=name, cache=cache)
    if form == "file":
        return Media(what, "", "", "", source.must("file_id"), name, cache=cache)
    if form == "text":
        return Text(source.text("data"), cache)
    fields.lost()
    return None


def _tool(fields: Fields) -> Tool | None:
    if fields.text("type") not in ("", "custom"):
        fields.lost()
        return None
    cache = _cache(fields)
    tool = Tool(
        fields.must("name"),
        fields.text("description"),
        fields.json("input_schema") or b'{"type":"object","properties":{}}',
        fields.flag("strict") or None,
        cache,
    )
    fields.unread(frozenset({"eager_input_streaming", "defer_loading", "input_examples", "allowed_callers"}))
    return tool


def _tool_choice(fields: Fields | None) -> tuple[ToolChoice | None, bool | None]:
    if fields is None:
        return None, None
    kind = fields.must("type")
    mode = _MODES.get(kind)
    if mode is None:
        raise InvalidRequest(f"{fields.at('type')!r} is {kind!r}; send one of {', '.join(_MODES)}", param="tool_choice")
    choice = None if mode is ToolMode.AUTO else ToolChoice(mode, fields.text("name"))
    alone = fields.flag("disable_parallel_tool_use")
    fields.unread()
    return choice, None if alone is None else not alone


def _format(fields: Fields | None) -> OutputFormat | None:
    if fields is None:
        return None
    if fields.must("type") != "json_schema":
        fields.lost()
        return None
    found = OutputFormat(fields.json("schema") or b"{}")
    fields.unread()
    return found


def _effort(thinking: Fields | None, level: str) -> Effort | None:
    if thinking is None:
        return Effort(level) if level else None
    kind = thinking.must("type")
    tokens = thinking.whole("budget_tokens")
    thinking.ignore("display")
    thinking.unread()
    if kind == "disabled":
        return Effort(off=True)
    return Effort(level, tokens)


def _user(fields: Fields | None) -> str:
    if fields is None:
        return ""
    user = fields.text("user_id")
    fields.unread(frozenset({"user_id"}))
    return user
