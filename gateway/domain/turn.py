"""What a model answers, whole or event by event, in the words that all dialects share."""

from gateway.domain.conversation import Citation, Refusal, Text, Thinking, ToolCall
from gateway.domain.failure import Failure
from gateway.domain.reply import Usage
from gateway.domain.symbol import Symbol
from gateway.domain.value import value


class Finish(Symbol):
    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    FILTER = "filter"


@value
class Choice:
    parts: tuple[Text | Thinking | Refusal | ToolCall, ...]
    finish: Finish
    stopped_by: str = ""


@value
class Answer:
    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None


@value
class Started:
    id: str
    model: str


@value
class TextDelta:
    text: str
    choice: int = 0


@value
class ThinkingDelta:
    text: str
    choice: int = 0


@value
class ThinkingSealed:
    """Ends a piece of thinking with its signature."""

    signature: str
    origin: str
    hidden: bool = False
    choice: int = 0


@value
class RefusalDelta:
    text: str
    choice: int = 0


@value
class Cited:
    """Of the text that came last."""

    citation: Citation
    choice: int = 0


@value
class CallStarted:
    """Invariant: one call at a time is open in a choice, and its fragments follow it."""

    id: str
    name: str
    choice: int = 0


@value
class CallFragment:
    text: str
    choice: int = 0


@value
class Finished:
    finish: Finish
    choice: int = 0
    stopped_by: str = ""


@value
class Counted:
    usage: Usage


@value
class Failed:
    failure: Failure


@value
class Ended:
    """The provider said that the stream is complete."""


@value
class Silence:
    """A sign of life without content."""


TurnEvent = (
    Started
    | TextDelta
    | ThinkingDelta
    | ThinkingSealed
    | RefusalDelta
    | Cited
    | CallStarted
    | CallFragment
    | Finished
    | Counted
    | Failed
    | Ended
    | Silence
)
