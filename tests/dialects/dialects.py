"""Each dialect by one name: how it is written and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.domain import abilities
from gateway.domain.abilities import Abilities
from gateway.domain.conversation import Conversation
from gateway.domain.gathering import Gathering
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.domain.turn import Answer, TurnEvent
from gateway.formats import chat_turns, messages, responses
from gateway.formats import gemini as gemini_shapes
from gateway.providers import chat_body, gemini_body, messages_body, responses_body
from gateway.providers.chat_turns import ChatReader
from gateway.providers.gemini_turns import GeminiReader
from gateway.providers.messages_turns import MessagesReader
from gateway.providers.responses_turns import ResponsesReader
from gateway.providers.turns import Turns
from gateway.wire import (
    chat_answer,
    chat_conversation,
    messages_answer,
    messages_conversation,
    responses_answer,
    responses_conversation,
)
from gateway.wire.json_body import members_of
from tests.dialects import gemini

REQUEST = ModelRequest(Operation.CHAT, Dialect.OPENAI, "m", {}, Needs(), stream=True, include_usage=True)
encode = msgspec.json.Encoder().encode


class Encoder(Protocol):
    def write(self, event: TurnEvent) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Tongue:
    """`write`, `read`: a request. `encoder`, `decoder`: a stream. `body`, `answer`: a whole answer."""

    able: Abilities
    write: Callable[[Conversation], bytes]
    read: Callable[[bytes], Conversation]
    encoder: Callable[[], Encoder]
    decoder: Callable[[], Turns]
    body: Callable[[Answer], bytes]
    answer: Callable[[bytes], Answer]


def gathered(events: list[TurnEvent]) -> Answer:
    gathering = Gathering()
    for event in events:
        gathering.add(event)
    return gathering.answer


def _write_chat(given: Conversation) -> bytes:
    return encode({"model": "m", "max_tokens": given.output_tokens, **chat_body.members_of(given)})


def _write_responses(given: Conversation) -> bytes:
    return encode({"model": "m", "max_output_tokens": given.output_tokens, **responses_body.members_of(given)})


def _write_messages(given: Conversation) -> bytes:
    return encode({"model": "m", **messages_body.members_of(given, given.output_tokens or 100_000, "m")})


def _write_gemini(given: Conversation) -> bytes:
    return encode(gemini_body.members_of(given, given.output_tokens, "m"))


TONGUES: dict[str, Tongue] = {
    "chat": Tongue(
        abilities.CHAT,
        _write_chat,
        lambda body: chat_conversation.conversation_of(members_of(body)),
        lambda: chat_answer.ChatEncoder(REQUEST, 1),
        lambda: Turns(ChatReader()),
        lambda answer: chat_answer.body_of(answer, REQUEST, 1),
        lambda body: gathered(ChatReader().whole(chat_turns.decode_turn(body))),
    ),
    "responses": Tongue(
        abilities.RESPONSES,
        _write_responses,
        lambda body: responses_conversation.conversation_of(members_of(body)),
        lambda: responses_answer.ResponsesEncoder(REQUEST, 1),
        lambda: Turns(ResponsesReader()),
        lambda answer: responses_answer.body_of(answer, REQUEST, 1),
        lambda body: gathered(ResponsesReader().whole(responses.decode_reply(body))),
    ),
    "anthropic": Tongue(
        abilities.ANTHROPIC,
        _write_messages,
        lambda body: messages_conversation.conversation_of(members_of(body)),
        lambda: messages_answer.MessagesEncoder(REQUEST, 1),
        lambda: Turns(MessagesReader()),
        lambda answer: messages_answer.body_of(answer, REQUEST, 1),
        lambda body: gathered(MessagesReader().whole(messages.decode_reply(body))),
    ),
    "gemini": Tongue(
        abilities.GEMINI,
        _write_gemini,
        gemini.conversation_of,
        gemini.GeminiEncoder,
        lambda: Turns(GeminiReader()),
        gemini.body_of,
        lambda body: gathered(GeminiReader().whole(gemini_shapes.decode_reply(body))),
    ),
}
PAIRS = [(a, b) for a in TONGUES for b in TONGUES if a != b]
