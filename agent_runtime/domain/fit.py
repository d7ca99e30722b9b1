"""What still fits: a history cut at whole turns, texts cut to size, and calls held against a budget."""

from collections.abc import Sequence

from agent_runtime.domain.state import Budget, RunState
from agent_runtime.domain.todo import TopUp
from agent_runtime.domain.values import Message

CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4


def window(messages: Sequence[Message], size: int) -> tuple[Message, ...]:
    """The newest whole turns that fit into `size` messages; a turn begins with a user's message.

    Invariant: no tool result without its call, no call without its results.
    """
    begins = [place for place, message in enumerate(messages) if message.role == "user"]
    first = next((place for place in begins if len(messages) - place <= size), None)
    return () if first is None else tuple(messages[first:])


def clipped(text: str, chars_max: int) -> str:
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}\n[cut: {len(text) - chars_max} more characters]"


def estimate(messages: Sequence[Message]) -> int:
    """Input tokens, roughly."""
    letters = sum(len(message.text) + sum(len(call.arguments) for call in message.calls) for message in messages)
    return letters // CHARACTERS_PER_TOKEN + MESSAGE_TOKENS * len(messages)


def output_room(state: RunState, messages: Sequence[Message]) -> int:
    """How much the next answer may say; 0 when the budget of the tree is used up."""
    room = state.plan.limits.output_tokens
    if state.nano_usd_max is not None and state.total.cost_nano_usd >= state.nano_usd_max:
        return 0
    if state.tokens_max is None:
        return room
    return max(0, min(room, state.tokens_max - state.total.total_tokens - estimate(messages)))


def short_of(state: RunState) -> Budget:
    """Which of the two budgets it was that left no room."""
    spent = state.nano_usd_max is not None and state.total.cost_nano_usd >= state.nano_usd_max
    return "nano_usd" if spent else "tokens"


def top_up(state: RunState, approval_id: str) -> TopUp:
    """By how much an approval raises the budget that ran out."""
    limits = state.plan.limits
    if state.short_of == "tokens":
        return TopUp(approval_id, tokens=limits.top_up_tokens)
    return TopUp(approval_id, nano_usd=limits.top_up_nano_usd)


def tokens_left(state: RunState) -> int | None:
    return None if state.tokens_max is None else max(0, state.tokens_max - state.total.total_tokens)


def nano_usd_left(state: RunState) -> int | None:
    return None if state.nano_usd_max is None else max(0, state.nano_usd_max - state.total.cost_nano_usd)
