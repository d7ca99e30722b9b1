"""The frozen values that a call is made of: messages, tools, the context of a call, and what comes back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

Role = Literal["system", "user", "assistant", "tool"]


class SchemaModel(Protocol):
    """A pydantic model class, as far as this package needs one; pydantic itself is not imported."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]: ...
    @classmethod
    def model_validate_json(cls, json_data: str | bytes) -> Any: ...


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An https or data URL."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model said to itself. It is never sent back."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is JSON as the model wrote it, which may be no JSON at all."""

    id: str
    name: str
    arguments: str

    def decoded(self) -> Any:
        return json.loads(self.arguments or "{}")


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    content: str


Part = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def system(cls, text: str) -> "Message":
        return cls("system", (Text(text),))

    @classmethod
    def user(cls, *parts: str | Text | Image) -> "Message":
        return cls("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))

    @classmethod
    def assistant(cls, text: str = "", *calls: ToolCall) -> "Message":
        return cls("assistant", ((Text(text),) if text else ()) + calls)

    @classmethod
    def tool(cls, call_id: str, content: str) -> "Message":
        return cls("tool", (ToolResult(call_id, content),))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@dataclass(frozen=True, slots=True)
class Tool:
    """What the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    @classmethod
    def of(cls, model: type[Any], *, name: str = "", description: str = "") -> "Tool":
        """From a pydantic model: its fields are the arguments."""
        schema = cast(type[SchemaModel], model).model_json_schema()
        text = description or str(schema.get("description", ""))
        return cls(name or str(schema.get("title", model.__name__)), text, schema)


@dataclass(frozen=True, slots=True)
class CallContext:
    """For whom, for what and until when. What is None is not sent; `idempotency_key` is made up if not given."""

    key: str | None = None
    session_id: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    priority: Literal["interactive", "autonomous"] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """`cost_nano_usd` is None where the gateway does not say: streams, and answers that are given again.

    `provider_switched`: another provider answered than the one that had the session, or that was tried first.
    """

    message: Message
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    target: str = ""
    attempts: int = 0
    provider_switched: bool = False
    cost_nano_usd: int | None = None
    request_id: str = ""
    replayed: bool = False
    parsed: Any = None

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.message.tool_calls


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a stream: some text, some reasoning, or a piece of a tool call's arguments."""

    text: str = ""
    reasoning: str = ""
    call_index: int | None = None
    call_id: str = ""
    call_name: str = ""
    call_arguments: str = ""
