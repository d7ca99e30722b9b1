"""The dialects that are served, and the providers' files that answer them."""

from gateway.domain.request import Dialect
from gateway.pipeline.translation import CallerDialect, Dialects
from gateway.providers import anthropic, gemini, openai, openai_responses
from gateway.wire import (
    chat_answer,
    chat_conversation,
    messages_answer,
    messages_conversation,
    responses_answer,
    responses_conversation,
)

DIALECTS = Dialects(
    natives={
        ("openai", Dialect.OPENAI): openai,
        ("openai", Dialect.RESPONSES): openai_responses,
        ("chat", Dialect.OPENAI): openai,
        ("anthropic", Dialect.ANTHROPIC): anthropic,
    },
    targets={"openai": openai, "chat": openai, "anthropic": anthropic, "gemini": gemini},
    callers={
        Dialect.OPENAI: CallerDialect(
            chat_conversation.conversation_of, chat_answer.body_of, chat_answer.ChatEncoder, chat_conversation.FIELDS
        ),
        Dialect.RESPONSES: CallerDialect(
            responses_conversation.conversation_of,
            responses_answer.body_of,
            responses_answer.ResponsesEncoder,
            responses_conversation.FIELDS,
        ),
        Dialect.ANTHROPIC: CallerDialect(
            messages_conversation.conversation_of,
            messages_answer.body_of,
            messages_answer.MessagesEncoder,
            messages_conversation.FIELDS,
        ),
    },
)
