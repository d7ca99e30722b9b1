"""What a caller asks a model, in the words that all dialects share."""

from gateway.domain.symbol import Symbol
from gateway.domain.value import value

FILE_NAME = "file"
"""What a file without a name is called where it needs one."""


class Role(Symbol):
    USER = "user"
    ASSISTANT = "assistant"


@value
class Citation:
    """Where a piece of text is from; `start` and `end` count characters of the part that cites."""

    url: str
    title: str = ""
    start: int = 0
    end: int = 0


@value
class Text:
    """`cache` marks the end of a prefix worth keeping: "", "5m" or "1h"."""

    text: str
    cache: str = ""
    citations: tuple[Citation, ...] = ()


@value
class Media:
    """An image, a file or a sound, by exactly one of `data` (base64), `url` and `file_id`."""

    kind: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    cache: str = ""

    @property
    def source(self) -> str:
        """What a dialect has to take: `image/data`, `file/url` and so on."""
        return f"{self.kind}/{'data' if self.data else 'url' if self.url else 'id'}"


@value
class ToolCall:
    """`arguments` is a JSON object as the model wrote it."""

    id: str
    name: str
    arguments: str
    cache: str = ""


@value
class ToolResult:
    """`name` is that of the tool, for dialects that do not know calls by their ids."""

    call_id: str
    name: str
    parts: tuple[Text | Media, ...]
    failed: bool = False
    cache: str = ""


@value
class Thinking:
    """What a model thought. Only `origin` can read its `signature`; `hidden` means that all of it is in there."""

    text: str
    signature: str = ""
    origin: str = ""
    hidden: bool = False


@value
class Refusal:
    text: str


Part = Text | Media | ToolCall | ToolResult | Thinking | Refusal


@value
class Message:
    role: Role
    parts: tuple[Part, ...]


@value
class Tool:
    """`schema` is the JSON text of an object."""

    name: str
    description: str
    schema: bytes
    strict: bool | None = None
    cache: str = ""


class ToolMode(Symbol):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@value
class ToolChoice:
    mode: ToolMode
    name: str = ""


@value
class OutputFormat:
    """JSON; an empty `schema` means any object."""

    schema: bytes = b""
    name: str = ""
    description: str = ""
    strict: bool | None = None


@value
class Sampling:
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@value
class Effort:
    """How much to think: a word, or a number of tokens. `off` is an explicit no."""

    level: str = ""
    tokens: int | None = None
    off: bool = False


@value
class Loss:
    """A field that does not arrive. A hint changes the cost or the comfort of an answer, never what it may be."""

    field: str
    hint: bool = False


@value
class Conversation:
    """`parallel` is whether several calls may come at once. `losses` stood in the request and have no place here."""

    messages: tuple[Message, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    format: OutputFormat | None = None
    output_tokens: int | None = None
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    choices: int = 1
    user: str = ""
    stream: bool = False
    losses: tuple[Loss, ...] = ()
